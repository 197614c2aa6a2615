"""The part of a file on the disk."""

import hashlib
from pathlib import Path

import pytest

from meshlight.local_models.downloads.part import Checking, Part, delete, sha256_of
from meshlight.local_models.downloads.problems import TryLater

DATA = b"0123456789" * 100
SHA256 = hashlib.sha256(DATA).hexdigest()


def opened(folder: Path) -> Part:
    part = Part(folder, SHA256)
    part.open()
    return part


def test_a_part_is_gone_on_with_by_another_process(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.write(DATA[:600])
    first.note_etag('"e"')
    first.close()
    second = Part(tmp_path, SHA256)
    assert second.open() == 600
    assert second.hash_more(500)
    assert not second.hash_more(500)
    assert (second.size, second.etag()) == (600, '"e"')
    second.write(DATA[600:])
    assert second.is_right
    assert second.finish().read_bytes() == DATA
    second.close()
    assert [path.name for path in tmp_path.iterdir()] == [f"{SHA256}.whole"]


def test_only_one_has_it(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(TryLater, match="Another Meshlight"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_beginning_anew_forgets_all(tmp_path: Path) -> None:
    part = opened(tmp_path)
    part.note_etag('"e"')
    part.write(b"wrong")
    part.restart()
    assert (part.size, part.etag()) == (0, "")
    part.write(DATA)
    assert part.is_right
    part.close()


def test_nothing_is_written_to_a_part_that_is_not_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open"):
        Part(tmp_path, SHA256).write(b"x")


def test_deleting_leaves_nothing(tmp_path: Path) -> None:
    part = opened(tmp_path)
    part.write(DATA)
    part.note_etag('"e"')
    part.close()
    delete(tmp_path, SHA256)
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    assert sha256_of(tmp_path / "a") == SHA256
    checking = Checking(tmp_path / "a")
    while checking.hash_more(300):
        pass
    assert checking.sha256 == SHA256
