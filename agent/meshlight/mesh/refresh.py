"""A refresh: every enabled backend is checked once, now. One runs at a time; who asks meanwhile joins it."""

import asyncio
import secrets
from collections.abc import Callable

from msgspec import Struct

from meshlight.mesh.feed import Feed
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry


class Progress(Struct, frozen=True):
    """How far a refresh has come; over when done == total."""

    id: str
    done: int
    total: int


class Refresher:
    """Runs refreshes, one at a time. `before` is awaited first (a look for new engines)."""

    def __init__(
        self, registry: Registry, prober: Prober, feed: Feed, before: Callable[[], "asyncio.Future[None]"]
    ) -> None:
        self._registry = registry
        self._prober = prober
        self._feed = feed
        self._before = before
        self._task: asyncio.Task[None] | None = None
        self._progress = Progress("", 0, 0)

    def start(self) -> Progress:
        """Start a refresh, or join the one that runs."""
        if self._task is None or self._task.done():
            ids = [n.backend.id for n in self._registry.snapshot.nodes.values() if n.backend.enabled]
            self._progress = Progress(secrets.token_hex(4), 0, len(ids))
            self._task = asyncio.get_running_loop().create_task(self._run(ids))
        return self._progress

    async def wait(self) -> Progress:
        """Wait until the refresh that runs is over."""
        if self._task is not None:
            await asyncio.shield(self._task)
        return self._progress

    async def close(self) -> None:
        """End a running refresh."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, ids: list[str]) -> None:
        self._tell(0)
        looking = self._before()
        checks = [asyncio.ensure_future(self._prober.check(backend_id)) for backend_id in ids]
        for done, check in enumerate(asyncio.as_completed(checks), start=1):
            await asyncio.gather(check, return_exceptions=True)
            self._tell(done)
        await looking

    def _tell(self, done: int) -> None:
        self._progress = Progress(self._progress.id, done, self._progress.total)
        self._feed.progress(self._progress.id, done, self._progress.total)
