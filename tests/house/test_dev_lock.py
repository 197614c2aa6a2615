"""Files of pinned versions: which lines are allowed, and what is in ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev_engines import MLX_PINS
from dev_lock import render
from dev_venv import CONSTRAINTS, Failure


def test_pins_are_sorted_and_those_of_one_system_are_marked() -> None:
    assert render("uvloop==0.23.0\nclick==8.5.1\nSecretStorage==3.5.0\n").splitlines() == [
        "click==8.5.1",
        "SecretStorage==3.5.0 ; sys_platform == 'linux'",
        "uvloop==0.23.0 ; sys_platform != 'win32'",
    ]


@pytest.mark.parametrize("line", ["meshlight @ file:///somewhere", "-e /somewhere", "click>=8"])
def test_a_place_or_a_range_is_not_a_pin(line: str) -> None:
    with pytest.raises(Failure, match="not a pin"):
        render(line)


@pytest.mark.parametrize("file", [CONSTRAINTS, MLX_PINS], ids=lambda file: file.name)
def test_our_files_hold_nothing_but_pins(file: Path) -> None:
    pin = re.compile(r"[\w.-]+==[\w.+!]+( ; sys_platform [!=]= '\w+')?")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) > 30
    assert [line for line in lines if not pin.fullmatch(line)] == []
