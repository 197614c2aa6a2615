import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshlight.cli.app_settings import AppSettings
from meshlight.cli.uninstall import how_to_remove, remove_all
from meshlight.domain.app_recipes import Access, settings_for
from meshlight.domain.client_apps import APPS
from meshlight.storage.paths import Paths

Type = Callable[..., Any]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the folders of a user are elsewhere there")


@pytest.fixture
def home(type_words: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a file of somebody else, in which MESHLIGHT_HOME is not set."""
    monkeypatch.delenv("MESHLIGHT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":nowhere")
    for name in os.environ:
        if name.startswith("XDG_"):
            monkeypatch.delenv(name)
    theirs = tmp_path / ".config/mimeapps.list"
    theirs.parent.mkdir()
    theirs.write_text("[Default Applications]\ntext/html=x.desktop\n")
    assert type_words("login", "on").code == 0
    assert type_words("desktop", "--install").code == 0
    return tmp_path


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_made_goes_and_settings_stay(home: Path, type_words: Type) -> None:
    settings = Paths.here()
    settings.prepare()
    settings.config_file.write_text('name = "mine"\n')
    said = type_words("uninstall")
    assert said.code == 0
    assert "Removed the start at login\n" in said.out
    assert f"Removed {home}/.local/share/applications/meshlight.desktop\n" in said.out
    assert set(_files(home)) == {".config/mimeapps.list", ".config/meshlight/config.toml"}
    assert "There was nothing to remove." in type_words("uninstall").out


def test_with_all_the_home_is_byte_for_byte_as_before(home: Path, type_words: Type) -> None:
    paths = Paths.here()
    paths.prepare()
    paths.config_file.write_text(
        '[[backends]]\nid = "vllm"\nkind = "vllm"\nurl = "http://127.0.0.1:1"\nhas_secret = true\n'
    )
    paths.secrets_file.write_text("{}")
    paths.secrets_file.chmod(0o600)
    paths.log_file.touch()
    (paths.engines_dir / "xllamacpp-1-abi3").mkdir(parents=True)
    codex = AppSettings(paths.state_dir / "apps", {})
    access = Access(url="http://127.0.0.1:1", key="k", model="m")
    codex.write(APPS["codex"], codex.plan(APPS["codex"], settings_for(APPS["codex"], access)))
    assert (home / ".codex/config.toml").exists()
    assert type_words("uninstall", "--all", given="n\n").code == 1
    assert paths.config_file.exists(), "it was only asked"
    said = type_words("uninstall", "--all", "--yes")
    assert said.code == 0, said
    assert f"Removed {home}/.config/meshlight\n" in said.out
    assert _files(home) == {".config/mimeapps.list": b"[Default Applications]\ntext/html=x.desktop\n"}
    assert f"Took Meshlight's settings out of {home}/.codex/config.toml\n" in said.out
    assert not (home / ".local").exists()
    assert not (home / ".codex").exists()


def test_a_folder_that_the_user_named_is_left_to_them(type_words: Type, tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    said = type_words("uninstall", "--all", "--yes")
    assert said.code == 1
    assert "MESHLIGHT_HOME is set here" in said.err
    assert (tmp_path / "theirs").exists()


def test_what_runs_is_ended_first(home: Path) -> None:
    ended: list[Paths] = []

    def end(paths: Paths) -> list[str]:
        assert (home / ".config/autostart/meshlight.desktop").exists()
        ended.append(paths)
        return ["tray"]

    lines, problems = remove_all(Paths.here(), everything=False, end=end)
    assert (lines[0], problems, len(ended)) == ("Ended the tray", [], 1)


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/opt/meshlight", "remove meshlight"),
        ("/home/ann/.local/share/uv/tools/meshlight", "uv tool uninstall meshlight"),
        ("/home/ann/.local/share/pipx/venvs/meshlight", "pipx uninstall meshlight"),
        ("/Applications/Meshlight.app/Contents/Frameworks", "move Meshlight.app to the Trash"),
        ("/home/ann/venv", "-m pip uninstall meshlight"),
    ],
)
def test_the_last_line_says_how_the_program_itself_is_removed(prefix: str, command: str) -> None:
    assert how_to_remove(Path(prefix)).endswith(command)


def test_what_the_setup_for_windows_installed_is_removed_by_the_system_s_settings(tmp_path: Path) -> None:
    (tmp_path / "uninstall.exe").touch()
    assert how_to_remove(tmp_path / "app") == "Settings, Apps, Meshlight, Uninstall"


def test_a_window_that_starts_after_the_removal_makes_nothing(home: Path, type_words: Type) -> None:
    assert type_words("uninstall", "--all", "--yes").code == 0
    said = type_words("window")
    assert (said.code, said.err.splitlines()[0]) == (4, "Error: Meshlight isn't running.")
    assert not (home / ".local").exists()
