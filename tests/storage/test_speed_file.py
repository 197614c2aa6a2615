"""The file of speeds: the newest data wins, and no fault of it is an error."""

import asyncio
from pathlib import Path

from meshlight.storage.speed_file import SpeedFile


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert SpeedFile(tmp_path / "speeds.json").read() == b""
    (tmp_path / "folder").mkdir()
    assert SpeedFile(tmp_path / "folder").read() == b""


async def test_what_was_written_last_is_read_after_a_restart(tmp_path: Path) -> None:
    file = SpeedFile(tmp_path / "speeds.json")
    for number in range(20):
        file.write(b"%d" % number)
    file.write_now(b"last")
    await asyncio.get_running_loop().shutdown_default_executor()
    assert SpeedFile(tmp_path / "speeds.json").read() == b"last"


def test_a_file_that_can_not_be_written_costs_nothing_but_the_speeds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    SpeedFile(tmp_path / "file" / "speeds.json").write_now(b"x")
    assert SpeedFile(tmp_path / "file" / "speeds.json").read() == b""
