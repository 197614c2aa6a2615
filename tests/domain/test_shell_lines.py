"""Values of strangers stay values in every shell."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from meshlight.domain.shell_lines import Shell, quoted, remark, shell_lines

NASTY = "a'b\"c $(echo pwned) `echo pwned` \\ ; & \u2019x %PATH%"


@pytest.mark.parametrize(
    ("shell", "lines"),
    [
        ("sh", ["unset B", "export A='it'\\''s'"]),
        ("fish", ["set -eg B; if set -qU B; set -gx B; end", "set -gx A 'it\\'s'"]),
        ("powershell", ["Remove-Item Env:B -ErrorAction Ignore", "$env:A = 'it''s'"]),
        ("cmd", ['set "B="', 'set "A=it\'s"']),
    ],
)
def test_each_shell_has_its_words(shell: Shell, lines: list[str]) -> None:
    assert shell_lines({"A": "it's"}, ["B"], shell) == lines


@pytest.mark.skipif(sys.platform == "win32", reason="there is no sh there")
def test_sh_takes_a_nasty_value_as_it_stands() -> None:
    script = "\n".join([*shell_lines({"A": NASTY}, [], "sh"), 'printf %s "$A"'])
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == NASTY


def test_powershell_doubles_all_that_it_takes_for_a_quote() -> None:
    assert quoted("a\u2018b\u2019c", "powershell") == "'a\u2018\u2018b\u2019\u2019c'"


@pytest.mark.parametrize("value", ["a%PATH%", 'a" & calc', "a!b!"])
def test_what_cmd_can_not_hold_is_left_out_with_a_word(value: str) -> None:
    (line,) = shell_lines({"A": value}, [], "cmd")
    assert line == "rem A has a character that cmd can't take: set it in PowerShell."


def test_a_remark_does_nothing() -> None:
    kinds: Mapping[Shell, str] = {"sh": "# x", "fish": "# x", "powershell": "# x", "cmd": "rem x"}
    assert {shell: remark("x", shell) for shell in kinds} == kinds
