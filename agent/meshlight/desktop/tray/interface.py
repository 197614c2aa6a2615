"""The interface of a tray icon, which the D-Bus and the pystray implementation share."""

from collections.abc import Callable
from typing import Protocol

from meshlight.desktop.tray.menu_items import Action, Item
from meshlight.domain.snapshot import Light

TITLE = "Meshlight"

OnAction = Callable[[Action], None]
"""Called for each click, on any thread: it may only put the action into a queue."""


class TrayIcon(Protocol):
    """An icon with tooltip and menu.

    The setters and `stop` may be called from any thread, also before `run`; they return at once, and an
    unchanged value changes nothing on the screen.
    """

    @property
    def name(self) -> str:
        """The name of the implementation, for the log and for `meshlight doctor`."""
        ...

    def run(self, on_ready: Callable[[], None]) -> str:
        """Show the icon and block until `stop`; must be called once, on the main thread.

        `on_ready` is called once, on any thread, when the icon has been handed to the desktop.
        Returns "" after `stop`, and otherwise a sentence that says how the icon was lost.
        """
        ...

    def set_icon(self, light: Light) -> None:
        """Show this colour."""
        ...

    def set_tooltip(self, text: str) -> None:
        """Show this as the tooltip (one line, sanitized, of any length)."""
        ...

    def set_menu(self, items: tuple[Item, ...]) -> None:
        """Show this menu."""
        ...

    def stop(self) -> None:
        """Remove the icon and let `run` return."""
        ...
