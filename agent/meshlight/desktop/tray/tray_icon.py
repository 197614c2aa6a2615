"""What a tray can do, whichever way the desktop wants to be spoken to."""

from collections.abc import Callable
from typing import Protocol

from meshlight.desktop.tray.menu_items import Action, Item
from meshlight.domain.snapshot import Light

TITLE = "Meshlight"

OnAction = Callable[[Action], None]
"""Told of each click, on a thread of the face's choosing: it may only put the action into a queue."""


class TrayIcon(Protocol):
    """An icon with tooltip and menu.

    The setters and `stop` may be called from any thread, before `run` too; they return at once, and
    change nothing on the screen when they bring nothing new.
    """

    @property
    def name(self) -> str:
        """Which way of showing an icon this is, for the log and for `meshlight doctor`."""
        ...

    def run(self, on_ready: Callable[[], None]) -> str:
        """Show the icon and stay until `stop`; must be called on the main thread, once.

        `on_ready` is told once, on any thread, when the icon has been handed to the desktop.
        Returns nothing after `stop`, and otherwise a sentence that says how the icon was lost.
        """
        ...

    def set_icon(self, light: Light) -> None:
        """Show this state."""
        ...

    def set_tooltip(self, text: str) -> None:
        """Say this under the pointer (one line, clean, of any length)."""
        ...

    def set_menu(self, items: tuple[Item, ...]) -> None:
        """Offer this menu."""
        ...

    def stop(self) -> None:
        """Take the icon away and let `run` return."""
        ...
