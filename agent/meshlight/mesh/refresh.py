"""A refresh: every enabled backend is checked once, now. One runs at a time; who asks meanwhile joins it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from meshlight.domain.api_types import RefreshProgress
from meshlight.domain.errors import NotFound
from meshlight.mesh.event_publisher import EventPublisher
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry


class Refresher:
    """Runs refreshes, one at a time. `look` looks for new engines; what it finds is checked too."""

    def __init__(
        self, registry: Registry, prober: Prober, feed: EventPublisher, look: Callable[[], Awaitable[None]]
    ) -> None:
        self._registry = registry
        self._prober = prober
        self._feed = feed
        self._look = look
        self._task: asyncio.Task[None] | None = None
        self._progress = RefreshProgress("", 0, 0)

    def start(self) -> RefreshProgress:
        """Start a refresh, or join the one that runs."""
        if self._task is None or self._task.done():
            ids = self._enabled()
            self._progress = RefreshProgress(secrets.token_hex(4), 0, len(ids))
            self._task = asyncio.get_running_loop().create_task(self._run(ids))
        return self._progress

    async def wait(self) -> RefreshProgress:
        """Wait until the refresh that runs is over."""
        if self._task is not None:
            await asyncio.wait((self._task,))
        return self._progress

    async def close(self) -> None:
        """End a running refresh."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self, ids: tuple[str, ...]) -> None:
        self._tell(0, len(ids))
        looking = asyncio.create_task(self._look_around())
        running = {looking, *self._checks(ids)}
        done, total = 0, len(ids)
        try:
            while running:
                finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if looking in finished:
                    finished.remove(looking)
                    new = [backend_id for backend_id in self._enabled() if backend_id not in ids]
                    running |= self._checks(new)
                    total += len(new)
                done += len(finished)
                has_moved = (done, total) != (self._progress.done, self._progress.total)
                if not running or (has_moved and done < total):  # all checked is not over: the look may go on
                    self._tell(done, total)
        finally:
            for task in running:
                task.cancel()

    def _enabled(self) -> tuple[str, ...]:
        nodes = self._registry.snapshot.nodes.values()
        return tuple(node.backend.id for node in nodes if node.backend.enabled)

    def _checks(self, ids: Iterable[str]) -> set[asyncio.Task[None]]:
        return {asyncio.create_task(self._check(backend_id)) for backend_id in ids}

    async def _check(self, backend_id: str) -> None:
        with suppress(NotFound):  # removed meanwhile
            await self._prober.check(backend_id)

    async def _look_around(self) -> None:
        await self._look()

    def _tell(self, done: int, total: int) -> None:
        self._progress = RefreshProgress(self._progress.id, done, total)
        self._feed.progress(self._progress.id, done, total)
