import os
import pickle
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from meshlight.domain.errors import Conflict, SecretError
from meshlight.storage.local_key import LocalKey, make_key

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")

OPENER = """
import sys
from pathlib import Path
from meshlight.storage.local_key import LocalKey
sys.stdin.readline()
print(LocalKey.open(Path(sys.argv[1]), {}).reveal(), flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "local.key"


def test_the_first_start_makes_a_key_and_the_next_one_finds_it(path: Path) -> None:
    key = LocalKey.open(path, {})
    assert re.fullmatch(r"ml-[A-Za-z0-9_-]{43}", key.reveal())
    assert LocalKey.open(path, {}).reveal() == key.reveal()
    assert (key.file, key.notices) == (path, ())
    assert [each.name for each in path.parent.iterdir()] == ["local.key"]


@posix
def test_the_key_is_for_its_owner_alone(path: Path) -> None:
    LocalKey.open(path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_first_starts_at_the_same_instant_agree_on_one_key(path: Path) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    keys = {opener.communicate(timeout=30)[0] for opener in openers}
    assert keys == {path.read_text()}


@pytest.mark.parametrize("has_key", [True, False])
def test_on_a_disk_without_links_a_key_is_made_too_and_never_over_another(
    path: Path, *, has_key: bool
) -> None:
    def no_links(_path: Path, _target: Path) -> None:
        raise OSError("Operation not supported")

    old = LocalKey.open(path, {}).reveal() if has_key else None
    make_key(path, no_links)
    assert LocalKey.open(path, {}).reveal() == old or not has_key
    assert [each.name for each in path.parent.iterdir()] == ["local.key"]


def test_only_the_whole_key_matches(path: Path) -> None:
    key = LocalKey.open(path, {})
    value = key.reveal()
    assert key.matches(value)
    assert key.matches(value.encode())
    for wrong in ("", value[:-1], value + "x", value.upper(), "ключ", "\udc80", "x" * 10_000, b"\xff", b""):
        assert not key.matches(wrong)


def test_shown_or_pickled_the_key_does_not_give_itself_away(path: Path) -> None:
    key = LocalKey.open(path, {})
    assert key.reveal() not in f"{key} {key!r} {vars(key)}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@posix
def test_a_key_that_others_could_read_is_made_private_and_the_user_is_told(path: Path) -> None:
    LocalKey.open(path, {})
    path.chmod(0o644)
    [notice] = LocalKey.open(path, {}).notices
    assert "0644" in notice
    assert str(path) in notice
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert LocalKey.open(path, {}).notices == ()


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_the_key_of_another_user_is_refused(path: Path) -> None:
    LocalKey.open(path, {})
    os.chown(path, 12345, -1)
    with pytest.raises(SecretError, match="belongs to another user"):
        LocalKey.open(path, {})


@pytest.mark.parametrize(
    "content", [b"", b"short", b"has a space in it, twice", b"x" * 600, "schlüsselchen-ä".encode()]
)
def test_a_file_without_a_usable_key_is_refused_with_the_fix(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretError) as caught:
        LocalKey.open(path, {})
    assert caught.value.state == "refused"
    assert str(path) in caught.value.title
    assert "Remove it" in caught.value.hint


def test_a_file_that_cannot_be_read_or_made_is_named(path: Path, tmp_path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(SecretError, match="can't be used"):
        LocalKey.open(path, {})
    (tmp_path / "file").touch()
    with pytest.raises(SecretError, match="can't be"):
        LocalKey.open(tmp_path / "file" / "local.key", {})


def test_a_state_folder_that_cannot_be_made_is_said_with_the_ways_out(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SecretError) as caught:
        LocalKey.open(tmp_path / "dangling" / "local.key", {})
    assert "can't be made" in caught.value.title
    assert "MESHLIGHT_HOME" in caught.value.hint


def test_the_environment_can_give_the_key(path: Path) -> None:
    key = LocalKey.open(path, {"MESHLIGHT_KEY": " ml-0123456789abcdef "})
    assert (key.reveal(), key.file) == ("ml-0123456789abcdef", None)
    assert not path.exists()
    with pytest.raises(SecretError, match="MESHLIGHT_KEY contains no usable key"):
        LocalKey.open(path, {"MESHLIGHT_KEY": "short"})


@posix
def test_a_file_that_the_environment_names_is_read_and_never_changed(path: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted.key"
    mounted.write_text("ml-0123456789abcdef\n")
    mounted.chmod(0o644)
    key = LocalKey.open(path, {"MESHLIGHT_KEY_FILE": str(mounted)})
    assert (key.reveal(), key.file) == ("ml-0123456789abcdef", mounted)
    assert "Other users can read" in key.notices[0]
    assert stat.S_IMODE(mounted.stat().st_mode) == 0o644
    with pytest.raises(SecretError, match="There is no key file"):
        LocalKey.open(path, {"MESHLIGHT_KEY_FILE": str(tmp_path / "nowhere.key")})


def test_a_replaced_key_is_in_the_file_and_the_old_one_is_none_any_more(path: Path) -> None:
    key = LocalKey.open(path, {})
    old = key.reveal()
    key.replace()
    assert key.reveal() != old
    assert not key.matches(old)
    assert LocalKey.open(path, {}).reveal() == key.reveal()


def test_a_key_that_comes_from_outside_is_replaced_there(path: Path, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("k" * 40)
    (tmp_path / "given").chmod(0o600)
    for variable, value in (("MESHLIGHT_KEY", "k" * 40), ("MESHLIGHT_KEY_FILE", str(tmp_path / "given"))):
        key = LocalKey.open(path, {variable: value})
        assert key.fixed_by == variable
        with pytest.raises(Conflict, match=variable):
            key.replace()
        assert key.matches("k" * 40)
