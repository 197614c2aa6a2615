"""What the doctor finds: a sentence that is fine, worth a look, or wrong, with the way to mend it."""

from typing import Literal

from msgspec import Struct

Level = Literal["ok", "look", "wrong"]


class Finding(Struct, frozen=True):
    """One thing looked at."""

    level: Level
    said: str
    fix: str = ""


def fine(said: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding("ok", said)


def look(said: str, fix: str) -> Finding:
    """Return a finding that may trouble somebody."""
    return Finding("look", said, fix)


def wrong(said: str, fix: str) -> Finding:
    """Return a finding that must be mended."""
    return Finding("wrong", said, fix)
