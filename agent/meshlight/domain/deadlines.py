"""Deadlines that are moved often and rarely missed: there are many of them, and they share one timer."""

import math
from collections.abc import Callable
from typing import Final

from meshlight.domain.clock import Loop, Timer

SLACK_S: Final = 0.005
"""A timer that fires late by so little is not worth setting anew."""
GRAIN_S: Final = 0.05
"""At most so often are they looked at, but for one that comes before all others."""


class Deadlines:
    """Looks at its deadlines when the next of them may be over, and calls those that have been missed."""

    __slots__ = ("_set", "_timer", "at")

    def __init__(self) -> None:
        self._set: dict[Deadline, None] = {}
        """Those that were set, though some of them may have been lifted since."""
        self.at = math.inf
        """When it looks at them next, by its timer."""
        self._timer: Timer | None = None

    def add(self, deadline: "Deadline", loop: Loop) -> None:
        """Look at a deadline when it is due, or before."""
        self._set[deadline] = None
        if deadline.when + SLACK_S < self.at:
            if self._timer is not None:
                self._timer.cancel()
            self._look_at(deadline.when, loop)

    def discard(self, deadline: "Deadline") -> None:
        """Look at it no more."""
        self._set.pop(deadline, None)

    def _look_at(self, when: float, loop: Loop) -> None:
        self.at = when
        self._timer = loop.call_later(when - loop.time(), lambda: self._look(loop))

    def _look(self, loop: Loop) -> None:
        now, following = loop.time(), math.inf
        over: list[Deadline] = []
        for deadline in self._set:
            if deadline.when <= now + SLACK_S or deadline.when == math.inf:
                over.append(deadline)
            else:
                following = min(following, deadline.when)
        self.at, self._timer = math.inf, None
        if following < math.inf:
            self._look_at(max(following, now + GRAIN_S), loop)
        for deadline in over:
            if deadline.leave():
                loop.call_later(0.0, deadline.miss)  # on its own, so that an error in one ends no other


class Deadline:
    """Calls `missed` once the deadline has passed.

    Moving it later costs an assignment. `loop` is what has the time.
    """

    __slots__ = ("_deadlines", "_is_added", "_loop", "_missed", "when")

    def __init__(self, deadlines: Deadlines, loop: Loop, missed: Callable[[], None]) -> None:
        self.when = math.inf
        """In seconds of the loop; infinite while there is none, negative while `missed` is about to be called."""
        self._deadlines = deadlines
        self._is_added = False
        self._loop = loop
        self._missed = missed

    def due_in(self, wait_s: float) -> None:
        """Set the deadline to `wait_s` seconds from now."""
        self.when = when = self._loop.time() + wait_s
        if not self._is_added or when + SLACK_S < self._deadlines.at:
            self._is_added = True
            self._deadlines.add(self, self._loop)

    def lift(self) -> None:
        """Have no deadline for now."""
        self.when = math.inf

    def close(self) -> None:
        """Have no deadline any more, and let go of who waited for it."""
        self.when = math.inf
        self._missed = _nobody
        self._is_added = False
        self._deadlines.discard(self)

    # Called by what looks at them.

    def leave(self) -> bool:
        """Be looked at no more, until it is set again; whether it was missed."""
        was_set = self.when < math.inf
        self.when = -math.inf if was_set else math.inf
        self._is_added = False
        self._deadlines.discard(self)
        return was_set

    def miss(self) -> None:
        """Say that it was missed, unless it has been set anew or lifted since."""
        if self.when == -math.inf:
            self.when = math.inf
            self._missed()


def _nobody() -> None:
    """Miss nothing: the deadline is closed."""
