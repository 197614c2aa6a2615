"""What files said is remembered: across looks, and across starts."""

import os
from pathlib import Path

import pytest

from local_models.catalog.model_files import gguf, write_gguf, write_safetensors
from meshlight.local_models.catalog import header_cache
from meshlight.local_models.catalog.header import BadFile, Header
from meshlight.local_models.catalog.header_cache import HeaderCache
from meshlight.local_models.catalog.stores import Place
from meshlight.local_models.catalog.walker import FoundFile, FoundFolder, survey


class Memory:
    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.writes = 0

    def read(self) -> bytes:
        return self.data

    def write(self, data: bytes, /) -> None:
        self.writes += 1
        self.data = data


class Broken:
    def read(self) -> bytes:
        raise OSError(5, "Input/output error")

    def write(self, _: bytes, /) -> None:
        raise OSError(28, "No space left on device")


def folders(path: Path) -> list[FoundFolder]:
    return list(survey([Place(store="own", label="x", folders=(str(path),))])[0].folders)


def the_file(path: Path) -> FoundFile:
    return folders(path)[0].files[0]


def test_a_file_is_read_once_in_all_starts(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    found, memory = the_file(tmp_path), Memory()
    first = HeaderCache(memory)
    header = first.of_file(found)
    first.save()
    first.save()
    assert memory.writes == 1
    path.write_bytes(b"x" * found.size)  # it is not looked into again
    assert first.of_file(found) == header == HeaderCache(memory).of_file(found)
    assert isinstance(header, Header)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    cache = HeaderCache(Memory())
    cache.of_file(the_file(tmp_path))
    path.write_bytes(b"broken")
    assert isinstance(cache.of_file(the_file(tmp_path)), BadFile)
    path.write_bytes(gguf())
    os.utime(path, ns=(5, 5))
    assert isinstance(cache.of_file(the_file(tmp_path)), Header)


def test_a_broken_file_is_remembered_but_not_one_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("no model")
    found, memory = the_file(tmp_path), Memory()
    cache = HeaderCache(memory)
    cache.of_file(found)
    gone = FoundFile("/nowhere/b.gguf", "b.gguf", 1, 1, (1, 1))
    assert cache.of_file(gone) == BadFile("Can't be read: no such file or directory.")
    cache.save()
    assert b"a.gguf" in memory.data
    assert b"b.gguf" not in memory.data


def test_a_folder_is_remembered_by_all_its_files(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m")
    cache = HeaderCache(Memory())
    before = cache.of_folder(folders(tmp_path)[0])
    write_safetensors(tmp_path / "m", max_position_embeddings=12345)
    after = cache.of_folder(folders(tmp_path)[0])
    assert isinstance(before, Header)
    assert isinstance(after, Header)
    assert (before.context_max, after.context_max) == (2048, 12345)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"version":0,"entries":{"a":5}}', b'{"version":99,"entries":{}}']
)
def test_a_broken_memory_is_forgotten(tmp_path: Path, data: bytes) -> None:
    write_gguf(tmp_path / "a.gguf")
    assert isinstance(HeaderCache(Memory(data)).of_file(the_file(tmp_path)), Header)


def test_without_a_memory_it_works_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_gguf(tmp_path / "a.gguf")
    cache = HeaderCache(Broken())
    assert isinstance(cache.of_file(the_file(tmp_path)), Header)
    cache.save()
    assert "no space left" in caplog.text


def test_names_that_are_no_text_are_remembered_for_this_start_only(tmp_path: Path) -> None:
    write_gguf(tmp_path / os.fsdecode(b"\xff.gguf"))
    memory = Memory()
    cache = HeaderCache(memory)
    assert isinstance(cache.of_file(the_file(tmp_path)), Header)
    cache.save()
    assert b"gguf" not in memory.data


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_cache, "ENTRIES_MAX", 1)
    memory = Memory()
    for name in ("a", "b"):
        write_gguf(tmp_path / name / "m.gguf")
        cache = HeaderCache(memory)
        cache.of_file(the_file(tmp_path / name))
        cache.save()
    assert b"b/m.gguf" in memory.data
    assert b"a/m.gguf" not in memory.data
