"""The two clocks that Ollama's answers need: they say when they were made, and how long it took."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct


class Clock(Struct, frozen=True):
    """Where the time comes from."""

    wall: Callable[[], float] = time.time
    """Unix seconds."""
    steady: Callable[[], float] = time.monotonic
    """Seconds that never go back."""


SYSTEM = Clock()
"""This machine's clocks."""


def moment(unix_s: float) -> str:
    """Return a moment as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    """Return a duration in Ollama's unit; never less than nothing."""
    return max(0, int(seconds * 1_000_000_000))
