"""How an application learns that its client is gone, without a task that waits for it."""

import asyncio
import logging
from collections.abc import Callable

DISCONNECT = "meshlight.leave"
"""The key in `scope["extensions"]` under which a request finds its `DisconnectListeners`."""

log = logging.getLogger(__name__)


class DisconnectListeners:
    """The callbacks to run when the connection of a request is lost; one per connection.

    They run in the event loop, in order, so they must be short: set an event, cancel a task.
    Who adds one discards it when the answer is complete.
    """

    __slots__ = ("_callbacks", "gone")

    def __init__(self) -> None:
        self.gone = False
        """Whether the client has left already."""
        self._callbacks: list[Callable[[], object]] = []

    def add(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the client leaves; soon, if it has left already."""
        self._callbacks.append(callback)
        if self.gone:
            asyncio.get_running_loop().call_soon(self._call)

    def discard(self, callback: Callable[[], object]) -> None:
        """Forget `callback`; it need not be known."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def clear(self) -> None:
        """Forget all callbacks: the answer is complete."""
        self._callbacks.clear()

    def fire(self) -> None:
        """Say that the client is gone; only the first call has an effect."""
        if self.gone:
            return
        self.gone = True
        self._call()

    def _call(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one listener's fault must not silence the others
                # Without the error's text, which may quote a prompt or a key.
                log.error("A listener for a client's departure broke: %s", type(error).__name__)  # noqa: TRY400
