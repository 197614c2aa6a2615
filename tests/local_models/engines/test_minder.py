import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlight.local_models.engines import minder
from process_fixture import is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="for Unix alone")
SCRIPT = str(Path(minder.__file__))
# An engine that does not care about SIGTERM, with a child of its own.
STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def minders() -> Iterator[list[subprocess.Popen[str]]]:
    all_: list[subprocess.Popen[str]] = []
    yield all_
    for process in all_:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait(20)


def mind(minders: list[subprocess.Popen[str]], code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", SCRIPT, sys.executable, "-c", code]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    minders.append(process)
    return process


def family(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [process.pid, *map(int, process.stdout.readline().split())]


def test_it_ends_as_the_program_does(minders: list[subprocess.Popen[str]]) -> None:
    for code, expected in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)):
        assert mind(minders, code).wait(30) == expected
    assert mind(minders, "import os; os.kill(os.getpid(), 6)").wait(30) == -6


def test_sigterm_is_passed_on(minders: list[subprocess.Popen[str]]) -> None:
    process = mind(minders, "import time; print(0, flush=True); time.sleep(600)")
    family(process)
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM


def test_the_end_of_the_pipe_ends_even_a_stubborn_family(minders: list[subprocess.Popen[str]]) -> None:
    process = mind(minders, STUBBORN)
    pids = family(process)
    assert process.stdin is not None
    process.stdin.close()
    wait_until(lambda: process.poll() is not None and not any(map(is_alive, pids)))


def test_a_byte_ends_it_at_once(minders: list[subprocess.Popen[str]]) -> None:
    process = mind(minders, STUBBORN)
    pids = family(process)
    assert process.stdin is not None
    process.stdin.write("k")
    process.stdin.flush()
    assert process.wait(30) == -signal.SIGKILL
    wait_until(lambda: not any(map(is_alive, pids)))


def test_what_an_engine_leaves_behind_is_ended(minders: list[subprocess.Popen[str]]) -> None:
    process = mind(minders, STUBBORN)
    _, engine, child = family(process)
    os.kill(engine, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    wait_until(lambda: not is_alive(child))


def test_a_program_that_can_not_be_run_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", SCRIPT, str(tmp_path / "absent")]
    ended = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == minder.CANNOT_RUN
    assert ended.stderr == "cannot run absent: No such file or directory\n"
