import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshlight.domain.errors import ServiceError
from meshlight.storage.instance import AlreadyRunning, Started, start_alone

HOLDER = """
import sys
from pathlib import Path
from meshlight.storage.instance import start_alone
held = start_alone(Path(sys.argv[1]))
print(type(held).__name__, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(lock_file: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Started\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_service_learns_of_the_first(tmp_path: Path) -> None:
    lock_file = tmp_path / "service.lock"
    with another_process(lock_file):
        answer = start_alone(lock_file)
        assert isinstance(answer, AlreadyRunning)
        assert answer.path == lock_file


def test_a_killed_service_leaves_the_way_free(tmp_path: Path) -> None:
    lock_file = tmp_path / "service.lock"
    with another_process(lock_file):
        pass
    started = start_alone(lock_file)
    assert isinstance(started, Started)
    started.release()


def test_a_service_that_ends_lets_the_next_one_start(tmp_path: Path) -> None:
    lock_file = tmp_path / "state" / "service.lock"
    started = start_alone(lock_file)
    assert isinstance(started, Started)
    assert os.name == "nt" or stat.S_IMODE(lock_file.stat().st_mode) == 0o600
    with started:
        pass
    started.release()
    with another_process(lock_file):
        pass


def test_where_no_lock_can_be_made_the_user_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError) as caught:
        start_alone(tmp_path / "file" / "service.lock")
    assert "service.lock can't be made" in caught.value.title
    assert "MESHLIGHT_HOME" in caught.value.hint
