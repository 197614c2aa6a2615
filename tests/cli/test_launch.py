"""`meshlight launch`: what an app is started with, and what is refused. The apps themselves: tests/clients."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_client.local_api import KEY, LocalApi
from cli.app_lists import listed
from meshlight.cli.launch import check_model
from meshlight.domain.client_apps import APPS, AppId
from meshlight.domain.errors import BadRequest

Type = Callable[..., Any]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins of apps are shell scripts")


@pytest.fixture
def apps(api: LocalApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service with one model, and a folder on PATH where each program writes what it was started with."""
    api.says("GET", "/mesh/apps?model=", listed(api.url, "qwen3-32b"))
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("claude", "codex", "opencode", "aider", "open-webui"):
        (folder / program).write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            f"json.dump([sys.argv[1:], dict(os.environ)], open({str(tmp_path / 'started')!r}, 'w'))\n"
            "sys.exit(int(os.environ.get('CODE', 0)))\n"
        )
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "started"


@pytest.mark.parametrize("app", ["claude", "codex", "opencode", "aider", "open-webui"])
def test_the_key_goes_by_the_environment_and_never_by_an_argument(
    app: str, apps: Path, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-another-account")
    said = type_words("launch", app, "--", "--help")
    assert said.code == 0, said.err
    arguments, environ = json.loads(apps.read_text())
    assert arguments[-1] == "--help"
    assert not any(KEY in word for word in arguments)
    assert KEY in environ.values()
    assert ("ANTHROPIC_API_KEY" in environ) == (app != "claude")
    assert not (Path(environ["HOME"])).exists(), "nothing of the user's was touched"
    assert KEY not in said.out + said.err
    assert "uses qwen3-32b" in said.err


@pytest.mark.usefixtures("api")
def test_its_exit_code_is_ours(apps: Path, type_words: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "7")
    assert type_words("launch", "claude").code == 7
    assert apps.exists()


def test_what_a_killed_launch_has_left_is_removed_by_the_next(
    apps: Path, type_words: Type, tmp_path: Path
) -> None:
    killed, running = tmp_path / "launched/999999999-a", tmp_path / f"launched/{os.getpid()}-b"
    for folder in (killed, running):
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(KEY)
    assert type_words("launch", "claude").code == 0
    settings = Path(json.loads(apps.read_text())[0][1])
    assert settings.parent.parent == tmp_path / "launched"
    assert list((tmp_path / "launched").iterdir()) == [running]


def test_without_an_app_all_are_listed(apps: Path, type_words: Type) -> None:
    said = type_words("launch")
    states = {line.split()[0]: line for line in said.lines[1:-3]}
    assert states["claude"].endswith(" installed")
    assert states["cursor"].endswith("is set up by hand")
    assert max(map(len, said.lines)) <= 80
    assert not apps.exists()


def test_open_webui_is_started_as_a_server_unless_told_otherwise(apps: Path, type_words: Type) -> None:
    type_words("launch", "open-webui")
    assert json.loads(apps.read_text())[0] == ["serve"]


def test_an_app_that_is_not_here_is_said_with_how_to_get_it(
    apps: Path, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(apps.parent / "empty"))
    said = type_words("launch", "claude")
    assert said.code == 1
    assert said.err == (
        "Error: Claude Code is not installed: there is no 'claude' on PATH.\n"
        "Install it: npm install -g @anthropic-ai/claude-code\n"
    )


def test_a_program_that_only_lies_in_this_folder_does_not_get_the_key(
    apps: Path, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(apps.parent / "bin")
    monkeypatch.setenv("PATH", ".")
    said = type_words("launch", "claude")
    assert (said.code, apps.exists()) == (1, False)
    assert "lies in this folder" in said.err


def test_an_unknown_app_gets_the_list(type_words: Type) -> None:
    said = type_words("launch", "emacs")
    assert said.code == 1
    assert "Known are claude, codex, cursor" in said.err


@pytest.mark.usefixtures("apps")
def test_an_app_that_takes_no_settings_is_explained_instead(type_words: Type) -> None:
    said = type_words("launch", "Cursor")
    assert said.code == 0
    assert "Override OpenAI Base URL" in said.out
    assert "through its own servers" in said.err


def test_without_a_model_nothing_is_started(apps: Path, api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/apps?model=", listed(api.url))
    said = type_words("launch", "claude")
    assert (said.code, apps.exists()) == (1, False)
    assert said.err.startswith("Error: There is no model for chat yet.")


def test_settings_are_shown_and_agreed_to_before_they_are_written_and_taken_out_again(
    apps: Path, type_words: Type
) -> None:
    file = Path(os.environ["HOME"]) / ".claude/settings.json"
    said = type_words("launch", "claude", "--config", given="n\n")
    assert (said.code, file.exists(), apps.exists()) == (1, False, False)
    assert '+    "ANTHROPIC_AUTH_TOKEN": "••••••••",' in said.lines
    assert KEY not in said.out
    said = type_words("launch", "claude", "--config", given="y\n")
    assert said.code == 0
    assert json.loads(file.read_text())["env"]["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert "has these settings already" in type_words("launch", "claude", "--config").out
    said = type_words("launch", "claude", "--restore")
    assert (said.code, file.parent.exists()) == (0, False)


@pytest.mark.usefixtures("apps")
@pytest.mark.parametrize("app", ["cursor", "curl"])
def test_an_app_without_a_file_is_not_written(app: str, type_words: Type) -> None:
    said = type_words("launch", app, "--config")
    assert said.code == 1
    assert f"meshlight launch {app} --show" in said.err


@pytest.mark.parametrize(
    ("app", "program", "model", "is_fit"),
    [
        ("codex", "C:\\npm\\codex.CMD", 'x"&calc&"', False),
        ("codex", "codex.cmd", "a b & calc", False),
        ("codex", "codex.bat", "%PATH%", False),
        ("codex", "codex.cmd", "qwen3-coder:30b", True),
        ("codex", "/usr/bin/codex", "a & b", True),
        ("claude", "claude.cmd", "a & b", True),
        ("opencode", "opencode", "m{file:~/.ssh/id_ed25519}", False),
        ("opencode", "opencode", "m{env:HOME}", False),
        ("opencode", "opencode", "m{x}", True),
    ],
)
def test_a_models_name_is_no_more_than_a_name(app: AppId, program: str, model: str, *, is_fit: bool) -> None:
    if is_fit:
        check_model(APPS[app], model, program)
    else:
        with pytest.raises(BadRequest, match="can't be given the model"):
            check_model(APPS[app], model, program)


def test_one_thing_at_a_time(type_words: Type) -> None:
    assert type_words("launch", "claude", "--config", "--restore").code == 2
