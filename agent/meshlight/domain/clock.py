"""Time as a parameter: whatever waits or measures gets these, so that a test can pass its own clock.

The event loop gives all of them: `loop.time`, `loop.call_later`, and itself as a `Loop`.
"""

from collections.abc import Callable
from typing import Protocol

Clock = Callable[[], float]
"""Returns seconds: of a monotonic clock where it is called `clock`, Unix time where it is called `wall`."""


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> object:
        """Drop the call, if it has not been made yet."""


class CallLater(Protocol):
    """`loop.call_later`, or a test's."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` in `delay` seconds."""


class Loop(Protocol):
    """The event loop, as far as it keeps time."""

    def time(self) -> float:
        """Return the seconds of a monotonic clock."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` in `delay` seconds."""
