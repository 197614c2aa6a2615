"""The style of the terminal: its width, whether it shows only ASCII, and the glyphs for states."""

import sys
from typing import Self

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from meshlight.domain.api_types import BackendView
from meshlight.domain.health import State
from meshlight.domain.snapshot import Light


class StatusGlyph(Struct, frozen=True):
    """A state as colour, shape and word; `plain` is the shape for terminals that show only ASCII."""

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
GOOD = StatusGlyph("✓", "+", "green", "ok")
WARN = StatusGlyph("!", "!", "yellow", "warning")
BAD = StatusGlyph("✗", "x", "red", "problem")


class TerminalStyle(Struct, frozen=True):
    """The properties of a terminal that reports depend on; `width` is in cells."""

    width: int
    ascii_only: bool = False

    @classmethod
    def of(cls, console: Console) -> Self:
        """Return the style of a console."""
        return cls(width=console.width, ascii_only=not console.encoding.lower().startswith("utf"))

    def shape(self, glyph: StatusGlyph) -> str:
        """Return a state's shape as this terminal can show it."""
        return glyph.plain if self.ascii_only else glyph.shape

    def coloured_shape(self, glyph: StatusGlyph) -> Text:
        """Return a state's shape alone, in its colour."""
        return Text.assemble((self.shape(glyph), glyph.colour))

    def state(self, glyph: StatusGlyph) -> Text:
        """Return a state's shape and word, in its colour."""
        return Text.assemble((f"{self.shape(glyph)} {glyph.word}", glyph.colour))


def glyph_of(backend: BackendView) -> StatusGlyph:
    """Return the glyph of a backend: its health, or "off" if it is disabled."""
    return STATES[backend.health.state] if backend.enabled else OFF


def new_console(*, stderr: bool = False) -> Console:
    """Return a console without markup, so that a name in brackets is not read as a colour."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, markup=False, emoji=False, highlight=False)
