import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from meshlight.local_models.engines.leftovers import Leftovers, NotedEngine
from meshlight.local_models.engines.process_facts import start_mark
from process_fixture import is_alive


class Stored:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = b""

    def read(self) -> bytes:
        return self.data

    def write(self, data: bytes) -> None:
        self.data = data


@pytest.fixture
def sleepers(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of one program that is called llama-server, as far as the system shows."""
    program = tmp_path / "llama-server"
    shutil.copy("/bin/sleep", program)
    all_ = [subprocess.Popen([str(program), "600"]) for _ in range(3)]
    yield all_
    for process in all_:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="needs sleep")
async def test_the_next_start_ends_its_own_alone(sleepers: list[subprocess.Popen[bytes]]) -> None:
    ours, foreign, recycled = sleepers
    stored = Stored()
    before = Leftovers(stored.read, stored.write)
    before.add(ours.pid, "a")
    before.add(recycled.pid, "b")
    noted = msgspec.json.decode(stored.data, type=list[NotedEngine])
    # Its number was ours before it was this process's.
    stored.data = msgspec.json.encode([noted[0], NotedEngine(pid=recycled.pid, mark=f"{noted[1].mark}0")])
    assert await Leftovers(stored.read, stored.write).end_all() == 1
    assert not is_alive(ours.pid)
    assert foreign.poll() is None
    assert recycled.poll() is None
    assert stored.data == b"[]"


async def test_what_runs_now_is_no_leftover() -> None:
    stored, ended = Stored(), list[int]()

    def end(pid: int, _mark: str) -> bool:
        ended.append(pid)
        return True

    leftovers = Leftovers(stored.read, stored.write, mark_of=lambda _: "m", end=end)
    leftovers.add(4321, "a")
    stored.data = msgspec.json.encode([NotedEngine(pid=pid, mark="m") for pid in (4321, 4322, 1, 0, -5)])
    assert await leftovers.end_all() == 1
    assert ended == [4322]
    assert b"4321" in stored.data
    leftovers.remove(4321)
    leftovers.remove(4321)
    assert stored.data == b"[]"


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'[{"pid": "x"}]', b"\xff", b'[{"z": ' + b"[" * 60_000])
async def test_a_broken_file_is_nobodys_end(data: bytes) -> None:
    stored = Stored()
    stored.data = data
    assert await Leftovers(stored.read, stored.write).end_all() == 0


async def test_a_file_that_can_not_be_used_stops_no_engine() -> None:
    def read() -> bytes:
        raise PermissionError("state")

    def write(_data: bytes) -> None:
        raise PermissionError("state")

    leftovers = Leftovers(read, write, mark_of=start_mark)
    leftovers.add(1, "a")
    assert await leftovers.end_all() == 0
