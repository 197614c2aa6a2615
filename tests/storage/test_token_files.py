"""Service tokens that outlive a restart, as sealed bytes in files."""

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from meshlight.storage.token_files import LIFE_S, TokenFiles


async def settled(files: TokenFiles) -> None:
    """Wait until all is written."""
    if files._writing is not None:
        await files._writing


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_was_written_is_there_at_once_and_after_a_restart(tmp_path: Path) -> None:
    files = TokenFiles(tmp_path / "tokens")
    assert files.read("a") == b""
    files.write("a", b"one")
    files.write("b", b"two")
    assert (files.read("a"), files.read("b")) == (b"one", b"two")
    await settled(files)
    again = TokenFiles(tmp_path / "tokens")
    assert (again.read("a"), again.read("b"), again.read("c")) == (b"one", b"two", b"")


async def test_the_newest_of_many_versions_is_kept(tmp_path: Path) -> None:
    files = TokenFiles(tmp_path)
    for number in range(50):
        files.write("a", b"%d" % number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    await settled(files)
    assert TokenFiles(tmp_path).read("a") == b"49"


async def test_the_name_of_a_file_tells_nobody_whose_it_is(tmp_path: Path) -> None:
    files = TokenFiles(tmp_path)
    files.write("https://api.example\nAKIA/../..", b"x")
    await settled(files)
    (path,) = listed(tmp_path)
    assert path.name.isalnum()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_files_that_are_older_than_any_token_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "old", tmp_path / "young"
    for path, age_s in ((old, LIFE_S + 60), (young, LIFE_S - 60)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age_s,) * 2)
    files = TokenFiles(tmp_path)
    files.write("a", b"x")
    await settled(files)
    assert (old.exists(), young.exists()) == (False, True)


async def test_a_folder_that_can_not_be_written_costs_nothing_but_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokens").write_text("a file")
    caplog.set_level(logging.WARNING)
    files = TokenFiles(tmp_path / "tokens")
    files.write("a", b"sealed-bytes")
    await settled(files)
    assert files.read("a") == b"sealed-bytes"
    assert "can't be kept over a restart" in caplog.text
    assert "sealed-bytes" not in caplog.text
