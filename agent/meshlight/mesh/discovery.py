"""Finds engines on this machine by scanning their usual ports, and removes found ones that are gone."""

import asyncio
import logging
from collections.abc import Callable, Collection

from msgspec.structs import replace

from meshlight.backends.base import DetectedEngine
from meshlight.backends.detection import Detector
from meshlight.backends.socket_owner import HAS_SOCKET_OWNERS, Listeners, is_trusted, read_listeners
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.snapshot import Node
from meshlight.http_client.address import ring_of
from meshlight.mesh.backend_admin import server_key
from meshlight.mesh.registry import Registry

log = logging.getLogger(__name__)

PERIOD_S = 5.0
OTHER_USER = "other-user"
"""The reason of a found engine that is not used because another user of this machine runs it."""
GONE_S = 600.0
"""A found engine that refused all connections for this long was stopped on purpose: it is removed from the list."""


class Discovery:
    """Scans the usual ports every few seconds; the detector leaves servers alone that are no engines.

    `ignored` returns the URLs that were removed for good: nothing is sent to their ports. `listeners` reads which
    user listens on which port; an engine of another user is listed switched off, with the reason.
    """

    def __init__(
        self,
        registry: Registry,
        detector: Detector,
        clock: Clock,
        later: CallLater,
        ignored: Callable[[], Collection[str]],
        listeners: Callable[[], Listeners] = read_listeners,
    ) -> None:
        self._registry = registry
        self._detector = detector
        self._clock = clock
        self._later = later
        self._ignored = ignored
        self._listeners = listeners
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._on = False

    def start(self) -> None:
        """Scan now and from now on."""
        if not self._on:
            if not HAS_SOCKET_OWNERS:
                log.info("This system does not say who runs an engine: those of other users are used too.")
            self._on = True
            self._go()

    def stop(self) -> None:
        """Stop scanning; found engines stay listed."""
        self._on = False
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def scan(self) -> None:
        """Scan once more now, also ports with unknown servers; does nothing when discovery is off."""
        if self._on:
            await self._scan(force=True)

    def _go(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        try:
            await self._scan(force=False)
        finally:
            if self._on and self._task is asyncio.current_task():  # and not one that a restart has replaced
                self._timer = self._later(PERIOD_S, self._go)

    async def _scan(self, *, force: bool) -> None:
        self._drop_gone()
        await self._check_owners()
        addresses = map(server_key, (*self._urls(), *self._ignored()))
        known = {one.port for one in addresses if one is not None and ring_of(one) == "machine"}
        if found := await self._detector.scan(known, force=force):
            listeners = await asyncio.to_thread(self._listeners)
            for engine in found:
                self._list(engine, listeners)

    async def _check_owners(self) -> None:
        """Switch off found engines whose port is another user's now, and remove those that no longer are one's."""
        if not any(node.backend.source == "found" for node in self._registry.snapshot.nodes.values()):
            return
        listeners = await asyncio.to_thread(self._listeners)
        for node in tuple(self._registry.snapshot.nodes.values()):
            backend, address = node.backend, server_key(node.backend.url)
            if backend.source != "found" or address is None:
                continue
            owner = listeners.owner_at(address)
            if backend.enabled and not is_trusted(owner):
                log.warning("%s runs as another user of this machine now", backend.name)
                self._registry.remove(backend.id)
                self._put(backend, owner)
            elif node.health.reason.code == OTHER_USER and is_trusted(owner):
                self._registry.remove(backend.id)  # if it is still there, it is found anew

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

    def _list(self, found: DetectedEngine, listeners: Listeners) -> None:
        """List a found engine, unless it was listed or ignored meanwhile."""
        address = server_key(found.url)
        taken = map(server_key, (*self._ignored(), *self._urls()))
        if not self._on or address is None or address in taken:
            return
        log.info("found %s at %s", found.name, found.url)
        backend = Backend(
            id=self._free_id(f"{found.kind}-{address.port}"),
            name=found.name,
            kind=found.kind,
            ring="machine",
            url=found.url,
            source="found",
        )
        self._put(backend, listeners.owner_at(address))

    def _put(self, backend: Backend, owner: int | None) -> None:
        """List a found engine, switched off if another user runs it."""
        if is_trusted(owner):
            self._registry.put(backend)
            return
        why = Reason(
            OTHER_USER,
            f"It runs as another user of this machine (uid {owner}), so no prompt is sent to it.",
            f"If you trust that user, switch it on: `meshlight backends enable {backend.id}`.",
        )
        self._registry.put(replace(backend, enabled=False), why)

    def _urls(self) -> list[str]:
        return [node.backend.url for node in self._registry.snapshot.nodes.values()]

    def _free_id(self, wanted: str) -> str:
        """Return an id that no backend has: the wanted one, such as `llamacpp-8080`, or with `-local` appended."""
        while wanted in self._registry.snapshot.nodes:
            wanted += "-local"
        return wanted
