"""Loads pystray for one of its backends, and works around its faults: importing it already touches the display."""

import importlib
import os
import signal
from typing import Any, Literal

from msgspec import Struct

PystrayBackend = Literal["appindicator", "gtk", "xorg", "darwin", "win32"]
"""pystray's backends, by its own names."""


class Toolkit(Struct, frozen=True):
    """pystray's classes, under its own names."""

    Icon: Any
    Menu: Any
    MenuItem: Any


def load(backend: PystrayBackend) -> Toolkit:
    """Import pystray with this backend. Raises any error that its imports raise: of the display, GTK or AppKit."""
    before = os.environ.get("PYSTRAY_BACKEND")
    os.environ["PYSTRAY_BACKEND"] = backend
    try:
        pystray = importlib.import_module("pystray")
        # The first import of pystray may have been for another backend, so its module is loaded by name.
        module = importlib.import_module(f"pystray._{backend}")
        return Toolkit(module.Icon, pystray.Menu, pystray.MenuItem)
    finally:
        if before is None:
            del os.environ["PYSTRAY_BACKEND"]
        else:
            os.environ["PYSTRAY_BACKEND"] = before


def fix_toolkit(icon_class: type[Any]) -> type[Any]:
    """Return pystray's icon class changed so that it doesn't rebuild the whole menu after every click."""

    class Icon(icon_class):  # type: ignore[misc]  # pystray has no types
        """An icon that rebuilds its menu only when it was replaced."""

        built: Any = None

        def update_menu(self) -> None:
            if self.menu is not self.built:
                self.built = self.menu
                super().update_menu()

    return Icon


def restore_ctrl_c(ctrl_c: Any) -> None:
    """Restore our Ctrl-C handler from within GTK's loop: only the main thread may, and it runs that loop."""
    from gi.repository import GLib  # noqa: PLC0415 -- exists only beside GTK

    def restore() -> bool:
        signal.signal(signal.SIGINT, ctrl_c)
        return False  # once

    GLib.idle_add(restore)


def release_setup(native_icon: Any) -> None:
    """Let pystray's setup thread end: it waits for a start that failed, and would keep the process alive."""
    queue = getattr(native_icon, "_Icon__queue", None)
    if queue is not None:
        queue.put(True)
