import os
import stat
from pathlib import Path

import pytest

from meshlight.domain.errors import SecretError
from meshlight.storage.secrets.plain_file import PlainSecrets


def test_it_keeps_and_forgets_like_a_keyring(tmp_path: Path) -> None:
    path = tmp_path / "state" / "secrets.json"
    secrets = PlainSecrets(path)
    assert secrets.get_password("meshlight", "a/api_key") is None
    secrets.set_password("meshlight", "a/api_key", "one")
    secrets.set_password("meshlight", "b/api_key", "two")
    secrets.delete_password("meshlight", "a/api_key")
    assert secrets.get_password("meshlight", "a/api_key") is None
    assert PlainSecrets(path).get_password("meshlight", "b/api_key") == "two"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_the_file_is_private_and_is_made_so_again(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    secrets = PlainSecrets(path)
    secrets.set_password("meshlight", "a/api_key", "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert secrets.get_password("meshlight", "a/api_key") == "one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b"\xff"])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretError, match="is damaged"):
        PlainSecrets(path).get_password("meshlight", "a/api_key")


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(SecretError, match="can't be read"):
        PlainSecrets(tmp_path / "folder").get_password("meshlight", "a/api_key")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    secrets = PlainSecrets(tmp_path / "dangling" / "secrets.json")
    assert secrets.get_password("meshlight", "a/api_key") is None
    with pytest.raises(SecretError, match="can't be written"):
        secrets.set_password("meshlight", "a/api_key", "one")
