"""How long a request waits for its first byte, and what ends the wait: the client left, the backend fell, time is up.

A backend that still answers its probes is waited for as long as its own limit says; one that does not is left soon.
"""

import asyncio
from typing import Final, Literal, Protocol

from meshlight.domain.backend import Backend
from meshlight.domain.clock import Loop, Timer

Cause = Literal["left", "fell", "first-byte", "idle"]

PROBE_AFTER_S: Final = 1.0
"""A request that has waited this long has its backend probed at once."""
PROBE_AGAIN_S: Final = 2.0
"""And then again in this interval, so that a hanging backend is found within ten seconds wherever it is."""
GIVE_UP_S: Final = 4.0
"""After this long, a backend that was down from the start has failed one more probe, made for this request."""
_SLACK_S: Final = 0.005
"""A timer may fire early by this much."""


class Cancellation:
    """Cancels the task that made it, once, and remembers the cause (as `asyncio.timeout` does).

    `fire` must be called from the event loop while the task waits inside the guarded block, which is always so
    for callbacks; `settle` is called in that block's `except CancelledError`.
    """

    __slots__ = ("_has_left", "_task", "cause")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A cancellation needs a task to cancel.")
        self._task = task
        self._has_left = False
        self.cause: Cause | None = None

    def fire(self, cause: Cause) -> None:
        """End the wait; only the first cause counts."""
        if self.cause is None:
            self.cause = cause
            self._task.cancel()

    def client_left(self) -> None:
        """End the wait because the client left."""
        self._has_left = True
        self.fire("left")

    def settle(self) -> Cause | None:
        """Return the cause of a CancelledError that is ours, and take the cancellation back; None if it isn't."""
        if self.cause is None or self._task.uncancel() > 0:
            return None
        return self.cause

    def rearm(self) -> None:
        """Be ready for the next wait; it ends at once if the client left meanwhile."""
        self.cause = None
        if self._has_left:
            self.fire("left")


class Waiting(Protocol):
    """A request that waits for its first byte."""

    def fire(self, cause: Cause) -> None:
        """End the wait."""


class Checked(Protocol):
    """A wait that is looked at when it has taken a second."""

    @property
    def leaves(self) -> tuple[str, str] | None:
        """The backend and place where it waits in the lane, if it may leave when that falls."""

    def check(self) -> None:
        """Look whether the wait is in vain."""

    def fire(self, cause: Cause) -> None:
        """End the wait."""


class HealthWatcher(Protocol):
    """What a waiting request needs to know of its backend's health."""

    def request_probe(self, backend: Backend) -> None:
        """Have the backend probed: a request waits for it."""

    def is_lost(self, backend: Backend) -> bool:
        """Whether the backend's probes fail now."""


class FirstByteTimers:
    """The waits for a first byte that are in their first second: most end within it, so they share one timer."""

    __slots__ = ("_is_set", "loop", "waits")

    def __init__(self, loop: Loop) -> None:
        self.waits: dict[Checked, float] = {}
        """Each with when it began, oldest first."""
        self.loop = loop
        self._is_set = False

    def add(self, wait: Checked, now: float) -> None:
        """Check a wait after a second, if it is still there."""
        self.waits[wait] = now
        if not self._is_set:
            self._is_set = True
            self.loop.call_later(PROBE_AFTER_S, self._check)

    def discard(self, wait: Checked) -> None:
        """Check a wait no more, if it is still there."""
        if wait in self.waits:
            del self.waits[wait]

    def _check(self) -> None:
        waits, now = self.waits, self.loop.time()
        self._is_set = False
        late: list[Checked] = []
        # One look over all: taking the first of a dict again and again passes by all that were taken before.
        for wait, since in waits.items():
            if now - since + _SLACK_S < PROBE_AFTER_S:
                self._is_set = True
                self.loop.call_later(since + PROBE_AFTER_S - now, self._check)
                break
            late.append(wait)
        for wait in late:
            if waits.pop(wait, None) is not None:
                wait.check()

    def fell(self, where: tuple[str, str]) -> None:
        """End the waits of the lane at a backend and place."""
        for wait in [wait for wait in self.waits if wait.leaves == where]:
            wait.fire("fell")


class FirstByteTimer:
    """The timer of one wait for a first byte; `end` it in any case.

    It fires `first-byte` at the backend's own limit, and `fell` if the request may leave (`may_leave`) and the
    backend was down at the start and still is. A backend that goes down meanwhile is noticed by the relay, which
    listens to the registry and knows the requests that may leave by `waiting`, where this one is until the end.
    `since` is when the wait began, in seconds of the loop, if that was not now.
    """

    __slots__ = (
        "_backend",
        "_cancellation",
        "_may_leave",
        "_since",
        "_timer",
        "_timers",
        "_waiting",
        "_watcher",
    )

    def __init__(
        self,
        backend: Backend,
        cancellation: Cancellation,
        watcher: HealthWatcher,
        timers: FirstByteTimers,
        *,
        may_leave: bool,
        waiting: set[Waiting],
        since: float | None = None,
    ) -> None:
        self._backend = backend
        self._cancellation = cancellation
        self._watcher = watcher
        self._may_leave = may_leave
        self._timers = timers
        now = timers.loop.time()
        self._since = now if since is None else since
        self._timer: Timer | None = None
        if since is None and backend.first_byte_s >= PROBE_AFTER_S:
            timers.add(self, now)
        else:
            first_s = min(PROBE_AFTER_S, backend.first_byte_s)
            self._timer = timers.loop.call_later(max(self._since + first_s - now, 0.0), self.check)
        self._waiting = waiting
        if may_leave:
            waiting.add(cancellation)

    @property
    def leaves(self) -> None:
        """Nothing: those that may leave are in `waiting`."""

    def fire(self, cause: Cause) -> None:
        """End the wait."""
        self._cancellation.fire(cause)

    def end(self) -> None:
        """Stop: the wait is over."""
        if self._timers.waits.pop(self, None) is None and self._timer is not None:
            self._timer.cancel()
        self._waiting.discard(self._cancellation)

    def check(self) -> None:
        """Look whether the wait is in vain."""
        waited_s = self._timers.loop.time() - self._since
        limit_s = self._backend.first_byte_s
        if waited_s + _SLACK_S >= limit_s:
            self._cancellation.fire("first-byte")
        elif self._may_leave and waited_s >= GIVE_UP_S and self._watcher.is_lost(self._backend):
            self._cancellation.fire("fell")
        else:
            self._watcher.request_probe(self._backend)
            self._timer = self._timers.loop.call_later(min(PROBE_AGAIN_S, limit_s - waited_s), self.check)
