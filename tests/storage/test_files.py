import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from meshlight.storage.files import make_folder, read_capped, read_with_stat, sweep, write_atomic

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")

WRITER = """
import hashlib, itertools, sys
from pathlib import Path
from meshlight.storage.files import write_atomic
path = Path(sys.argv[1])
for round in itertools.count():
    body = bytes([65 + round % 26]) * 200_000
    write_atomic(path, hashlib.sha256(body).digest() + body)
    print(round, flush=True)
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_writer_killed_at_any_time_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for rounds in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(1 + rounds % 7):
                writer.stdout.readline()
            writer.kill()
        data = path.read_bytes()
        assert hashlib.sha256(data[32:]).digest() == data[:32]
        assert len(data) == 200_032
    sweep(tmp_path, older_than_s=-60)
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


@posix
def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o022, 0o277):
        old = os.umask(umask)
        try:
            write_atomic(tmp_path / "key", b"secret")
        finally:
            os.umask(old)
        assert mode_of(tmp_path / "key") == 0o600


@posix
def test_a_file_that_others_could_read_is_private_once_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_atomic(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)


@posix
def test_a_link_stays_a_link_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "config.toml"
    write_atomic(real, b"old")
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_what_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    occupied = tmp_path / "config.toml"
    occupied.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one it is differs between systems
        write_atomic(occupied, b"new")
    assert list(tmp_path.iterdir()) == [occupied]


def test_what_cannot_be_written_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "config.toml", "not bytes")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_sweeping_takes_old_leftovers_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / ".config.toml.new.meshlight-tmp", tmp_path / "config.toml", tmp_path / ".other.tmp"]
    leftover = tmp_path / ".config.toml.0123.meshlight-tmp"
    for path in (*kept, leftover):
        path.touch()
    os.utime(leftover, (0, 0))
    os.utime(kept[2], (0, 0))
    assert sweep(tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_sweeping_a_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == 0


@posix
def test_new_folders_are_private_and_old_ones_stay_as_they_are(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert [mode_of(p) for p in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == [0o755, 0o700, 0o700]


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    assert read_capped(path, 11) == b"x" * 11
    with pytest.raises(OSError, match="Larger than 10 bytes"):
        read_capped(path, 10)


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - Windows refuses earlier, in other words
        read_capped(tmp_path)


@posix
def test_a_pipe_without_a_writer_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Not a regular file"):
        read_capped(tmp_path / "pipe")


def test_the_state_of_a_file_comes_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    data, found = read_with_stat(path)
    assert (data, found.st_size, found.st_mtime_ns) == (b"abc", 3, path.stat().st_mtime_ns)
