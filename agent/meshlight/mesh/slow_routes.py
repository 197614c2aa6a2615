"""The routes that are slower than they usually are."""

import time
from collections.abc import Sequence

from msgspec import Struct

from meshlight.domain.text import sanitize_line


class SlowRoute(Struct, frozen=True):
    """A route that takes more than twice its usual time."""

    backend: str
    place: str
    model: str
    since: float
    """Monotonic seconds."""


def slow_lines(slow: Sequence[SlowRoute], now: float, wall_now: float) -> dict[str, str]:
    """Return a sentence for each backend with a slow route: the one that has been slow for longest."""
    lines: dict[str, str] = {}
    for route in sorted(slow, key=lambda route: route.since):
        began = time.strftime("%H:%M", time.localtime(wall_now - (now - route.since)))
        name = sanitize_line(route.model)
        lines.setdefault(route.backend, f"{name} has been at less than half its usual speed since {began}.")
    return lines
