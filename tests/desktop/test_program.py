import subprocess
import sys
from pathlib import Path

import pytest

from desktop.homes import wait_until
from meshlight.desktop.opener import has_screen, open_file
from meshlight.desktop.program import environment, program


def test_a_folder_of_our_name_where_meshlight_is_started_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "meshlight").mkdir()
    (tmp_path / "meshlight" / "__main__.py").write_text("print('stranger')")
    done = subprocess.run(program("version"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("meshlight ")


def test_a_frozen_program_is_started_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert program("serve") == [sys.executable, "serve"]


def test_a_child_does_not_take_our_parent_for_its_own() -> None:
    assert environment({"A": "1"}, {"MESHLIGHT_PARENT": "stdin", "B": "2"}) == {"A": "1", "B": "2"}


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is Linux's")
def test_a_file_is_opened_by_the_desktop_and_one_that_is_not_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, opener, opened = tmp_path / "a log;", tmp_path / "xdg-open", tmp_path / "opened"
    assert not open_file(file)
    file.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not open_file(file)  # no opener
    opener.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{opened}'\n")
    opener.chmod(0o700)
    assert open_file(file)
    wait_until(lambda: opened.exists() and opened.read_text() == str(file))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_a_screen_is_what_a_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_screen()
