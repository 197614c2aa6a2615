"""A deadline that is moved often and rarely missed."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

SLACK_S: Final = 0.005
"""A timer that fires late by so little is not worth setting anew."""


class Deadline:
    """Calls `missed` once the deadline has passed.

    Moving the deadline later costs an assignment: when the one timer fires, it checks the deadline and is set anew.
    """

    __slots__ = ("_loop", "_missed", "_timer", "_timer_at", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, missed: Callable[[], None]) -> None:
        self._loop = loop
        self._missed = missed
        self._when = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def due_in(self, wait_s: float) -> None:
        """Set the deadline to `wait_s` seconds from now."""
        self._when = self._loop.time() + wait_s
        if self._timer is None:
            self._wait()
        elif self._timer_at > self._when + SLACK_S:
            self._timer.cancel()
            self._wait()

    def lift(self) -> None:
        """Have no deadline for now; the timer stays for the next one."""
        self._when = math.inf

    def close(self) -> None:
        """Have no deadline any more, and let go of the timer and of who waited for it."""
        self._when = math.inf
        self._missed = _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer_at = self._when
        self._timer = self._loop.call_at(self._when, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._when is math.inf:
            return
        if self._loop.time() < self._when - SLACK_S:
            self._wait()
        else:
            self._when = math.inf
            self._missed()


def _nobody() -> None:
    """Miss nothing: the deadline is closed."""
