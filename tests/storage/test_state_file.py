"""The service's own state on disk."""

import stat
from pathlib import Path

import pytest

from meshlight.storage.state_file import BackgroundStateFile, StateFile


def test_what_was_written_is_read_and_nothing_without_a_file(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state" / "a.json")
    assert file.read() == b""
    file.write(b"one")
    assert file.read() == b"one"
    file.write_quickly(b"two")
    assert file.read() == b"two"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["a.json"]
    assert stat.S_IMODE((tmp_path / "state" / "a.json").stat().st_mode) == 0o600


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a.json", limit=3)
    file.write(b"four")
    with pytest.raises(OSError, match="Larger than 3"):
        file.read()


def test_what_can_t_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    file = StateFile(tmp_path / "a.json")
    with pytest.raises(OSError):  # noqa: PT011 - each system has its own
        file.write_quickly(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


async def test_in_the_background_the_newest_version_is_written_last(tmp_path: Path) -> None:
    file = BackgroundStateFile(StateFile(tmp_path / "a.json"), "The state")
    assert file.read() == b""
    for number in range(30):
        file.write(b"%d" % number)
    assert file._writing is not None
    await file._writing
    assert file.read() == b"29"


async def test_in_the_background_errors_are_told_to_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.json").mkdir()
    file = BackgroundStateFile(StateFile(tmp_path / "a.json"), "The state")
    assert file.read() == b""
    file.write(b"x")
    assert file._writing is not None
    await file._writing
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "The state can't be read",
        "The state can't be kept",
    ]
