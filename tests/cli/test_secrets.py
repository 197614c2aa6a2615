import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_client.local_api import LocalApi
from desktop.samples import backend
from meshlight.storage.secrets.plain_file import PlainSecrets

Type = Callable[..., Any]
CONFIG = """\
[[backends]]
id = "studio"
name = "Studio"
kind = "vllm"
url = "http://127.0.0.1:8000"
ring = "machine"

[[backends]]
id = "cloud"
name = "Cloud"
kind = "vllm"
url = "http://127.0.0.1:8001"
ring = "cloud"
has_secret = true
"""
KEY = "sk-canary-4711"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    file = tmp_path / "secrets.json"  # a plain file that is there is used: a test has no keyring
    PlainSecrets(file).set_password("meshlight", "cloud/api_key", KEY)
    return tmp_path


def test_the_list_says_who_has_a_key_and_never_which(type_words: Type, home: Path) -> None:
    said = type_words("secrets", "list")
    assert said.code == 0
    assert "Cloud" in said.out
    assert "present" in said.out
    assert "MESHLIGHT_SECRET_CLOUD" in said.out
    assert "Studio" not in said.out
    assert KEY not in said.out + said.err
    [row] = json.loads(type_words("secrets", "list", "--json").out)
    assert (row["backend"], row["state"], row["place"]) == ("cloud", "present", "file")
    (home / "secrets.json").write_text("{}")
    assert "missing" in type_words("secrets", "list").out


def test_a_key_from_standard_input_is_kept_and_a_forgotten_one_is_gone(type_words: Type, home: Path) -> None:
    said = type_words("secrets", "set", "studio", given=f"{KEY}2\n")
    assert (said.code, said.out) == (0, "The API key of Studio is saved.\n")
    assert (
        json.loads((home / "secrets.json").read_text())["studio/api_key"] == f"{KEY}2\nhttp://127.0.0.1:8000"
    )
    assert KEY not in (home / "config.toml").read_text()
    assert "Studio" in type_words("secrets", "list").out
    assert type_words("secrets", "remove", "Studio").out == "The API key of Studio is removed.\n"
    assert "studio/api_key" not in json.loads((home / "secrets.json").read_text())
    assert "Studio" not in type_words("secrets", "list").out


def test_a_key_is_never_taken_from_the_command_line(type_words: Type, home: Path) -> None:
    assert type_words("secrets", "set", "studio", KEY).code == 2
    assert home.exists()


@pytest.mark.usefixtures("home")
def test_an_empty_key_and_an_unknown_backend_are_refused_with_a_hint(type_words: Type) -> None:
    said = type_words("secrets", "set", "studio", given="\n")
    assert said.code == 1
    assert "No key was given." in said.err
    said = type_words("secrets", "set", "nobody", given=KEY)
    assert said.code == 1
    assert "backends list" in said.err
    assert KEY not in said.err


def test_a_running_service_is_told_so_that_it_uses_the_key_at_once(
    type_words: Type, home: Path, api: LocalApi
) -> None:
    assert home == api.home
    api.says("PATCH", "/mesh/backends/studio", backend("studio"))
    assert type_words("secrets", "set", "studio", given=KEY).code == 0
    assert type_words("secrets", "remove", "studio").code == 0
    assert [asked.body for asked in api.asked if asked.method == "PATCH"] == [
        {"api_key": KEY},
        {"api_key": ""},
    ]


def test_a_key_from_the_environment_is_listed_as_such(
    type_words: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHLIGHT_SECRET_STUDIO", KEY)
    rows = json.loads(type_words("secrets", "list", "--json").out)
    assert [(r["backend"], r["place"]) for r in rows] == [("studio", "environment"), ("cloud", "file")]
    assert home.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal is played with a pseudo-terminal")
def test_on_a_terminal_the_key_is_asked_for_and_not_echoed(home: Path) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "meshlight", "secrets", "set", "studio"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "MESHLIGHT_HOME": str(home)},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"API key of Studio" not in seen:
        seen += os.read(ours, 1000)
    os.write(ours, f"{KEY}\n".encode())
    while b"is saved" not in seen:
        seen += os.read(ours, 1000)
    assert process.wait(20) == 0
    os.close(ours)
    assert KEY.encode() not in seen
    assert (
        json.loads((home / "secrets.json").read_text())["studio/api_key"] == f"{KEY}\nhttp://127.0.0.1:8000"
    )
