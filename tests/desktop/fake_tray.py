"""A tray icon without a desktop: a test waits for what it shows, and clicks on its menu."""

import threading
from collections.abc import Callable

from meshlight.desktop.tray.interface import OnAction
from meshlight.desktop.tray.menu_items import Action, Item, Verb
from meshlight.domain.snapshot import Light

WAIT_S = 40.0


class FakeTray:
    """A `TrayIcon` that stores what it shows."""

    name = "fake"

    def __init__(self, on_action: OnAction) -> None:
        self._on_action = on_action
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self.light: Light = "grey"
        self.lights: list[Light] = []
        self.tooltip = ""
        self.items: tuple[Item, ...] = ()

    def run(self, on_ready: Callable[[], None]) -> str:
        on_ready()
        self._stopped.wait()
        return ""

    def set_icon(self, light: Light) -> None:
        with self._changed:
            if light != self.light:
                self.lights.append(light)
            self.light = light
            self._changed.notify_all()

    def set_tooltip(self, text: str) -> None:
        with self._changed:
            self.tooltip = text
            self._changed.notify_all()

    def set_menu(self, items: tuple[Item, ...]) -> None:
        with self._changed:
            self.items = items
            self._changed.notify_all()

    def stop(self) -> None:
        self._stopped.set()

    def until(self, condition: Callable[["FakeTray"], object]) -> None:
        """Wait until the condition holds for what is shown."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), WAIT_S), (
                self.light,
                self.tooltip,
                self.texts(),
            )

    def texts(self) -> list[str]:
        """The lines of the menu."""
        return [item.text for item in self.items if not item.is_separator]

    def says(self, beginning: str) -> bool:
        """Whether a line of the menu begins with this."""
        return any(text.startswith(beginning) for text in self.texts())

    def press(self, verb: Verb, target: str = "") -> None:
        """Click on the line with this action, which must be in the menu."""
        action = Action(verb, target)
        assert action in self._actions(self.items), action
        self._on_action(action)

    def _actions(self, items: tuple[Item, ...]) -> list[Action]:
        found = [item.action for item in items if item.action is not None]
        return found + [action for item in items for action in self._actions(item.items)]
