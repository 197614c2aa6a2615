import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from meshlight.desktop.system.clipboard import copy

KEY = "local-key-of-the-tests"
WAYLAND = {"WAYLAND_DISPLAY": "wayland-0"}
X11 = {"DISPLAY": ":0"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


class Tools:
    """Stand-ins for clipboard programs, which note what they are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, ending: int = 0) -> None:
        file = self.folder / name
        file.write_text(f'#!/bin/sh\necho "$@" > "{file}.argv"\ncat > "{file}.stdin"\nexit {ending}\n')
        file.chmod(0o700)

    def find(self, name: str) -> str | None:
        file = self.folder / name
        return str(file) if file.exists() else None

    def took(self, name: str) -> str:
        file = self.folder / f"{name}.stdin"
        return file.read_text() if file.exists() else ""

    def argv(self, name: str) -> str:
        return (self.folder / f"{name}.argv").read_text()


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


def test_the_text_goes_by_stdin_where_no_process_list_shows_it(tools: Tools) -> None:
    tools.add("wl-copy")
    assert copy(KEY, environment=WAYLAND, find=tools.find, platform="linux")
    assert tools.took("wl-copy") == KEY
    assert KEY not in tools.argv("wl-copy")


def test_on_x11_a_program_for_wayland_is_not_asked(tools: Tools) -> None:
    for name in ("wl-copy", "xclip", "xsel"):
        tools.add(name)
    assert copy(KEY, environment=X11, find=tools.find, platform="linux")
    assert [name for name in ("wl-copy", "xclip", "xsel") if tools.took(name)] == ["xclip"]


def test_one_that_fails_is_followed_by_the_next(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    tools.add("xclip", ending=1)
    tools.add("xsel")
    assert copy(KEY, environment=X11, find=tools.find, platform="linux")
    assert tools.took("xsel") == KEY
    assert "xclip ended with exit code 1" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("environment", "package"), [(WAYLAND, "wl-clipboard"), (X11, "xclip"), ({}, "xclip")]
)
def test_where_there_is_none_the_log_says_which_would_do(
    environment: dict[str, str], package: str, tools: Tools, caplog: pytest.LogCaptureFixture
) -> None:
    assert not copy(KEY, environment=environment, find=tools.find, platform="linux")
    assert package in caplog.text


@pytest.mark.parametrize(("platform", "program"), [("darwin", "pbcopy"), ("win32", "clip.exe")])
def test_other_systems_have_one_of_their_own(platform: str, program: str, tools: Tools) -> None:
    assert not copy(KEY, environment={}, find=tools.find, platform=platform)
    tools.add(program)
    assert copy(KEY, environment={}, find=tools.find, platform=platform)
    assert tools.took(program) == KEY


@pytest.mark.skipif(
    sys.platform != "linux" or not (which("Xvfb") and which("xclip")), reason="needs Xvfb and xclip"
)
def test_what_is_copied_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    from desktop.screen import Screen  # noqa: PLC0415 - Xlib is for Linux

    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with Screen() as screen:
        monkeypatch.setenv("DISPLAY", screen.name)
        assert copy(KEY)
        paste = ["xclip", "-selection", "clipboard", "-out"]
        done = subprocess.run(paste, capture_output=True, check=True, timeout=10)
        assert done.stdout.decode() == KEY
