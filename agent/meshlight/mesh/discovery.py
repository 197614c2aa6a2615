"""Finds local engines on their usual ports and keeps the list of found ones true."""

import asyncio
import logging
from collections.abc import Callable, Collection

from meshlight.backends.address import parse_address
from meshlight.backends.detect import Detector
from meshlight.backends.kind import Found
from meshlight.domain.backend import Backend
from meshlight.domain.snapshot import Node
from meshlight.mesh.prober import Later, Timer
from meshlight.mesh.registry import Registry

log = logging.getLogger(__name__)

PERIOD_S = 4.0
GONE_S = 600.0
"""A found engine that refused all connections for this long was stopped on purpose: it leaves the list."""


class Discovery:
    """Looks at the usual ports every few seconds; a stranger on one of them is left alone by the detector."""

    def __init__(
        self,
        registry: Registry,
        detector: Detector,
        clock: Callable[[], float],
        later: Later,
        ignored: Callable[[], Collection[str]],
    ) -> None:
        self._registry = registry
        self._detector = detector
        self._clock = clock
        self._later = later
        self._ignored = ignored
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._on = False

    def start(self) -> None:
        """Look now and from now on."""
        if not self._on:
            self._on = True
            self._go()

    def stop(self) -> None:
        """Look no more; what was found stays until it is gone."""
        self._on = False
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def look(self) -> "asyncio.Future[None]":
        """Look once more, now, at strangers too; done at once when looking is switched off."""
        if not self._on:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        return asyncio.ensure_future(self._round(force=True))

    def _go(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        try:
            await self._round(force=False)
        finally:
            if self._on:
                self._timer = self._later(PERIOD_S, self._go)

    async def _round(self, *, force: bool) -> None:
        self._drop_gone()
        nodes = self._registry.snapshot.nodes.values()
        listed = [node.backend.url for node in nodes if node.backend.ring == "machine"]
        known = {parse_address(url).port for url in (*listed, *self._ignored())}
        for found in await self._detector.scan(known, force=force):
            self._take(found)

    def _drop_gone(self) -> None:
        for node in tuple(self._registry.snapshot.nodes.values()):
            if node.backend.source == "found" and self._is_gone(node):
                log.info("%s is gone", node.backend.name)
                self._registry.remove(node.backend.id)

    def _is_gone(self, node: Node) -> bool:
        health = node.health
        if health.state != "unhealthy":
            return False
        if health.reason.code == "not-this-kind":
            return True
        return health.reason.code == "refused" and self._clock() - health.since > GONE_S

    def _take(self, found: Found) -> None:
        address = parse_address(found.url)
        if not self._on or found.url in self._ignored():
            return
        nodes = self._registry.snapshot.nodes
        if any(parse_address(node.backend.url) == address for node in nodes.values()):
            return
        backend_id = f"{found.kind}-{address.port}"
        if backend_id in nodes:
            return
        log.info("found %s at %s", found.name, found.url)
        self._registry.put(
            Backend(
                id=backend_id, name=found.name, kind=found.kind, ring="machine", url=found.url, source="found"
            )
        )
