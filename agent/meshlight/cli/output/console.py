"""The terminal as a sheet to write on: its width, its letters, the signs that stand for states."""

import sys
from typing import Self

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from meshlight.domain.api_types import BackendView
from meshlight.domain.health import State
from meshlight.domain.snapshot import Light


class StatusGlyph(Struct, frozen=True):
    """A state in colour, shape and word; `plain` is the shape for terminals that know only ASCII."""

    shape: str
    plain: str
    colour: str
    word: str


STATES: dict[State, StatusGlyph] = {
    "healthy": StatusGlyph("●", "*", "green", "healthy"),
    "warming": StatusGlyph("◐", "~", "yellow", "warming"),
    "unhealthy": StatusGlyph("✖", "x", "red", "unhealthy"),
    "unknown": StatusGlyph("○", "o", "bright_black", "unknown"),
}
OFF = StatusGlyph("-", "-", "bright_black", "off")
LIGHTS: dict[Light, StatusGlyph] = {
    "green": StatusGlyph("●", "*", "green", "Green"),
    "amber": StatusGlyph("▲", "!", "yellow", "Amber"),
    "red": StatusGlyph("✖", "x", "red", "Red"),
    "grey": StatusGlyph("○", "o", "bright_black", "Grey"),
}
GOOD = StatusGlyph("✓", "+", "green", "fine")
WARN = StatusGlyph("!", "!", "yellow", "look")
BAD = StatusGlyph("✗", "x", "red", "wrong")


class TerminalStyle(Struct, frozen=True):
    """What a screen must know of the terminal it is written on."""

    width: int
    ascii_only: bool = False

    @classmethod
    def of(cls, console: Console) -> Self:
        """Look at a console."""
        return cls(width=console.width, ascii_only=not console.encoding.lower().startswith("utf"))

    def shape(self, sign: StatusGlyph) -> str:
        """Return a state's shape as this terminal can show it."""
        return sign.plain if self.ascii_only else sign.shape

    def sign(self, sign: StatusGlyph) -> Text:
        """Show a state's shape alone, in its colour."""
        return Text.assemble((self.shape(sign), sign.colour))

    def state(self, sign: StatusGlyph) -> Text:
        """Show a state's shape and word."""
        return Text.assemble((f"{self.shape(sign)} {sign.word}", sign.colour))


def glyph_of(backend: BackendView) -> StatusGlyph:
    """Return the sign of a backend: its health, or that it is switched off."""
    return STATES[backend.health.state] if backend.enabled else OFF


def new_console(*, stderr: bool = False) -> Console:
    """Return a console that prints what it is given: a name in brackets is not taken for a colour."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, markup=False, emoji=False, highlight=False)
