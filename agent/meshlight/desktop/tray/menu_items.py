"""The parts of a menu: items, and the action that a click on one requests."""

from typing import Literal

from msgspec import Struct

from meshlight.domain.health import State

Verb = Literal[
    "open",
    "refresh",
    "check",
    "enable",
    "disable",
    "copy-address",
    "copy-key",
    "copy-environment",
    "pause",
    "resume",
    "show-here",
    "hide-here",
    "load",
    "unload",
    "keep",
    "release",
    "free-memory",
    "pull",
    "pause-download",
    "resume-download",
    "cancel-download",
    "login-on",
    "login-off",
    "notify-on",
    "notify-off",
    "let-in",
    "turn-away",
    "snooze",
    "wake",
    "log",
    "restart",
    "move",
    "quit",
]
LINE_CELLS = 72
STATES: dict[State, str] = {"healthy": "●", "warming": "◐", "unhealthy": "✖", "unknown": "○"}


class Action(Struct, frozen=True):
    """What a click requests, with the id of what it is about: a backend, a model or a download."""

    verb: Verb
    target: str = ""


OPEN = Action("open")


class Item(Struct, frozen=True, kw_only=True):
    """One line of a menu; `key` identifies it among its siblings when the menu changes."""

    key: str
    text: str = ""
    """Plain, sanitized text; each tray escapes what its platform would read as a keyboard mnemonic."""
    action: Action | None = None
    """What a click requests; a line with neither action nor items is for reading only."""
    checked: bool | None = None
    is_default: bool = False
    is_separator: bool = False
    items: tuple["Item", ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether it can be clicked or opened."""
        return self.action is not None or bool(self.items)


def line(key: str, text: str, action: Action | None = None) -> Item:
    """Return a line of text."""
    return Item(key=key, text=text, action=action)


def separator(number: int) -> Item:
    """Return a separator with a number that is unique in its menu."""
    return Item(key=f"separator-{number}", is_separator=True)
