"""The gates of dev.py: which are run, what is counted, what a strict run refuses."""

from __future__ import annotations

import pytest

from dev_gates import Gate, chosen
from dev_suite import Count, counted
from dev_venv import Failure

GATES = [Gate(name, lambda: None) for name in ("ruff format", "ruff check", "mypy", "pytest")]
REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_one"/>
<testcase classname="tests.a" file="tests/a.py" name="test_two[x]"><failure message="no"/></testcase>
<testcase classname="tests.a.TestB" file="tests/a.py" name="test_three"><error message="no fixture"/></testcase>
<testcase classname="tests.a" file="tests/a.py" name="test_two[x]"><error message="nor an end"/></testcase>
<testcase classname="tests.a" name="test_four"><skipped type="pytest.skip" message="no Chromium"/></testcase>
<testcase classname="tests.a" name="test_five"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>"""


def test_a_word_chooses_every_gate_that_starts_with_it() -> None:
    assert [gate.name for gate in chosen(GATES, ["ruff"])] == ["ruff format", "ruff check"]
    assert chosen(GATES, []) == GATES


def test_a_word_that_fits_no_gate_is_told_with_those_there_are() -> None:
    with pytest.raises(
        Failure, match=r"no gate is called pylint. There are: ruff format, ruff check, mypy, pytest"
    ):
        chosen(GATES, ["pylint"])


def test_an_expected_failure_is_a_pass_and_a_skipped_test_is_named_with_its_reason() -> None:
    count = counted(REPORT)
    assert count == Count(
        passed=2,
        failures=("tests/a.py::test_two[x]", "tests/a.py::TestB::test_three"),
        skipped=("  tests.a::test_four: no Chromium",),
    )
    assert count.sentence == "2 passed, 2 failed, 1 skipped"
    assert count.plus(Count(passed=1)).sentence == "3 passed, 2 failed, 1 skipped"


def test_what_passed_only_when_run_alone_is_said() -> None:
    assert Count(passed=3, alone=("tests/a.py::test_b",)).sentence == (
        "3 passed, 0 failed, 0 skipped; 1 of them passed only when run alone"
    )
