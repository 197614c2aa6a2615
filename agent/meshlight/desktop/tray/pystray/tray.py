"""A tray icon by pystray: macOS, Windows, and Linux desktops that D-Bus alone does not reach.

It works around pystray's faults: importing it touches the display; its GTK backends take over Ctrl-C and fail on
exit without a notification daemon; its X11 backend never returns; its setup thread outlives a failed start; each
change of the menu rebuilds all of it.
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
from meshlight.desktop.tray.interface import TITLE, OnAction
from meshlight.desktop.tray.menu_items import Item
from meshlight.desktop.tray.pystray.toolkit import (
    PystrayBackend,
    Toolkit,
    fix_toolkit,
    release_setup,
    restore_ctrl_c,
)
from meshlight.desktop.tray.tooltip import fit
from meshlight.domain.snapshot import Light

log = logging.getLogger(__name__)

TOOLTIP_UNITS: Final = 127
"""Windows allows 128 UTF-16 code units with the final NUL, and pystray raises an error for more."""
_PIXELS: Final = 64
_SM_CXICON: Final = 11


class DesiredState(Struct, frozen=True, kw_only=True):
    """What the icon should show."""

    light: Light = "grey"
    text: str = ""
    items: tuple[Item, ...] = ()


class PystrayTray:
    """A `TrayIcon` by pystray; `toolkit` is what `load` returned for `backend`."""

    def __init__(self, on_action: OnAction, backend: PystrayBackend, toolkit: Toolkit) -> None:
        self.name = f"pystray ({backend})"
        self._backend = backend
        self._toolkit = toolkit
        self._on_action = on_action
        self._changed = threading.Condition(threading.RLock())
        """Guards `_desired` and `_is_stopped`; reentrant, as a signal handler may call `stop` at any moment."""
        self._desired = DesiredState()
        self._is_stopped = False
        self._has_failed = False
        self._started = threading.Event()
        self._ended = threading.Event()

    def set_icon(self, light: Light) -> None:
        """Show this colour."""
        with self._changed:
            self._set_desired(DesiredState(light=light, text=self._desired.text, items=self._desired.items))

    def set_tooltip(self, text: str) -> None:
        """Show this as the tooltip."""
        with self._changed:
            self._set_desired(DesiredState(light=self._desired.light, text=text, items=self._desired.items))

    def set_menu(self, items: tuple[Item, ...]) -> None:
        """Show this menu."""
        with self._changed:
            self._set_desired(DesiredState(light=self._desired.light, text=self._desired.text, items=items))

    def stop(self) -> None:
        """Remove the icon."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._ended.set()

    def run(self, on_ready: Callable[[], None]) -> str:
        """Show the icon until `stop`; return why it was lost, if it was."""
        shown = self._desired
        try:
            native_icon = self._new_icon(shown)
        except Exception as error:  # noqa: BLE001 -- pystray raises what its toolkits raise, of any class
            return f"The tray icon can't be shown: {error}"
        threading.Thread(target=self._apply_changes, args=(native_icon, shown, on_ready), daemon=True).start()
        if self._backend == "xorg":
            return self._run_in_thread(native_icon)
        return self._run_on_main_thread(native_icon)

    def _run_on_main_thread(self, native_icon: Any) -> str:
        ctrl_c = signal.getsignal(signal.SIGINT)

        def setup(_: Any) -> None:
            """Return quickly: pystray waits for the end of its setup when it stops."""
            if self._backend in {"gtk", "appindicator"} and ctrl_c is not None:
                restore_ctrl_c(ctrl_c)
            self._started.set()

        try:
            native_icon.run(setup)
        except Exception as error:  # noqa: BLE001 -- as above
            if self._is_stopped:
                return ""  # GTK's withdraws a notification, which fails without a notification daemon
            self._has_failed = True
            if not self._started.is_set():
                release_setup(native_icon)
            return f"The tray icon failed: {error}"
        return "" if self._is_stopped else "The desktop has taken the tray icon away."

    def _run_in_thread(self, native_icon: Any) -> str:
        """Run X11's loop, which never returns, in a thread that ends with the process."""

        def run_loop() -> None:
            native_icon._thread = threading.current_thread()  # noqa: SLF001 -- pystray sets it too late
            try:
                native_icon.run(lambda _: self._started.set())
            finally:
                self._ended.set()

        threading.Thread(target=run_loop, daemon=True).start()
        self._ended.wait()
        return "" if self._is_stopped else "The X display has taken the tray icon away."

    def _new_icon(self, desired: DesiredState) -> Any:
        icon_class = self._toolkit.Icon
        if self._backend == "darwin":
            from meshlight.desktop.tray.pystray.macos_icon import patch_mac_icon  # noqa: PLC0415 -- needs AppKit

            icon_class = patch_mac_icon(icon_class)
        elif self._backend == "xorg":
            from meshlight.desktop.tray.pystray.x11_icon import patch_x11_icon  # noqa: PLC0415 -- needs Xlib

            icon_class = patch_x11_icon(icon_class)
        icon_class = fix_toolkit(icon_class)
        return icon_class(
            "meshlight", self._picture(desired.light), _title(desired.text), self._menu(desired.items)
        )

    def _set_desired(self, desired: DesiredState) -> None:
        """Store what the icon should show; must be called with the lock held."""
        self._desired = desired
        self._changed.notify_all()

    def _apply_changes(self, native_icon: Any, shown: DesiredState, on_ready: Callable[[], None]) -> None:
        """Bring each change to the screen, in a thread of its own: some toolkits block the caller."""
        self._started.wait()
        if self._has_failed:
            return
        self._do(lambda: setattr(native_icon, "visible", True))
        on_ready()
        while True:
            with self._changed:
                while not self._is_stopped and self._desired == shown:
                    self._changed.wait()
                if self._is_stopped:
                    break
                before, shown = shown, self._desired
            self._do(partial(self._show, native_icon, before, shown))
        self._do(native_icon.stop)

    def _do(self, task: Callable[[], None]) -> None:
        """Change the icon in the thread that is allowed to; errors of the toolkit go to the log."""

        def guarded() -> None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 -- as above
                log.warning("The tray icon could not be changed: %s", error)

        if self._backend == "darwin":
            from meshlight.desktop.tray.pystray.macos_icon import on_main_thread  # noqa: PLC0415 -- needs AppKit

            on_main_thread(guarded)
        else:
            guarded()

    def _show(self, native_icon: Any, old: DesiredState, new: DesiredState) -> None:
        if new.light != old.light:
            native_icon.icon = self._picture(new.light)
        if new.text != old.text:
            native_icon.title = _title(new.text)
        if new.items != old.items:
            native_icon.menu = self._menu(new.items)

    def _picture(self, light: Light) -> Any:
        return icon(light, _pixels(self._backend))

    def _menu(self, items: tuple[Item, ...]) -> Any:
        return self._toolkit.Menu(*[self._line(item) for item in items])

    def _line(self, item: Item) -> Any:
        if item.is_separator:
            return self._toolkit.Menu.SEPARATOR

        def on_click(native_icon: Any, _line: Any) -> None:
            if item.checked is not None:
                native_icon.built = (
                    None  # the toolkit has toggled the checkmark itself: redraw the real state
                )
            if item.action is not None:
                self._on_action(item.action)

        return self._toolkit.MenuItem(
            item.text.replace("&", "&&") if self._backend == "win32" else item.text,
            self._menu(item.items) if item.items else on_click,
            checked=None if item.checked is None else lambda _: bool(item.checked),
            default=item.is_default,
            enabled=item.enabled,
        )


def _title(text: str) -> str:
    return fit(f"{TITLE}: {text}" if text else TITLE, TOOLTIP_UNITS)


def _pixels(backend: PystrayBackend) -> int:
    """Return the image size that the platform shows without scaling."""
    if backend == "darwin":
        from meshlight.desktop.tray.pystray.macos_icon import PIXELS  # noqa: PLC0415 -- macOS alone

        return PIXELS
    if backend == "win32" and sys.platform == "win32":
        import ctypes  # noqa: PLC0415 -- Windows alone

        return int(ctypes.windll.user32.GetSystemMetrics(_SM_CXICON)) or 32
    return _PIXELS
