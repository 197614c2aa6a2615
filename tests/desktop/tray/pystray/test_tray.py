"""The adapter to pystray, with pystray's own classes and a toolkit that is played; and with GTK, where it is."""

import importlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from desktop.samples import backend, mesh, scenario
from meshlight.desktop.tray.icon import icon
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action
from meshlight.desktop.tray.pystray.toolkit import PystrayBackend, Toolkit, load
from meshlight.desktop.tray.pystray.tray import PystrayTray
from meshlight.desktop.tray.state import TrayState

RUNNING = TrayState(service="running", url="http://127.0.0.1:6374", starts_at_login=True, notifies=True)


class Screen:
    """What the played toolkit shows, and the ways in which it fails."""

    def __init__(self) -> None:
        self.drawn: queue.SimpleQueue[str] = queue.SimpleQueue()
        """What was drawn anew, in order."""
        self.pen: Any = None
        self.fails_at_start = False
        self.fails_at_end = False
        self.refuses_tooltips = False
        self.goes_by_itself = False
        self.never_returns = False

    def next(self) -> str:
        return self.drawn.get(timeout=10)

    def line(self, *labels: str) -> Any:
        """The line to which these beginnings of labels lead."""
        lines = self.pen.menu
        found = None
        for label in labels:
            (found,) = [line for line in lines if line.text.startswith(label)]
            lines = found.submenu
        return found

    def press(self, *labels: str) -> None:
        self.line(*labels)(self.pen)


@pytest.fixture
def screen() -> Screen:
    return Screen()


class PlayedIcon:
    """The part of pystray's icon that each toolkit fills in."""

    screen: ClassVar[Screen]
    _mark_ready: Callable[[], None]

    def __init__(self, *words: object) -> None:
        super().__init__(*words)
        self._over = threading.Event()
        self.screen.pen = self

    def _run(self) -> None:
        if self.screen.fails_at_start:
            raise RuntimeError("no such display")
        self._mark_ready()
        if not self.screen.goes_by_itself:
            self._over.wait()
        if self.screen.fails_at_end:
            raise RuntimeError("no notification daemon")

    def _stop(self) -> None:
        if not self.screen.never_returns:
            self._over.set()

    def _show(self) -> None:
        self.screen.drawn.put("shown")

    def _hide(self) -> None:
        pass

    def _update_icon(self) -> None:
        self._icon_valid = True
        self.screen.drawn.put("icon")

    def _update_title(self) -> None:
        if self.screen.refuses_tooltips:
            raise ValueError("string too long")
        self.screen.drawn.put("tooltip")

    def _update_menu(self) -> None:
        self.screen.drawn.put("menu")


@pytest.fixture
def toolkit(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Toolkit:
    monkeypatch.setenv("PYSTRAY_BACKEND", "dummy")
    pystray = importlib.import_module("pystray")
    base = importlib.import_module("pystray._base").Icon
    return Toolkit(type("Icon", (PlayedIcon, base), {"screen": screen}), pystray.Menu, pystray.MenuItem)


class Tray(PystrayTray):
    """The face in a thread that plays the main one."""

    def __init__(self, toolkit: Toolkit, way: PystrayBackend = "win32") -> None:
        self.clicked: queue.SimpleQueue[Action] = queue.SimpleQueue()
        super().__init__(self.clicked.put, way, toolkit)
        self.ready = threading.Event()
        self.lost: str | None = None
        self._thread = threading.Thread(target=self._run_to_end)
        self.set_icon("green")
        self.set_tooltip("All 2 backends are healthy.")
        self.set_menu(menu(scenario(), RUNNING))

    def _run_to_end(self) -> None:
        self.lost = self.run(self.ready.set)

    def start(self) -> "Tray":
        self._thread.start()
        return self

    def until_ready(self) -> "Tray":
        assert self.ready.wait(10)
        return self

    def end(self) -> str | None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.lost


@pytest.fixture
def start(toolkit: Toolkit, screen: Screen) -> Callable[[], Tray]:
    def start() -> Tray:
        tray = Tray(toolkit).start().until_ready()
        assert [screen.next() for _ in range(3)] == ["menu", "icon", "shown"]
        return tray

    return start


def test_the_icon_comes_with_tooltip_and_menu(start: Callable[[], Tray], screen: Screen) -> None:
    tray = start()
    assert screen.pen.icon is icon("green", 64)
    assert screen.pen.title == "Meshlight: All 2 backends are healthy."
    assert screen.line("Open mesh").default
    assert screen.line("Start at login").checked is True
    assert screen.line("Quit").checked is None
    assert not screen.line("About", "Meshlight").enabled
    tray.stop()
    assert tray.end() == ""


def test_a_click_is_only_noted(start: Callable[[], Tray], screen: Screen) -> None:
    tray = start()
    screen.press("Backends", "● Ollama", "Check now")
    screen.press("About", "Meshlight")
    screen.pen()  # a click on the icon itself
    clicks = [tray.clicked.get(timeout=10), tray.clicked.get(timeout=10)]
    assert clicks == [Action("check", "ollama-11434"), Action("open")]
    tray.stop()
    tray.end()


def test_a_click_builds_the_menu_anew_only_where_the_toolkit_has_turned_a_tick(
    start: Callable[[], Tray], screen: Screen
) -> None:
    tray = start()
    screen.pen._handler(screen.line("Refresh now"))()
    screen.pen._handler(screen.line("Start at login"))()
    assert screen.next() == "menu"
    tray.stop()
    tray.end()
    assert screen.drawn.empty()


def test_only_what_changed_is_drawn_anew(start: Callable[[], Tray], screen: Screen) -> None:
    tray = start()
    tray.set_icon("green")
    tray.set_menu(menu(scenario(), RUNNING))
    tray.set_icon("red")
    assert screen.next() == "icon"
    tray.set_tooltip("1 of 2 down")
    assert screen.next() == "tooltip"
    tray.set_menu(menu(mesh(backend("a")), RUNNING))
    assert screen.next() == "menu"
    tray.stop()
    tray.end()
    assert screen.drawn.empty()


def test_a_tooltip_is_no_longer_than_windows_takes(start: Callable[[], Tray], screen: Screen) -> None:
    tray = start()
    tray.set_tooltip("x" * 300)
    assert screen.next() == "tooltip"
    assert len(screen.pen.title) == 127
    tray.stop()
    tray.end()


def test_an_ampersand_in_a_name_underlines_nothing_on_windows(toolkit: Toolkit, screen: Screen) -> None:
    tray = Tray(toolkit)
    tray.set_menu(menu(mesh(backend("a", name="R&D")), RUNNING))
    tray.start().until_ready()
    assert screen.line("Backends", "● R&&D")
    tray.stop()
    tray.end()


def test_what_the_toolkit_refuses_is_logged_and_the_rest_goes_on(
    start: Callable[[], Tray], screen: Screen, caplog: pytest.LogCaptureFixture
) -> None:
    tray = start()
    screen.refuses_tooltips = True
    tray.set_tooltip("too long")
    tray.set_icon("amber")
    assert screen.next() == "icon"
    tray.stop()
    tray.end()
    assert "string too long" in caplog.text


def test_an_icon_that_can_not_start_is_told_and_leaves_no_thread_behind(
    toolkit: Toolkit, screen: Screen
) -> None:
    before = set(threading.enumerate())
    screen.fails_at_start = True
    tray = Tray(toolkit).start()
    assert tray.end() == "The tray icon failed: no such display"
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
    assert not tray.ready.is_set()


def test_a_toolkit_that_fails_on_leaving_is_left_all_the_same(
    start: Callable[[], Tray], screen: Screen
) -> None:
    tray = start()
    screen.fails_at_end = True
    tray.stop()
    assert tray.end() == ""


def test_an_icon_that_the_desktop_takes_away_is_told(toolkit: Toolkit, screen: Screen) -> None:
    screen.goes_by_itself = True
    assert Tray(toolkit).start().end() == "The desktop has taken the tray icon away."


def test_x11_s_loop_never_returns_and_the_face_does(
    toolkit: Toolkit, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "meshlight.desktop.tray.pystray.x11_icon.patch_x11_icon", lambda icon_class: icon_class
    )
    screen.never_returns = True
    tray = Tray(toolkit, "xorg").start().until_ready()
    tray.stop()
    assert tray.end() == ""
    screen.pen._over.set()


@pytest.mark.skipif(sys.platform != "linux", reason="where these toolkits are there")
@pytest.mark.parametrize("way", ["darwin", "win32"])
def test_loading_a_toolkit_of_another_system_fails_at_once_and_leaves_the_environment(
    way: PystrayBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSTRAY_BACKEND", "dummy")
    with pytest.raises((ImportError, AttributeError)):
        load(way)
    assert os.environ["PYSTRAY_BACKEND"] == "dummy"
