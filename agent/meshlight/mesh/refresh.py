"""A refresh: every enabled backend is probed now, and new engines are searched for. One runs at a time."""

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
    """Runs refreshes, one at a time. `scan` searches for new engines; what it finds is probed too.

    `look_at_disks` has this machine's own models looked for again; the models that it finds are probed with the rest.
    """

    def __init__(
        self,
        registry: Registry,
        prober: Prober,
        publisher: EventPublisher,
        scan: Callable[[], Awaitable[None]],
        look_at_disks: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._registry = registry
        self._prober = prober
        self._publisher = publisher
        self._scan = scan
        self._look_at_disks = look_at_disks
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
        """Cancel a running refresh."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self, ids: tuple[str, ...]) -> None:
        self._report(0, len(ids))
        scanning = asyncio.create_task(self._run_scan())
        running = {scanning, *self._checks(ids)}
        done, total = 0, len(ids)
        try:
            while running:
                finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if scanning in finished:
                    finished.remove(scanning)
                    new = [backend_id for backend_id in self._enabled() if backend_id not in ids]
                    running |= self._checks(new)
                    total += len(new)
                done += len(finished)
                has_moved = (done, total) != (self._progress.done, self._progress.total)
                if not running or (has_moved and done < total):  # all are checked, but the scan goes on
                    self._report(done, total)
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

    async def _run_scan(self) -> None:
        if self._look_at_disks is None:
            await self._scan()
        else:
            await asyncio.gather(self._scan(), self._look_at_disks())

    def _report(self, done: int, total: int) -> None:
        self._progress = RefreshProgress(self._progress.id, done, total)
        self._publisher.progress(self._progress.id, done, total)
