from pathlib import Path

import pytest

from meshlight.domain.access_keys import KEYS_MAX
from meshlight.domain.errors import BadRequest, Conflict, NotFound, SecretError
from meshlight.storage.app_keys import AppKeys


def test_a_key_is_known_again_after_a_restart_and_nobody_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made, key = AppKeys(file, wall=lambda: 12.5).add("Zed")
    again = AppKeys(file)
    assert again.list() == (made,)
    assert (made.name, made.made_at) == ("Zed", 12.5)
    assert again.matches(key.encode())
    assert not again.matches(f"{key}x".encode())
    assert key not in file.read_text()
    again.remove(made.id)
    assert not AppKeys(file).matches(key.encode())
    with pytest.raises(NotFound):
        again.remove(made.id)


def test_names_are_cleaned_and_there_is_an_end_to_them(tmp_path: Path) -> None:
    keys = AppKeys(tmp_path / "keys.json")
    assert keys.add("Z\x1b[31med")[0].name == "Zed"
    with pytest.raises(BadRequest):
        keys.add(" ")
    for number in range(KEYS_MAX - 1):
        keys.add(f"app {number}")
    with pytest.raises(Conflict, match="keys already"):
        keys.add("one more")


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"id": "a", "name": "b", "made_at": 1, "sha256": "zz"}]'])
def test_a_damaged_file_opens_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    keys = AppKeys(tmp_path / "keys.json")
    assert keys.list() == ()
    assert not keys.matches(b"")
    made, _ = keys.add("Zed")
    assert AppKeys(tmp_path / "keys.json").list() == (made,)
    assert (tmp_path / "keys.json.broken").read_text() == text, "what is in it is not lost"


def test_a_key_that_can_not_be_saved_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keys = AppKeys(tmp_path / "file" / "keys.json")
    with pytest.raises(SecretError, match="can't be written"):
        keys.add("Zed")
    assert keys.list() == ()
