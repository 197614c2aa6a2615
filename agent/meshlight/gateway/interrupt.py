"""Ends a wait from outside, with the cause kept: the client left, the backend fell, time ran out."""

import asyncio
from typing import Literal

Cause = Literal["left", "fell", "first-byte", "idle"]


class Interrupt:
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
