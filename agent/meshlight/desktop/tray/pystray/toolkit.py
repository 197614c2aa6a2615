"""pystray as it is loaded and mended: importing it touches the display, and its classes have traps."""

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


def load(way: PystrayBackend) -> Toolkit:
    """Import pystray with this backend. Raises whatever its imports do: of the display, of GTK, of AppKit."""
    before = os.environ.get("PYSTRAY_BACKEND")
    os.environ["PYSTRAY_BACKEND"] = way
    try:
        pystray = importlib.import_module("pystray")
        backend = importlib.import_module(f"pystray._{way}")  # the first import may have been for another way
        return Toolkit(backend.Icon, pystray.Menu, pystray.MenuItem)
    finally:
        if before is None:
            del os.environ["PYSTRAY_BACKEND"]
        else:
            os.environ["PYSTRAY_BACKEND"] = before


def fix_toolkit(icon_class: type[Any]) -> type[Any]:
    """Return pystray's icon class without its building the whole menu anew after every click."""

    class Icon(icon_class):  # type: ignore[misc]  # pystray has no types
        """An icon whose menu is built when it is another one."""

        built: Any = None

        def update_menu(self) -> None:
            if self.menu is not self.built:
                self.built = self.menu
                super().update_menu()

    return Icon


def give_back_ctrl_c(ctrl_c: Any) -> None:
    """Have GTK's loop put our handler of Ctrl-C back: only the main thread may, and that is in the loop."""
    from gi.repository import GLib  # noqa: PLC0415 -- exists only beside GTK

    def put_back() -> bool:
        signal.signal(signal.SIGINT, ctrl_c)
        return False  # once

    GLib.idle_add(put_back)


def release_setup(pen: Any) -> None:
    """Let pystray's setup thread end: it waits for a start that has failed, and would keep the process alive."""
    queue = getattr(pen, "_Icon__queue", None)
    if queue is not None:
        queue.put(True)
