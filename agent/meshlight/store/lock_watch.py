"""Waits for a locked keyring to be unlocked, by looking at its lock: asking for a secret would put up a dialog."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from meshlight.store.worker import Worker

LOOK_S = 2.0


class LockWatch:
    """Looks every `look_s` seconds while there is something to wait for, and never otherwise.

    `is_locked` is called in the worker's thread: True, False, or None where the keyring can't say. `on_unlocked` is
    told once, in the event loop.
    """

    def __init__(
        self,
        worker: Worker,
        is_locked: Callable[[], bool | None],
        on_unlocked: Callable[[], None],
        look_s: float = LOOK_S,
    ) -> None:
        self._worker = worker
        self._is_locked = is_locked
        self._on_unlocked = on_unlocked
        self._look_s = look_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Wait for the unlocking from now on; twice is once."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def end(self) -> None:
        """Wait no more."""
        if self._task is not None:
            with suppress(RuntimeError):  # the loop may be gone, and the task with it
                self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            try:
                locked = await self._worker.run(self._is_locked)
            except Exception:  # noqa: BLE001 - a dialog is open still, or the bus is away: each has its own error
                locked = True
            if locked is None:
                return
            if not locked:
                self._task = None
                self._on_unlocked()
                return
