"""Where there is no keyring, a person is asked once whether a file may have the keys."""

from pathlib import Path

import pytest

from cli.terminal import Terminal

CONFIG = """\
# mine, keep it
[[backends]]
id = "studio"
name = "Studio"
kind = "vllm"
url = "http://127.0.0.1:8000"
ring = "machine"
"""
KEY = "sk-canary-4711"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def test_yes_keeps_the_key_in_a_file_for_this_user_alone_and_is_remembered(home: Path) -> None:
    with Terminal(home, "secrets", "set", "studio") as terminal:
        terminal.until("API key of Studio")
        terminal.type(KEY)
        terminal.until("Keep keys in a file only you can read")
        terminal.type("y")
        terminal.until("is saved")
    file = home / "secrets.json"
    assert KEY in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    text = (home / "config.toml").read_text()
    assert 'key_storage = "file"' in text
    assert "# mine, keep it" in text
    with Terminal(home, "secrets", "set", "studio") as terminal:
        terminal.until("API key of Studio")
        terminal.type(f"{KEY}2")
        terminal.until("is saved")
        assert "Keep keys" not in terminal.screen


def test_no_is_remembered_and_the_ways_out_are_told(home: Path) -> None:
    with Terminal(home, "secrets", "set", "studio") as terminal:
        terminal.until("API key of Studio")
        terminal.type(KEY)
        terminal.until("Keep keys in a file only you can read")
        terminal.type("n")
        terminal.until("meshlight settings set key_storage file")
    assert not (home / "secrets.json").exists()
    assert 'key_storage = "keyring"' in (home / "config.toml").read_text()
    with Terminal(home, "secrets", "set", "studio") as terminal:
        terminal.until("API key of Studio")
        terminal.type(KEY)
        terminal.until("meshlight settings set key_storage file")
        assert "Keep keys" not in terminal.screen
