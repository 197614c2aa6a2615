"""Walks through stores of every layout, and through what is there by mistake or malice."""

import os
from pathlib import Path

import pytest

from local_models.catalog.model_files import hub_file, write_gguf, write_safetensors
from meshlight.domain.local_models import StoreName
from meshlight.local_models.catalog import walker
from meshlight.local_models.catalog.stores import Place
from meshlight.local_models.catalog.walker import FoundFolder, Stopped, Survey, survey


def walk(folder: Path, store: StoreName = "own", **place: bool) -> Survey:
    return survey([Place(store=store, label="x", folders=(str(folder),), **place)])[0]


def names(found: Survey) -> list[str]:
    return [file.name for folder in found.folders for file in folder.files]


def odd(found: Survey) -> dict[str, str]:
    return {name: why for folder in found.folders for name, why in folder.odd}


def only(found: Survey) -> FoundFolder:
    (folder,) = found.folders
    return folder


def test_repositories_in_our_own_folder(tmp_path: Path) -> None:
    write_gguf(tmp_path / "owner" / "repo" / "sub" / "a.gguf")
    folder = only(walk(tmp_path))
    assert (folder.repo, folder.root) == ("owner/repo", str(tmp_path / "owner" / "repo"))


def test_folders_of_the_user_are_repositories_only_if_they_are_called_so(tmp_path: Path) -> None:
    write_gguf(tmp_path / "Qwen" / "Qwen3-8B-GGUF" / "a.gguf")
    write_gguf(tmp_path / "old" / "things" / "b.gguf")
    assert [folder.repo for folder in walk(tmp_path, "folder").folders] == ["Qwen/Qwen3-8B-GGUF", ""]


def test_the_hubs_cache_is_read_by_its_links_the_current_revision_first(tmp_path: Path) -> None:
    hub_file(tmp_path, "owner/repo", "a.gguf", b"new", "b" * 40)
    hub_file(tmp_path, "owner/repo", "a.gguf", b"old", "c" * 40)
    (tmp_path / "models--owner--repo" / "refs" / "main").write_text("b" * 40)
    hub_file(tmp_path, "gpt2", "b.gguf", b"x")
    (tmp_path / "datasets--owner--data").mkdir()
    write_gguf(tmp_path / "datasets--owner--data" / "no.gguf")
    found = walk(tmp_path, "hub")
    assert [(folder.repo, folder.rank, folder.files[0].size) for folder in found.folders] == [
        ("gpt2", 0, 1),
        ("owner/repo", 0, 3),
        ("owner/repo", 1, 3),
    ]
    assert found.folders[1].root.endswith("b" * 40)


def test_the_hubs_half_downloaded_files_are_told_by_repository(tmp_path: Path) -> None:
    link = hub_file(tmp_path, "owner/repo", "a.gguf", b"x")
    (link.parents[2] / "blobs" / "123.incomplete").touch()
    assert list(odd(walk(tmp_path, "hub"))) == ["owner/repo"]


def test_other_files_and_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m")
    for name in ("pytorch_model.bin", "x.pt", "notes.txt", "other.json"):
        (tmp_path / "m" / name).touch()
    write_gguf(tmp_path / ".parts" / "a.gguf")
    assert names(walk(tmp_path)) == ["config.json", "model.safetensors"]


def test_what_can_be_no_model_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    (tmp_path / "a.gguf.part").touch()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "sha256-12").touch()
    (tmp_path / "llama.gguf").symlink_to(tmp_path / "blobs" / "sha256-12")
    found = walk(tmp_path)
    assert names(found) == []
    whys = odd(found)
    assert set(whys) == {"pipe.gguf", "gone.gguf", "loop.gguf", "a.gguf.part", "llama.gguf"}
    assert "Ollama" in whys["llama.gguf"]


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a" / "b" / "x.gguf")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "models--o--r" / "snapshots").mkdir(parents=True)
    (tmp_path / "models--o--r" / "snapshots" / "1").symlink_to(tmp_path)
    found = walk(tmp_path)
    assert 1 <= names(found).count("x.gguf") <= 3


def test_no_deeper_than_six_folders(tmp_path: Path) -> None:
    write_gguf(tmp_path.joinpath(*"123456") / "deep.gguf")
    write_gguf(tmp_path.joinpath(*"1234567") / "deeper.gguf")
    assert names(walk(tmp_path)) == ["deep.gguf"]


def test_a_store_of_too_many_files_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker, "ENTRIES_MAX", 10)
    for number in range(20):
        (tmp_path / f"{number:02}.gguf").touch()
    found = walk(tmp_path)
    assert len(names(found)) == 10
    assert found.note == "More than 10 entries: not all were looked at."


def test_a_folder_of_endless_other_names_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker, "NAMES_MAX", 10)
    for number in range(20):
        (tmp_path / f"{number:02}.txt").touch()
    assert "not all" in walk(tmp_path).note


def test_a_folder_in_two_stores_counts_for_the_first(tmp_path: Path) -> None:
    write_gguf(tmp_path / "in" / "a.gguf")
    inner = Place(store="own", label="x", folders=(str(tmp_path / "in"),))
    outer = Place(store="folder", label="x", folders=(str(tmp_path),))
    assert [names(found) for found in survey([inner, outer])] == [["a.gguf"], []]


def test_a_store_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not walk(tmp_path / "none").is_there
    found = walk(tmp_path / "file")
    assert not found.folders


def test_an_error_of_the_disk_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "a.gguf")
    (tmp_path / "bad").mkdir()
    scandir = os.scandir

    def broken(path: str) -> object:
        if path.endswith("bad"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", broken)
    found = walk(tmp_path)
    assert (names(found), found.note) == (["a.gguf"], "1 folder in it can't be read.")
    assert walk(tmp_path / "bad").note == "Can't be read: no permission."


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    for name in ("모델 und Ümlaut 🚀.gguf", os.fsdecode(b"\xff\xfe.gguf"), "-rf \n;.gguf"):
        (tmp_path / name).touch()
    assert len(names(walk(tmp_path))) == 3


def test_a_path_that_no_system_takes_is_a_note() -> None:
    assert "Can't be read" in walk(Path("a\0b")).note


def test_it_stops_when_told(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        survey([Place(store="own", label="x", folders=(str(tmp_path),))], lambda: True)


def test_the_same_files_make_the_same_survey(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    before = hash(walk(tmp_path))
    assert hash(walk(tmp_path)) == before
    os.utime(path, ns=(1, 1))
    assert hash(walk(tmp_path)) != before
