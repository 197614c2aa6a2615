"""The lines of a menu, and what a click on one asks for."""

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
    "login-on",
    "login-off",
    "notify-on",
    "notify-off",
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
    """What a click asks for, and of which backend (its id) where it is about one."""

    verb: Verb
    backend: str = ""


OPEN = Action("open")


class Item(Struct, frozen=True, kw_only=True):
    """One line of a menu; `key` names it among its siblings for as long as it is the same thing."""

    key: str
    text: str = ""
    """Plain text, already clean; faces escape in it what their platform would read as a mnemonic."""
    action: Action | None = None
    """What a click asks for; a line without action and without items is only there to be read."""
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


def separator(place: int) -> Item:
    """Return the rule at a place that no other rule of its menu has."""
    return Item(key=f"separator-{place}", is_separator=True)
