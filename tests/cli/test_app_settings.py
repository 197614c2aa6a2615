"""Settings files of apps: merged with what is there, kept, and restored byte for byte."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from meshlight.cli.app_settings import HIDDEN, AppSettings
from meshlight.domain.app_recipes import Access, settings_for
from meshlight.domain.client_apps import APPS, AppId, ClientApp
from meshlight.domain.errors import Conflict, NotFound

KEY = "ml-the-local-key"
ACCESS = Access(url="http://127.0.0.1:6374", key=KEY, model="qwen3-32b", context=65_536)
MINE: dict[AppId, str] = {
    "claude": '{\n\t"theme": "dark",\n\t"env": {\n\t\t"FOO": "1"\n\t}\n}',
    "codex": '# mine\nmodel = "gpt-5" # keep\n\n[model_providers.other]\nname = "Other"\n',
    "opencode": '{"$schema": "https://opencode.ai/config.json", "theme": "é"}\n',
    "zed": '{\n    "language_models": {"ollama": {"api_url": "http://localhost:11434"}}\n}\n',
    "aider": "# mine\nmodel: gpt-4o\ndark-mode: true\n",
    "open-webui": "OPENAI_API_KEY=old\nWEBUI_NAME=Mine\n",
}


class Home:
    """A home folder of a test with the settings files of apps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state" / "apps"
        programs = path / "venv" / "bin"
        programs.mkdir(parents=True)
        (programs / "open-webui").write_text("#!/bin/sh\n")
        (programs / "open-webui").chmod(0o755)
        (path / "venv/lib/python3.12/site-packages/open_webui").mkdir(parents=True)
        self.files = AppSettings(self.state, {"PATH": str(programs)})

    def write(self, app: ClientApp, access: Access = ACCESS) -> Path:
        change = self.files.plan(app, settings_for(app, access))
        self.files.write(app, change)
        return change.file

    def listing(self) -> dict[str, bytes | None]:
        """Every file and folder, with what is in it."""
        return {
            str(one.relative_to(self.path)): one.read_bytes() if one.is_file() else None
            for one in self.path.rglob("*")
            if not one.is_relative_to(self.path / "state")
        }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return Home(tmp_path)


@pytest.mark.parametrize("app", MINE)
def test_a_file_is_written_read_back_and_restored_to_the_byte(app: AppId, home: Home) -> None:
    file = home.files.file_of(APPS[app])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(MINE[app].encode())
    file.chmod(0o644)
    before = home.listing()
    assert home.write(APPS[app]) == file
    text = file.read_text(encoding="utf-8")
    assert "http://127.0.0.1:6374" in text
    assert file.stat().st_mode & 0o077 == 0, "the key is for its owner alone"
    home.files.restore(APPS[app])
    assert home.listing() == before
    assert file.stat().st_mode & 0o777 == 0o644
    assert not home.state.exists()


@pytest.mark.parametrize("app", MINE)
def test_a_file_that_did_not_exist_is_gone_again_with_its_folders(app: AppId, home: Home) -> None:
    before = home.listing()
    assert home.write(APPS[app]).is_file()
    home.files.restore(APPS[app])
    assert home.listing() == before


def test_what_was_there_stays_in_its_order_and_form(home: Home) -> None:
    for app, mine in MINE.items():
        file = home.files.file_of(APPS[app])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(mine.encode())
        home.write(APPS[app])
    claude = home.files.file_of(APPS["claude"]).read_text(encoding="utf-8")
    assert claude.startswith('{\n\t"theme": "dark",\n\t"env": {\n\t\t"FOO": "1",\n\t\t"ANTHROPIC_BASE_URL"')
    codex = home.files.file_of(APPS["codex"]).read_text(encoding="utf-8")
    assert codex.startswith('# mine\nmodel = "qwen3-32b" # keep\n')
    settings = tomllib.loads(codex)
    assert settings["model_provider"] == "meshlight"
    assert set(settings["model_providers"]) == {"other", "meshlight"}
    zed = json.loads(home.files.file_of(APPS["zed"]).read_text(encoding="utf-8"))
    assert set(zed["language_models"]) == {"ollama", "openai_compatible"}
    assert KEY not in json.dumps(zed), "it keeps the key elsewhere"
    aider = home.files.file_of(APPS["aider"]).read_text(encoding="utf-8").splitlines()
    assert aider[:3] == ["# mine", 'model: "openai/qwen3-32b"', "dark-mode: true"]
    webui = home.files.file_of(APPS["open-webui"]).read_text(encoding="utf-8").splitlines()
    assert webui[:2] == [f'OPENAI_API_KEY="{KEY}"', "WEBUI_NAME=Mine"]


def test_the_diff_hides_the_key(home: Home) -> None:
    lines = home.files.plan(APPS["codex"], settings_for(APPS["codex"], ACCESS)).diff(KEY)
    assert f'+experimental_bearer_token = "{HIDDEN}"' in lines
    assert not any(KEY in line for line in lines)


def test_a_file_that_was_changed_since_is_not_touched(home: Home) -> None:
    file = home.write(APPS["codex"])
    file.write_text("# other\n")
    with pytest.raises(Conflict, match="was changed since"):
        home.files.restore(APPS["codex"])
    assert file.read_text() == "# other\n"
    home.write(APPS["codex"])  # what is there now is what is restored
    home.files.restore(APPS["codex"])
    assert file.read_text() == "# other\n"


def test_written_twice_it_is_restored_to_what_was_there_first(home: Home) -> None:
    file = home.files.file_of(APPS["codex"])
    file.parent.mkdir()
    file.write_text(MINE["codex"])
    home.write(APPS["codex"])
    home.write(APPS["codex"], replace(ACCESS, model="other"))
    assert tomllib.loads(file.read_text())["model"] == "other"
    home.files.restore(APPS["codex"])
    assert file.read_text() == MINE["codex"]


@pytest.mark.parametrize(
    ("app", "text"),
    [
        ("zed", '{\n  // mine\n  "theme": "One"\n}\n'),
        ("claude", "[]"),
        ("claude", '{"a": 1, "a": 2}'),
        ("claude", '{"a": 1e999}'),
        ("claude", "[" * 100_000),
        ("codex", "model = \n"),
        ("opencode", "\xff"),
    ],
)
def test_what_can_not_be_read_is_refused_and_stays(app: AppId, text: str, home: Home) -> None:
    file = home.files.file_of(APPS[app])
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(Conflict, match="can't be changed"):
        home.write(APPS[app])
    assert file.read_bytes() == text.encode("latin-1")


def test_lines_keep_their_ends_and_only_their_own_ends_count(home: Home) -> None:
    file = home.files.file_of(APPS["aider"])
    file.write_bytes("# a\u2028b\r\nmodel: x\r\ndark-mode: true".encode())
    home.write(APPS["aider"])
    text = file.read_bytes().decode()
    assert text.startswith('# a\u2028b\r\nmodel: "openai/qwen3-32b"\r\ndark-mode: true\r\nopenai-api-base: ')
    assert text.count("\n") == text.count("\r\n")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own there")
@pytest.mark.parametrize("mine", [None, MINE["codex"]])
def test_a_link_stays_and_what_it_led_to_is_restored(mine: str | None, home: Home) -> None:
    file, real = home.files.file_of(APPS["codex"]), home.path / "dotfiles" / "codex.toml"
    for folder in (file.parent, real.parent):
        folder.mkdir()
    file.symlink_to(real)
    if mine is not None:
        real.write_text(mine)
    assert home.write(APPS["codex"]) == real
    assert file.is_symlink()
    elsewhere = home.path / "elsewhere.toml"
    elsewhere.write_bytes(real.read_bytes())
    file.unlink()
    file.symlink_to(elsewhere)
    home.files.restore(APPS["codex"])
    assert (real.read_text() if real.exists() else None) == mine
    assert KEY in elsewhere.read_text(), "it is not the file that was written"
    assert file.is_symlink()


def test_settings_in_two_folders_are_not_mixed_up(home: Home) -> None:
    codex, homes = APPS["codex"], [home.path / "one", home.path / "other"]
    for folder in homes:
        folder.mkdir()
        (folder / "config.toml").write_text(f"# {folder.name}\n")
    one, other = (AppSettings(home.state, {"CODEX_HOME": str(folder)}) for folder in homes)
    one.write(codex, one.plan(codex, settings_for(codex, ACCESS)))
    with pytest.raises(Conflict, match=r"are in .*one.* already"):
        other.write(codex, other.plan(codex, settings_for(codex, ACCESS)))
    other.restore(codex)
    assert [(folder / "config.toml").read_text() for folder in homes] == ["# one\n", "# other\n"]


def test_without_what_was_there_before_nothing_is_restored(home: Home) -> None:
    file = home.files.file_of(APPS["codex"])
    file.parent.mkdir()
    file.write_text(MINE["codex"])
    home.write(APPS["codex"])
    (home.state / "codex.backup").unlink()
    with pytest.raises(Conflict, match="is gone, which held"):
        home.files.restore(APPS["codex"])
    assert KEY in file.read_text()


def test_a_value_that_a_file_would_change_is_refused(home: Home) -> None:
    with pytest.raises(Conflict, match="would change"):
        home.write(APPS["aider"], replace(ACCESS, model="a$HOME"))


def test_a_change_in_between_is_not_overwritten(home: Home) -> None:
    change = home.files.plan(APPS["codex"], settings_for(APPS["codex"], ACCESS))
    change.file.parent.mkdir()
    change.file.write_text("# new\n")
    with pytest.raises(Conflict, match="in this moment"):
        home.files.write(APPS["codex"], change)
    assert change.file.read_text() == "# new\n"


def test_nothing_written_is_nothing_to_restore(home: Home) -> None:
    with pytest.raises(NotFound, match="has written no settings of Codex"):
        home.files.restore(APPS["codex"])


def test_a_folder_that_a_variable_names_is_used(tmp_path: Path) -> None:
    files = AppSettings(tmp_path, {"CODEX_HOME": str(tmp_path / "own")})
    assert files.file_of(APPS["codex"]) == tmp_path / "own" / "config.toml"
    with pytest.raises(NotFound, match="was not found on PATH"):
        files.file_of(APPS["open-webui"])
