import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshlight.desktop.system.autostart import DesktopEntry
from meshlight.desktop.system.login import describe, entry_here
from meshlight.desktop.system.systemd_unit import SystemdUnit

Type = Callable[..., Any]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the entry is a value of the registry there")


@pytest.fixture
def own_home(type_words: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types words where MESHLIGHT_HOME is not set and HOME is empty."""
    monkeypatch.delenv("MESHLIGHT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return type_words


def test_with_a_desktop_the_tray_starts_without_the_options_of_today(
    own_home: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":nowhere")
    assert own_home("login").out == "Meshlight does not start at login.\n"
    assert own_home("login", "on").code == 0
    entry = (tmp_path / "home/.config/autostart/meshlight.desktop").read_text()
    [execute] = [line for line in entry.splitlines() if line.startswith("Exec=")]
    assert execute.endswith('"meshlight" "tray" "--patience" "30"')
    assert own_home("login").out == "The icon in the tray starts at login.\n"
    assert own_home("login", "off").out == "Meshlight does not start at login.\n"
    assert not (tmp_path / "home").exists() or list((tmp_path / "home").iterdir()) == []


def test_a_home_of_its_own_is_refused_because_a_login_does_not_have_it(type_words: Type) -> None:
    said = type_words("login", "on")
    assert said.code == 1
    assert "MESHLIGHT_HOME is set here" in said.err


def test_what_starts_at_login_is_told(tmp_path: Path) -> None:
    entry = DesktopEntry(tmp_path / "autostart", ["x"])
    unit = SystemdUnit(tmp_path / "systemd", ["x"], stop=tmp_path, run=lambda _: None)
    assert describe(None, None) == describe(entry, unit) == ["Meshlight does not start at login."]
    entry.switch(on=True)
    unit.switch(on=True)
    assert describe(entry, unit) == [
        "The icon in the tray starts at login.",
        "The service starts at login, by systemd.",
    ]


def test_the_tray_and_the_command_mean_the_same_entry(
    own_home: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":nowhere")
    own_home("login", "on")
    entry = entry_here()
    assert entry is not None
    assert entry.is_on
