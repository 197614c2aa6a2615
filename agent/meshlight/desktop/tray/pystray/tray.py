"""A tray icon by pystray: macOS, Windows, and Linux desktops that D-Bus alone does not reach.

pystray's ways are worked around here: importing it touches the display; its GTK faces take over Ctrl-C and
fail on leaving without a notification daemon; its X11 face never returns; its setup thread outlives a failed
start; each change of the menu builds all of it anew.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgspec import Struct

from meshlight.desktop.tray.icon import icon
from meshlight.desktop.tray.menu_items import Item
from meshlight.desktop.tray.pystray.toolkit import (
    PystrayBackend,
    Toolkit,
    fix_toolkit,
    give_back_ctrl_c,
    release_setup,
)
from meshlight.desktop.tray.tooltip import fit
from meshlight.desktop.tray.tray_icon import TITLE, OnAction
from meshlight.domain.snapshot import Light

log = logging.getLogger(__name__)

TOOLTIP_UNITS: Final = 127
"""Windows keeps 128 UTF-16 units with the NUL at the end, and pystray raises an error beyond."""
_PIXELS: Final = 64
_SM_CXICON: Final = 11


class DesiredState(Struct, frozen=True, kw_only=True):
    """What is to be seen."""

    light: Light = "grey"
    text: str = ""
    items: tuple[Item, ...] = ()


class PystrayTray:
    """A `TrayIcon` by pystray; `toolkit` is what `load` returned for `way`."""

    def __init__(self, on_action: OnAction, way: PystrayBackend, toolkit: Toolkit) -> None:
        self.name = f"pystray ({way})"
        self._way = way
        self._toolkit = toolkit
        self._on_action = on_action
        self._changed = threading.Condition(threading.RLock())
        """Guards the wishes and `_is_stopped`; reentrant, as a signal's handler may call `stop` at any moment."""
        self._wishes = DesiredState()
        self._is_stopped = False
        self._has_failed = False
        self._started = threading.Event()
        self._ended = threading.Event()

    def set_icon(self, light: Light) -> None:
        """Show this state."""
        with self._changed:
            self._wish(DesiredState(light=light, text=self._wishes.text, items=self._wishes.items))

    def set_tooltip(self, text: str) -> None:
        """Say this under the pointer."""
        with self._changed:
            self._wish(DesiredState(light=self._wishes.light, text=text, items=self._wishes.items))

    def set_menu(self, items: tuple[Item, ...]) -> None:
        """Offer this menu."""
        with self._changed:
            self._wish(DesiredState(light=self._wishes.light, text=self._wishes.text, items=items))

    def stop(self) -> None:
        """Take the icon away."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._ended.set()

    def run(self, on_ready: Callable[[], None]) -> str:
        """Show the icon until `stop`; return why it was lost, if it was."""
        shown = self._wishes
        try:
            pen = self._new_icon(shown)
        except Exception as error:  # noqa: BLE001 -- pystray raises what its toolkits raise, of any class
            return f"The tray icon can't be shown: {error}"
        threading.Thread(target=self._follow_wishes, args=(pen, shown, on_ready), daemon=True).start()
        if self._way == "xorg":
            return self._run_aside(pen)
        return self._run_here(pen)

    def _run_here(self, pen: Any) -> str:
        ctrl_c = signal.getsignal(signal.SIGINT)

        def setup(_: Any) -> None:
            """Do next to nothing: pystray waits for the end of its setup when it stops."""
            if self._way in {"gtk", "appindicator"} and ctrl_c is not None:
                give_back_ctrl_c(ctrl_c)
            self._started.set()

        try:
            pen.run(setup)
        except Exception as error:  # noqa: BLE001 -- as above
            if self._is_stopped:
                return ""  # GTK's has a notification taken back, which fails where nobody shows any
            self._has_failed = True
            if not self._started.is_set():
                release_setup(pen)
            return f"The tray icon failed: {error}"
        return "" if self._is_stopped else "The desktop has taken the tray icon away."

    def _run_aside(self, pen: Any) -> str:
        """Leave X11's loop, which never returns, to a thread that dies with the process."""

        def turn() -> None:
            pen._thread = threading.current_thread()  # noqa: SLF001 -- pystray sets it after others may ask for it
            try:
                pen.run(lambda _: self._started.set())
            finally:
                self._ended.set()

        threading.Thread(target=turn, daemon=True).start()
        self._ended.wait()
        return "" if self._is_stopped else "The X display has taken the tray icon away."

    def _new_icon(self, wishes: DesiredState) -> Any:
        icon_class = self._toolkit.Icon
        if self._way == "darwin":
            from meshlight.desktop.tray.pystray.macos_icon import patch_mac_icon  # noqa: PLC0415 -- needs AppKit

            icon_class = patch_mac_icon(icon_class)
        elif self._way == "xorg":
            from meshlight.desktop.tray.pystray.x11_icon import patch_x11_icon  # noqa: PLC0415 -- needs Xlib

            icon_class = patch_x11_icon(icon_class)
        icon_class = fix_toolkit(icon_class)
        return icon_class(
            "meshlight", self._picture(wishes.light), _title(wishes.text), self._menu(wishes.items)
        )

    def _wish(self, wishes: DesiredState) -> None:
        """Note what is to be seen; must be called with the lock held."""
        self._wishes = wishes
        self._changed.notify_all()

    def _follow_wishes(self, pen: Any, shown: DesiredState, on_ready: Callable[[], None]) -> None:
        """Bring each wish to the screen, in a thread of its own: some toolkits let the caller wait."""
        self._started.wait()
        if self._has_failed:
            return
        self._do(lambda: setattr(pen, "visible", True))
        on_ready()
        while True:
            with self._changed:
                while not self._is_stopped and self._wishes == shown:
                    self._changed.wait()
                if self._is_stopped:
                    break
                before, shown = shown, self._wishes
            self._do(partial(self._show, pen, before, shown))
        self._do(pen.stop)

    def _do(self, task: Callable[[], None]) -> None:
        """Do something to the icon, in the thread that may; what a toolkit refuses is told in the log."""

        def carefully() -> None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 -- as above
                log.warning("The tray icon could not be changed: %s", error)

        if self._way == "darwin":
            from meshlight.desktop.tray.pystray.macos_icon import on_main_thread  # noqa: PLC0415 -- needs AppKit

            on_main_thread(carefully)
        else:
            carefully()

    def _show(self, pen: Any, old: DesiredState, new: DesiredState) -> None:
        if new.light != old.light:
            pen.icon = self._picture(new.light)
        if new.text != old.text:
            pen.title = _title(new.text)
        if new.items != old.items:
            pen.menu = self._menu(new.items)

    def _picture(self, light: Light) -> Any:
        return icon(light, _pixels(self._way))

    def _menu(self, items: tuple[Item, ...]) -> Any:
        return self._toolkit.Menu(*[self._line(item) for item in items])

    def _line(self, item: Item) -> Any:
        if item.is_separator:
            return self._toolkit.Menu.SEPARATOR

        def press(pen: Any, _line: Any) -> None:
            if item.checked is not None:
                pen.built = None  # the toolkit has turned the tick by itself: it is drawn anew as it is
            if item.action is not None:
                self._on_action(item.action)

        return self._toolkit.MenuItem(
            item.text.replace("&", "&&") if self._way == "win32" else item.text,
            self._menu(item.items) if item.items else press,
            checked=None if item.checked is None else lambda _: bool(item.checked),
            default=item.is_default,
            enabled=item.enabled,
        )


def _title(text: str) -> str:
    return fit(f"{TITLE}: {text}" if text else TITLE, TOOLTIP_UNITS)


def _pixels(way: PystrayBackend) -> int:
    """Return the size at which the platform takes the picture without scaling it."""
    if way == "darwin":
        from meshlight.desktop.tray.pystray.macos_icon import PIXELS  # noqa: PLC0415 -- macOS alone

        return PIXELS
    if way == "win32" and sys.platform == "win32":
        import ctypes  # noqa: PLC0415 -- Windows alone

        return int(ctypes.windll.user32.GetSystemMetrics(_SM_CXICON)) or 32
    return _PIXELS
