import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest
from msgspec import Struct

from meshlight.desktop.system.autostart import NAME
from meshlight.desktop.system.instance_signal import QUIT, signal_instance
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.menu_entry import entry_text
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.desktop.window.system_gtk import use_system_gtk
from meshlight.desktop.window.window import (
    PAUSE_SCRIPT,
    RESUME_SCRIPT,
    WindowGeometry,
    fit_to_screens,
    prepare_webkit,
    with_node,
)
from process_fixture import Home, is_alive, wait_until
from stopwatch import Stopwatch

TITLE = "Meshlight"
PAINTED = 300
"""Colours of the page's text and icons; an empty window has one or two."""
ENGINES = """\
[[backends]]
id = "studio"
name = "Studio"
kind = "llamacpp"
url = "http://127.0.0.1:9"
ring = "machine"
"""


class Glass(Struct, frozen=True):
    x: int
    y: int
    width: int
    height: int


def test_a_window_comes_back_to_where_it_was() -> None:
    geometry = WindowGeometry(width=900, height=700, x=100, y=50)
    assert fit_to_screens(geometry, [Glass(0, 0, 1920, 1080)]) == geometry


def test_a_window_of_a_screen_that_is_gone_comes_to_one_that_is_there_and_fits_into_it() -> None:
    geometry = fit_to_screens(WindowGeometry(width=3000, height=2000, x=2500, y=50), [Glass(0, 0, 1280, 720)])
    assert geometry == WindowGeometry(width=1280, height=720)


def test_a_window_on_the_second_screen_stays_there() -> None:
    geometry = WindowGeometry(width=900, height=700, x=-1000, y=50)
    assert fit_to_screens(geometry, [Glass(0, 0, 1280, 720), Glass(-1280, 0, 1280, 720)]).x == -1000


def test_a_broken_file_of_the_last_place_does_no_harm(tmp_path: Path) -> None:
    kept = JsonFile(tmp_path / "window.json", WindowGeometry)
    assert kept.read() == WindowGeometry()
    (tmp_path / "window.json").write_text("{")
    assert kept.read() == WindowGeometry()
    kept.write(WindowGeometry(width=700, x=3))
    assert kept.read() == WindowGeometry(width=700, x=3)
    assert [p.name for p in tmp_path.iterdir()] == ["window.json"]


def test_without_a_gpu_webkit_is_told_to_draw_without_dmabuf(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    prepare_webkit(environ, tmp_path)
    assert environ == ({"WEBKIT_DISABLE_DMABUF_RENDERER": "1"} if sys.platform == "linux" else {})
    (tmp_path / "renderD128").touch()
    environ = {}
    prepare_webkit(environ, tmp_path)
    assert "WEBKIT_DISABLE_DMABUF_RENDERER" not in environ or Path("/proc/driver/nvidia").exists()


def test_a_link_to_a_node_is_written_as_the_page_writes_it() -> None:
    assert (
        with_node("http://127.0.0.1:1/?code=x", "gpu box") == "http://127.0.0.1:1/?code=x#sel=b%3Agpu%20box"
    )
    assert with_node("http://127.0.0.1:1/?code=x", "") == "http://127.0.0.1:1/?code=x"
    assert (
        with_node("http://127.0.0.1:1/?code=x", "add?kind=mlx") == "http://127.0.0.1:1/?code=x#add?kind=mlx"
    )
    assert with_node("http://127.0.0.1:1/?code=x", "pair?host=x") == "http://127.0.0.1:1/?code=x#pair?host=x"
    assert with_node("http://127.0.0.1:1/?code=x", "peers?") == "http://127.0.0.1:1/?code=x#peers"
    assert with_node("http://127.0.0.1:1/?code=x", "apps?") == "http://127.0.0.1:1/?code=x#apps"
    assert with_node("http://127.0.0.1:1/?code=x", "peers") == "http://127.0.0.1:1/?code=x#sel=b%3Apeers"


def test_the_page_listens_for_what_the_window_tells_it() -> None:
    page = (Path(__file__).parents[3] / "web" / "app" / "chrome" / "main.js").read_text()
    for script in (PAUSE_SCRIPT, RESUME_SCRIPT):
        [event] = re.findall(r"Event\('(.+?)'\)", script)
        assert f'addEventListener("{event}"' in page


needs_gtk = pytest.mark.skipif(
    sys.platform != "linux" or which("Xvfb") is None or not use_system_gtk(),
    reason="needs Xvfb, and GTK's WebKit for this Python",
)


class Windows:
    """A running service, and windows on its mesh on a screen of their own."""

    def __init__(self, home: Home) -> None:
        from desktop.screen import Screen  # noqa: PLC0415 - Xlib and Pillow's screenshots are for Linux

        self.home = home
        self.screen = Screen()
        self.service = home.start("serve", "--quiet")
        wait_until(home.runtime_file.exists)
        self.opened: list[subprocess.Popen[str]] = []

    def open(self, *words: str) -> subprocess.Popen[str]:
        more = {"DISPLAY": self.screen.name, "DBUS_SESSION_BUS_ADDRESS": "disabled:", "GTK_A11Y": "none"}
        window = self.home.start("window", *words, more=more)
        self.opened.append(window)
        return window

    def until_painted(self) -> float:
        return wait_until(lambda: self.screen.colours() > PAINTED)

    def connections(self) -> int:
        """How many connections the service has."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        local = f":{self.home.port:04X}"
        return sum(f[1].endswith(local) and f[3] == "01" for f in (line.split() for line in lines))

    def settled_connections(self) -> int:
        """How many it has once that has been the same for a second."""
        kept, since = self.connections(), time.monotonic()

        def is_settled() -> bool:
            nonlocal kept, since
            now = self.connections()
            if now != kept or not now:
                kept, since = now, time.monotonic()
            return time.monotonic() - since > 1.0

        wait_until(is_settled)
        return kept

    def end(self) -> None:
        for process in (*self.opened, self.service):
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=20)
        self.screen.__exit__(None, None, None)


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Windows]:
    running = Windows(Home(tmp_path, ENGINES))
    yield running
    running.end()


@needs_gtk
def test_the_window_paints_the_mesh_stays_alone_follows_the_service_and_frees_all_when_it_is_closed(
    windows: Windows,
) -> None:
    stopwatch = Stopwatch()
    first = windows.open()
    windows.until_painted()
    family = [first.pid, *descendants(first.pid)]
    stopwatch.follow(*family)
    assert stopwatch.elapsed_s < 6.0
    assert len(family) >= 3  # WebKit's own processes
    # By these desktops know that it is of the menu's entry, and show its name and icon.
    assert windows.screen.window(TITLE).get_wm_class() == (NAME, NAME.capitalize())
    assert f"StartupWMClass={NAME}\n" in entry_text(["meshlight"])

    second = windows.open("--node", "studio")
    out, _ = second.communicate(timeout=20)
    assert (second.returncode, out) == (0, "The mesh window comes to the front.\n")
    assert len(windows.screen.windows(TITLE)) == 1

    windows.screen.move(TITLE, 40, 30, 900, 640)
    wait_until(lambda: windows.screen.place(TITLE) == (40, 30, 900, 640))

    old = windows.home.runtime.instance
    os.kill(windows.service.pid, signal.SIGKILL)
    windows.service.communicate(timeout=20)
    windows.service = windows.home.start("serve", "--quiet")
    wait_until(lambda: windows.home.runtime.instance != old)
    wait_until(lambda: windows.connections() > 0)  # it came back with a new code by itself

    windows.screen.close(TITLE)
    assert first.wait(10) == 0
    wait_until(lambda: not any(map(is_alive, family)))
    kept = json.loads((windows.home.folder / "window.json").read_text())
    assert (kept["width"], kept["height"], kept["x"], kept["y"]) == (900, 640, 40, 30)

    windows.open()
    wait_until(lambda: windows.screen.place(TITLE) == (40, 30, 900, 640))


@needs_gtk
def test_a_minimised_window_tells_its_page_to_rest(windows: Windows) -> None:
    windows.open()
    windows.until_painted()
    for _ in range(2):
        before = windows.settled_connections()
        icon = windows.screen.minimise(TITLE)
        wait_until(fewer_connections(windows, before))  # the line for events is closed
        windows.screen.restore(icon)


@needs_gtk
def test_a_window_ends_when_meshlight_quits(windows: Windows) -> None:
    window = windows.open()
    windows.until_painted()
    assert signal_instance(windows.home.folder, INSTANCE_SOCKET, QUIT)
    assert window.wait(20) == 0


@needs_gtk
def test_without_a_display_the_window_gives_the_link_for_a_browser(windows: Windows) -> None:
    window = windows.home.start("window", more={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    out, _ = window.communicate(timeout=20)
    assert window.returncode == 0
    assert "This machine has no web view to show a window with" in out
    assert f"http://127.0.0.1:{windows.home.port}/?code=" in out


def test_without_a_service_there_is_no_window_but_a_clear_line(tmp_path: Path) -> None:
    window = Home(tmp_path).start("window")
    out, _ = window.communicate(timeout=20)
    assert window.returncode == 4
    assert out.startswith("Error: Meshlight isn't running.")


def fewer_connections(windows: Windows, than: int) -> Callable[[], bool]:
    return lambda: windows.connections() < than


def descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*children, *(deeper for child in children for deeper in descendants(child))]
