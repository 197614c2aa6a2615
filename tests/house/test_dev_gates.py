"""The gates of dev.py: which are run, what is counted, what a strict run refuses."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dev_gates import Gate, chosen, pass_all
from dev_suite import Count, counted, files_alone
from dev_venv import ROOT, Failure

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


def test_the_tests_run_beside_the_other_gates_and_what_failed_is_named_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = threading.Barrier(2, timeout=10.0)

    def meet(fault: str | None) -> str | None:
        both.wait()
        return fault

    gates = [
        Gate("ruff", lambda: meet("too long")),
        Gate("mypy", lambda: None),
        Gate("pytest", lambda: meet("no")),
    ]
    assert pass_all(gates) == ["ruff", "pytest"]
    said = capsys.readouterr().out
    assert "\n── ruff ──\ntoo long\nFAILED  ruff" in said
    assert "\nok      mypy" in said
    assert pass_all([gate for gate in gates if gate.name == "mypy"]) == []


def test_a_gate_without_its_means_fails_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def without_means() -> str | None:
        raise Failure("no uv")

    assert pass_all([Gate("resolve", without_means), Gate("pytest", lambda: None)]) == ["resolve"]
    assert "no uv\nFAILED  resolve" in capsys.readouterr().out


def test_files_with_tests_for_one_process_are_found_by_their_mark() -> None:
    found = [Path(file).relative_to(ROOT / "tests").as_posix() for file in files_alone()]
    assert {f"netns/{file.name}" for file in (ROOT / "tests" / "netns").glob("test_*.py")} <= {*found}


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
