"""Wheels that are made on the spot, good and hostile."""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from meshlight.local_models.downloads.engine_wheel import BYTES_MAX, FILES_MAX, install
from meshlight.local_models.downloads.problems import DownloadFailed
from meshlight.local_models.runners.xllamacpp_wheels import PinnedWheel

NAME = "xllamacpp-2-abi3"
Entry = tuple[str | zipfile.ZipInfo, bytes]


def wheel_of(tmp_path: Path, entries: Sequence[Entry]) -> tuple[Path, PinnedWheel]:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return pinned(tmp_path, sink.getvalue())


def pinned(tmp_path: Path, data: bytes) -> tuple[Path, PinnedWheel]:
    path = tmp_path / "x.whl"
    path.write_bytes(data)
    pins = PinnedWheel(
        package="xllamacpp", version="2", size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    return path, pins


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_it_is_unpacked_for_this_user_and_replaces_others(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "engines"
    for old in ("xllamacpp-1-abi3", ".unpacking-old"):
        (folder / old).mkdir(parents=True)
    path, pins = wheel_of(tmp_path, [("xllamacpp/", b""), ("xllamacpp/__init__.py", b"x = 1")])
    install(path, pins, folder, NAME)
    install(path, pins, folder, NAME)  # again, over itself
    assert [place.name for place in folder.iterdir()] == [NAME]
    assert (folder / NAME / "xllamacpp" / "__init__.py").read_bytes() == b"x = 1"
    if os.name == "posix":
        assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", b"")],
        [("/evil", b"")],
        [("a/../../evil", b"")],
        [("C:/evil", b"")],
        [("a\\..\\evil", b"")],
        [(link("a"), b"/etc")],
        [("a", b""), ("a/b", b"")],
        [(f"f{number}", b"") for number in range(FILES_MAX + 1)],
    ],
    ids=["up", "root", "up-later", "drive", "backslash", "link", "file-as-folder", "many"],
)
def test_a_hostile_one_leaves_nothing(tmp_path: Path, entries: Sequence[Entry]) -> None:
    path, pins = wheel_of(tmp_path, [("xllamacpp/__init__.py", b""), *entries])
    with pytest.raises(DownloadFailed):
        install(path, pins, tmp_path / "engines", NAME)
    assert list((tmp_path / "engines").iterdir()) == []
    assert sorted(place.name for place in tmp_path.iterdir()) == ["engines", "x.whl"]


def test_what_stands_where_the_engine_belongs_makes_room(tmp_path: Path) -> None:
    path, pins = wheel_of(tmp_path, [("xllamacpp/__init__.py", b"x = 1")])
    place = tmp_path / "engines" / NAME
    place.parent.mkdir()
    place.write_bytes(b"")
    install(path, pins, place.parent, NAME)
    assert (place / "xllamacpp" / "__init__.py").is_file()


@pytest.mark.skipif(os.name != "posix", reason="links need a right of their own there")
@pytest.mark.parametrize("leads_to", ["kept", "nowhere"])
def test_of_a_link_only_the_link_makes_room(tmp_path: Path, leads_to: str) -> None:
    path, pins = wheel_of(tmp_path, [("xllamacpp/__init__.py", b"x = 1")])
    kept, place = tmp_path / "kept" / "file", tmp_path / "engines" / NAME
    for file in (kept, place):
        file.parent.mkdir()
    kept.write_bytes(b"")
    place.symlink_to(tmp_path / leads_to)
    install(path, pins, place.parent, NAME)
    assert kept.is_file()
    assert not place.is_symlink()
    assert (place / "xllamacpp" / "__init__.py").is_file()


def test_a_folder_that_can_not_be_made_is_no_fault_of_the_index(tmp_path: Path) -> None:
    path, pins = wheel_of(tmp_path, [("xllamacpp/__init__.py", b"")])
    (tmp_path / "engines").write_bytes(b"")
    with pytest.raises(DownloadFailed, match="can't be written"):
        install(path, pins, tmp_path / "engines", NAME)


def test_one_that_says_that_it_is_huge_is_not_unpacked(tmp_path: Path) -> None:
    path, _ = wheel_of(tmp_path, [("a", b"123")])
    data = path.read_bytes()
    at = data.rindex(b"PK\x01\x02") + 24  # the unpacked size in the central directory
    path, pins = pinned(tmp_path, data[:at] + (BYTES_MAX + 1).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(DownloadFailed):
        install(path, pins, tmp_path / "engines", NAME)
    assert list((tmp_path / "engines").iterdir()) == []


def test_another_file_than_the_known_one_is_not_unpacked(tmp_path: Path) -> None:
    path, pins = wheel_of(tmp_path, [("xllamacpp/__init__.py", b"")])
    (tmp_path / "engines").mkdir()
    for data in (path.read_bytes() + b"x", path.read_bytes()[:-9], b"no zip"):
        path.write_bytes(data)
        with pytest.raises(DownloadFailed, match="another xllamacpp 2"):
            install(path, pins, tmp_path / "engines", NAME)
    path, pins = pinned(tmp_path, b"no zip")
    with pytest.raises(DownloadFailed, match="another xllamacpp 2"):
        install(path, pins, tmp_path / "engines", NAME)
    assert list((tmp_path / "engines").iterdir()) == []
