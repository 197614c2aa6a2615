"""Notifies an application that its client has disconnected, without a task that waits for it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

DISCONNECT: Final = "meshlight.disconnect"
"""The key in `scope["extensions"]` of a request's `DisconnectListeners`."""

log = logging.getLogger(__name__)


class DisconnectListeners:
    """The callbacks to run when the connection of a request is lost; one per connection.

    They run in the event loop, in order, so they must be short: set an event, cancel a task.
    Whoever adds one discards it when the answer is complete.
    """

    __slots__ = ("_callbacks", "gone")

    def __init__(self) -> None:
        self.gone = False
        """Whether the client has disconnected already."""
        self._callbacks: list[Callable[[], object]] = []

    def add(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the client disconnects; soon, if it already has."""
        self._callbacks.append(callback)
        if self.gone:
            asyncio.get_running_loop().call_soon(self._call)

    def discard(self, callback: Callable[[], object]) -> None:
        """Remove `callback`, if it is there."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def clear(self) -> None:
        """Remove all callbacks: the answer is complete."""
        self._callbacks.clear()

    def fire(self) -> None:
        """Report that the client has disconnected; only the first call has an effect."""
        if self.gone:
            return
        self.gone = True
        self._call()

    def _call(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one listener's fault must not keep the others from running
                # Without the error's text, which may quote a prompt or a key.
                log.error("A listener for a client's disconnect failed: %s", type(error).__name__)  # noqa: TRY400
