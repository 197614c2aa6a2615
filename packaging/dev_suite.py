"""The tests: run by pytest as they stream by, counted from its report, ended when they do not end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

import dev_compile
import dev_venv
from dev_venv import ROOT, VENV, python

LONGEST_RUN_S = 40 * 60
"""A run that takes longer hangs; a machine with half its speed taken by other work needs about 20 minutes."""
SLOW_WORKERS, QUICK_WORKERS = 3, 2
"""Files that run in parallel; the slow tests often wait for processes, browsers and timers."""
BEHIND = 5
"""How nice the gates and the quick tests are, so that a slow test is not late because of them."""
ALONE = "mark.one_process"
"""What a test file says that is not to run beside another one that says so."""
SLOWEST = 25
MOST_TRIED_AGAIN = 10
"""So few failed tests are run once more by themselves; more of them are no accident of a busy machine."""
TESTS_FAILED = "Tests failed, or too little is covered; pytest's words are above."  # its exit code 1
NOTHING_TO_RUN = 5  # pytest's exit code when no test was chosen
LONGEST_END_S = 60  # from the last test to the end, with the coverage table between
CHARACTERS = "from hypothesis import find, strategies; find(strategies.text(), lambda _: True)"
WITH_FILES = ("-o", "junit_family=xunit1")  # the report with the file of each test
PARALLEL = ("--dist=loadfile", "--no-loadscope-reorder")
"""In the order of tests/conftest.py; by itself xdist begins with the files of the most tests, which are quick."""


@dataclass(frozen=True)
class Count:
    """How many tests ended how; `skipped` are those that were to run and did not, each with its reason."""

    passed: int = 0
    failures: tuple[str, ...] = ()
    """What failed, as pytest takes it: `tests/x/test_y.py::test_z`."""
    skipped: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    """What failed beside other tests and passed by itself; it counts as passed."""

    @property
    def sentence(self) -> str:
        """The closing line of a run."""
        text = f"{self.passed} passed, {len(self.failures)} failed, {len(self.skipped)} skipped"
        return f"{text}; {len(self.alone)} of them passed only when run alone" if self.alone else text

    def plus(self, other: Count) -> Count:
        """Return the count of two runs."""
        return Count(
            self.passed + other.passed,
            self.failures + other.failures,
            self.skipped + other.skipped,
            self.alone + other.alone,
        )


class Suite:
    """The pytest gate. It streams, and keeps the count for the closing line."""

    def __init__(self, *, strict: bool, args: Sequence[str], is_compiled: bool = False) -> None:
        self.strict = strict
        self.is_compiled = is_compiled
        self.args = list(args)
        self.count: Count | None = None
        self._variables: dict[str, str] = {}
        self._adding = threading.Lock()

    def check(self) -> str | None:
        """Run pytest and return what is wrong: a failed test, too little coverage, when `strict` a skipped test.

        A run of everything is three, two of them in one row beside the largest: the slow tests; the tests marked
        `one_process`, one after the other; then the quick ones, with coverage. A run with the caller's own
        arguments is one without coverage, for a part of the tests covers a part of the code; so is one of compiled
        modules, which coverage does not see.
        """
        self._variables = {"PYTHONPATH": str(dev_compile.tree())} if self.is_compiled else {}
        if self.args:
            faults = [self._run(["--no-cov", *self.args])]
        else:
            # hypothesis' table of all characters, once: each worker would work it out, some of them starved.
            subprocess.run(python("-c", CHARACTERS), cwd=ROOT, env=dev_venv.environment(VENV), check=False)
            aside = Aside(self._run_in_a_row)
            faults = [
                self._run(
                    ["--no-cov", "--part=slow", "-m", "not one_process", f"-n{SLOW_WORKERS}", *PARALLEL]
                ),
                *aside.end(),
            ]
            if any(faults):
                faults = self._tried_again(faults)
        if self.strict and self.count and self.count.skipped:
            faults.append("\n".join(["With --all no test may be skipped:", *self.count.skipped]))
        return "\n".join(fault for fault in faults if fault) or None

    def _tried_again(self, faults: Sequence[str | None]) -> list[str | None]:
        """Run the few tests that failed once more, one after the other and nothing beside them.

        What fails then has failed. What passes ran into a limit of time because the machine was busy: it is named at
        the end of every run, so that a test that does so twice can be mended.
        """
        first = self.count
        if (
            first is None
            or not 0 < len(first.failures) <= MOST_TRIED_AGAIN
            or {*faults} - {None, TESTS_FAILED}
        ):
            return list(faults)
        print(f"\n── once more, alone: {len(first.failures)} tests that failed ──")
        again = Suite(strict=self.strict, is_compiled=self.is_compiled, args=["-q", *first.failures])
        if again.check() is not None or again.count is None or again.count.passed < len(first.failures):
            return list(faults)
        self.count = replace(
            first, passed=first.passed + again.count.passed, failures=(), alone=first.failures
        )
        print(
            "\n".join(["Passed only when run alone, on a machine with nothing else to do:", *first.failures])
        )
        return [None if self.is_compiled else _too_little_coverage()]

    def _run_in_a_row(self, output: IO[str]) -> list[str | None]:
        # Only the files that say so: to read all others takes pytest half a minute.
        alone = ["--no-cov", "-q", "-m", "one_process", *files_alone()]
        faults = [self._run(alone, may_be_empty=True, output=output)]
        step_back()
        coverage = ["--no-cov"] if self.is_compiled else ["--cov", "--cov-report=term"]
        quick = [*coverage, "-q", "--part=quick", f"-n{QUICK_WORKERS}", *PARALLEL]
        return [*faults, self._run(quick, output=output)]

    def _run(
        self, words: Sequence[str], *, may_be_empty: bool = False, output: IO[str] | None = None
    ) -> str | None:
        """Run pytest once, streaming or into `output`, and add to the count; returns what went wrong."""
        with tempfile.TemporaryDirectory(prefix="meshlight-junit-") as folder:
            report = Path(folder) / "report.xml"
            fault = _watched(
                python("-m", "pytest", f"--junitxml={report}", *WITH_FILES, f"--durations={SLOWEST}", *words),
                report,
                self._variables,
                may_be_empty=may_be_empty,
                output=output,
            )
            if report.is_file():
                found = counted(report.read_text(encoding="utf-8"))
                with self._adding:
                    self.count = (self.count or Count()).plus(found)
        return fault


class Aside:
    """Runs of pytest beside another one; their output is kept and printed at the end."""

    def __init__(self, run: Callable[[IO[str]], list[str | None]]) -> None:
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._faults: list[str | None] = []
        self._thread = threading.Thread(target=self._go, args=(run,))
        self._thread.start()

    def end(self) -> list[str | None]:
        """Wait for their end, print their output, and return what went wrong in each."""
        self._thread.join()
        with self._output:
            self._output.seek(0)
            print(f"\n── beside them ──\n{self._output.read().strip()}")
        return self._faults

    def _go(self, run: Callable[[IO[str]], list[str | None]]) -> None:
        self._faults = run(self._output)


def step_back() -> None:
    """Let the programs that this thread starts give way to others; only on Linux is that a thread's own."""
    if sys.platform == "linux":
        os.nice(BEHIND)


def files_alone() -> list[str]:
    """Return the test files that have tests marked `one_process`."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file) for file in files if ALONE in file.read_text(encoding="utf-8")]


def counted(junit: str) -> Count:
    """Read pytest's JUnit report. An expected failure (xfail) counts as a pass: it ran, and as was said."""
    passed, failures, skipped = 0, list[str](), list[str]()
    for case in ET.fromstring(junit).iter("testcase"):  # noqa: S314 - our own pytest wrote it
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            name = _node_id(case)
            if name not in failures:  # a test and its teardown may fail both
                failures.append(name)
        elif skip is not None and skip.get("type") != "pytest.xfail":
            skipped.append(f"  {case.get('classname')}::{case.get('name')}: {skip.get('message')}")
        else:
            passed += 1
    return Count(passed, tuple(failures), tuple(skipped))


def _node_id(case: ET.Element) -> str:
    """Return a test's name as pytest takes it, with the classes that it is in."""
    file, holder = case.get("file", ""), case.get("classname", "")
    classes = holder.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".")
    return "::".join([file, *filter(None, classes.split(".")), case.get("name", "")])


def _too_little_coverage() -> str | None:
    """Return what the coverage of the last run lacks; pytest's exit code says nothing of it when a test failed."""
    done = subprocess.run(
        python("-m", "coverage", "report", "--format=total", "--ignore-errors"),
        cwd=ROOT, env=dev_venv.environment(VENV),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if done.returncode == 0 else f"coverage: {done.stdout}{done.stderr}".strip()


def _watched(
    command: Sequence[str],
    report: Path,
    variables: Mapping[str, str],
    *,
    may_be_empty: bool,
    output: IO[str] | None = None,
) -> str | None:
    """Run pytest, streaming; returns what went wrong, if anything did.

    One that is over (its report is there) and does not end, because a test left a thread behind, is ended here: it
    would hang for ever, in CI too.
    """
    with subprocess.Popen(
        command, cwd=ROOT, env=dev_venv.environment(VENV, variables), stdout=output, stderr=output
    ) as process:
        left_s = LONGEST_RUN_S
        while left_s > 0:
            try:
                code = process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                left_s = min(left_s - 1, LONGEST_END_S) if report.is_file() else left_s - 1
            else:
                is_ok = code == 0 or (may_be_empty and code == NOTHING_TO_RUN)
                if is_ok:
                    return None
                return (
                    TESTS_FAILED if code == 1 else f"pytest ended with exit code {code}; its words are above."
                )
        process.kill()
    if report.is_file():
        return f"pytest was over and did not end within {LONGEST_END_S} s: a test left a thread or process running."
    return f"pytest took more than {LONGEST_RUN_S // 60} minutes and was ended."
