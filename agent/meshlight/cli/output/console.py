"""The terminal as a sheet to write on: its width, its letters, the signs that stand for states."""

import sys
from typing import Self

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from meshlight.domain.health import State
from meshlight.domain.snapshot import Light
from meshlight.domain.view import BackendView


class Sign(Struct, frozen=True):
    """A state in colour, shape and word; `plain` is the shape for terminals that know only ASCII."""

    shape: str
    plain: str
    colour: str
    word: str


STATES: dict[State, Sign] = {
    "healthy": Sign("●", "*", "green", "healthy"),
    "warming": Sign("◐", "~", "yellow", "warming"),
    "unhealthy": Sign("✖", "x", "red", "unhealthy"),
    "unknown": Sign("○", "o", "bright_black", "unknown"),
}
OFF = Sign("-", "-", "bright_black", "off")
LIGHTS: dict[Light, Sign] = {
    "green": Sign("●", "*", "green", "Green"),
    "amber": Sign("▲", "!", "yellow", "Amber"),
    "red": Sign("✖", "x", "red", "Red"),
    "grey": Sign("○", "o", "bright_black", "Grey"),
}
GOOD = Sign("✓", "+", "green", "fine")
WARN = Sign("!", "!", "yellow", "look")
BAD = Sign("✗", "x", "red", "wrong")


class Paper(Struct, frozen=True):
    """What a screen must know of the terminal it is written on."""

    width: int
    ascii_only: bool = False

    @classmethod
    def of(cls, console: Console) -> Self:
        """Look at a console."""
        return cls(width=console.width, ascii_only=not console.encoding.lower().startswith("utf"))

    def shape(self, sign: Sign) -> str:
        """Return a state's shape as this terminal can show it."""
        return sign.plain if self.ascii_only else sign.shape

    def sign(self, sign: Sign) -> Text:
        """Show a state's shape alone, in its colour."""
        return Text.assemble((self.shape(sign), sign.colour))

    def state(self, sign: Sign) -> Text:
        """Show a state's shape and word."""
        return Text.assemble((f"{self.shape(sign)} {sign.word}", sign.colour))


def sign_of(backend: BackendView) -> Sign:
    """Return the sign of a backend: its health, or that it is switched off."""
    return STATES[backend.health.state] if backend.enabled else OFF


def new_console(*, stderr: bool = False) -> Console:
    """Return a console that prints what it is given: a name in brackets is not taken for a colour."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, markup=False, emoji=False, highlight=False)
