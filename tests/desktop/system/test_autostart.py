import configparser
import plistlib
import sys
from pathlib import Path

import pytest

from meshlight.desktop.system.autostart import Autostart, DesktopEntry, LaunchAgent, RunEntry, autostart_here


def is_on(entry: Autostart) -> bool:
    return entry.is_on


COMMAND = ["/opt/my apps/python", "-P", "-m", "meshlight", "tray", '100% "$HOME"']


def test_on_linux_the_entry_is_made_read_and_removed(tmp_path: Path) -> None:
    entry = DesktopEntry(tmp_path / "autostart", COMMAND)
    assert not is_on(entry)
    entry.switch(on=False)
    entry.switch(on=True)
    entry.switch(on=True)
    assert is_on(entry)
    [file] = (tmp_path / "autostart").iterdir()
    parser = configparser.RawConfigParser()
    parser.read(file, "utf-8")
    section = parser["Desktop Entry"]
    assert section["Type"] == "Application"
    assert section["Exec"].startswith('"/opt/my apps/python" "-P" "-m" "meshlight" "tray"')
    entry.switch(on=False)
    assert not is_on(entry)
    assert list(tmp_path.iterdir()) == []


def test_on_linux_the_command_is_quoted_as_the_specification_wants_it(tmp_path: Path) -> None:
    DesktopEntry(tmp_path, COMMAND).switch(on=True)
    [line] = [x for x in (tmp_path / "meshlight.desktop").read_text().splitlines() if x.startswith("Exec=")]
    # Read as desktops do: first the file's own escapes, then the quotes of Exec, then the field codes.
    text = line.removeprefix("Exec=").replace("\\\\", "\\")
    words, word, is_escaped, is_quoted = [], "", False, False
    for sign in text:
        if is_escaped:
            word, is_escaped = word + sign, False
        elif sign == "\\":
            is_escaped = True
        elif sign == '"':
            is_quoted = not is_quoted
            if not is_quoted:
                words.append(word.replace("%%", "%"))
                word = ""
        elif is_quoted:
            word += sign
    assert words == COMMAND


@pytest.mark.parametrize("line", ["Hidden=true", "X-GNOME-Autostart-enabled=false"])
def test_an_entry_that_the_desktops_own_settings_switched_off_is_off(tmp_path: Path, line: str) -> None:
    entry = DesktopEntry(tmp_path, COMMAND)
    entry.switch(on=True)
    file = tmp_path / "meshlight.desktop"
    file.write_text(file.read_text().replace("X-GNOME-Autostart-enabled=true", line))
    assert not is_on(entry)


def test_on_a_mac_the_agent_is_a_property_list_that_starts_at_login(tmp_path: Path) -> None:
    agent = LaunchAgent(tmp_path / "LaunchAgents", COMMAND)
    assert not is_on(agent)
    agent.switch(on=True)
    assert is_on(agent)
    [file] = (tmp_path / "LaunchAgents").iterdir()
    entry = plistlib.loads(file.read_bytes())
    assert entry["ProgramArguments"] == COMMAND
    assert entry["RunAtLoad"] is True
    agent.switch(on=False)
    agent.switch(on=False)
    assert not is_on(agent)


class Memory:
    """A key of the registry that is not on this machine."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def set(self, name: str, value: str) -> None:
        self.values[name] = value

    def remove(self, name: str) -> None:
        self.values.pop(name, None)


def test_on_windows_the_run_key_holds_the_command_line() -> None:
    registry = Memory()
    entry = RunEntry(registry, [r"C:\My Apps\python.exe", "-m", "meshlight"])
    entry.switch(on=True)
    assert is_on(entry)
    assert registry.values == {"Meshlight": r'"C:\My Apps\python.exe" -m meshlight'}
    entry.switch(on=False)
    entry.switch(on=False)
    assert not is_on(entry)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own place")
def test_the_folder_is_the_users_own_and_a_relative_one_is_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, folder in (
        ("", tmp_path / ".config"),
        ("relative", tmp_path / ".config"),
        (str(tmp_path / "x"), tmp_path / "x"),
    ):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        entry = autostart_here(COMMAND, tmp_path)
        assert entry is not None
        entry.switch(on=True)
        assert (folder / "autostart" / "meshlight.desktop").is_file()
        entry.switch(on=False)
