import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshlight.local_models.engines import launcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux alone")
LAUNCHER = str(Path(launcher.__file__))


def launch(parent: int, *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", "-S", LAUNCHER, str(parent), *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def test_it_becomes_the_program_with_the_signal_set() -> None:
    # PR_GET_PDEATHSIG is 2.
    code = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
    ended = launch(os.getpid(), sys.executable, "-c", code)
    assert (ended.returncode, ended.stdout) == (0, "9\n")


def test_it_starts_nothing_if_its_parent_has_gone() -> None:
    ended = launch(os.getpid() + 1, sys.executable, "-c", "print('started')")
    assert (ended.returncode, ended.stdout) == (1, "")


def test_a_program_that_can_not_be_run_is_told(tmp_path: Path) -> None:
    ended = launch(os.getpid(), str(tmp_path / "absent"))
    assert ended.returncode == launcher.CANNOT_RUN
    assert ended.stderr == "cannot run absent: No such file or directory\n"
