"""How long a request waits for its first byte: long on a backend that lives, briefly on one that does not.

Ends a wait from outside, with the cause kept: the client left, the backend fell, time ran out.
"""

import asyncio
from typing import Literal, Protocol

from meshlight.domain.backend import Backend
from meshlight.domain.clock import Loop

Cause = Literal["left", "fell", "first-byte", "idle"]


class Cancellation:
    """Cancels the task that made it, once, and remembers why (the way `asyncio.timeout` does).

    `fire` must be called from the event loop while the task waits inside the guarded block, which is always so
    for callbacks; `settle` is called in that block's `except CancelledError`.
    """

    __slots__ = ("_has_left", "_task", "cause")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("An interrupt needs a task to cancel.")
        self._task = task
        self._has_left = False
        self.cause: Cause | None = None

    def fire(self, cause: Cause) -> None:
        """End the wait; only the first cause counts."""
        if self.cause is None:
            self.cause = cause
            self._task.cancel()

    def left(self) -> None:
        """The client left."""
        self._has_left = True
        self.fire("left")

    def settle(self) -> Cause | None:
        """Return the cause of a CancelledError that is ours, and take the cancellation back; None if it isn't."""
        if self.cause is None or self._task.uncancel() > 0:
            return None
        return self.cause

    def again(self) -> None:
        """Be ready for the next wait; it ends at once if the client left meanwhile."""
        self.cause = None
        if self._has_left:
            self.fire("left")


SUSPECT_S = 1.0
"""A request that has waited this long has its backend probed at once."""
AGAIN_S = 2.0
"""And then as often, so that a backend that hangs is found out within ten seconds wherever it is."""
GIVE_UP_S = 4.0
"""After this long a backend that was down already has failed one more probe, made for this very request."""
_SLACK_S = 0.005
"""A timer may fire early by so much."""


class Watcher(Protocol):
    """Who knows how the backend is."""

    def suspect(self, backend: Backend) -> None:
        """Have it probed: a request waits on it."""

    def is_lost(self, backend: Backend) -> bool:
        """Whether its probes fail now."""


class FirstByteTimer:
    """The timer of one wait; `end` it whatever comes.

    It fires `first-byte` at the backend's own limit, and `fell` where the request may leave (`can_leave`) and the
    backend was down at the start and still is. A backend that falls meanwhile is the registry's to tell.
    """

    __slots__ = ("_backend", "_can_leave", "_interrupt", "_loop", "_since", "_timer", "_watcher")

    def __init__(
        self, backend: Backend, interrupt: Cancellation, watcher: Watcher, loop: Loop, *, can_leave: bool
    ) -> None:
        self._backend = backend
        self._interrupt = interrupt
        self._watcher = watcher
        self._can_leave = can_leave
        self._loop = loop
        self._since = loop.time()
        self._timer = loop.call_later(min(SUSPECT_S, backend.first_byte_s), self._look)

    def end(self) -> None:
        """The wait is over."""
        self._timer.cancel()

    def _look(self) -> None:
        waited_s = self._loop.time() - self._since
        limit_s = self._backend.first_byte_s
        if waited_s + _SLACK_S >= limit_s:
            self._interrupt.fire("first-byte")
        elif self._can_leave and waited_s >= GIVE_UP_S and self._watcher.is_lost(self._backend):
            self._interrupt.fire("fell")
        else:
            self._watcher.suspect(self._backend)
            self._timer = self._loop.call_later(min(AGAIN_S, limit_s - waited_s), self._look)
