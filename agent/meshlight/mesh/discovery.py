"""Finds local engines on their usual ports and keeps the list of found ones true."""

import asyncio
import logging
from collections.abc import Callable, Collection

from msgspec.structs import replace

from meshlight.backends.base import DetectedEngine
from meshlight.backends.detection import Detector
from meshlight.backends.socket_owner import HAS_SOCKET_OWNERS, Listeners, is_trusted, read_listeners
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.clock import CallLater, Timer
from meshlight.domain.snapshot import Node
from meshlight.http_client.address import ring_of
from meshlight.mesh.backend_admin import server_key
from meshlight.mesh.registry import Registry

log = logging.getLogger(__name__)

PERIOD_S = 4.0
OTHER_USER = "other-user"
"""The reason of a found engine that is not used because of whose it is."""
GONE_S = 600.0
"""A found engine that refused all connections for this long was stopped on purpose: it leaves the list."""


class Discovery:
    """Looks at the usual ports every few seconds; a stranger on one of them is left alone by the detector.

    `ignored` gives the URLs that are switched off for good: their ports are not even asked. `listeners` reads whose
    server is at which port; one of another user of this machine is listed switched off, with the reason.
    """

    def __init__(
        self,
        registry: Registry,
        detector: Detector,
        clock: Callable[[], float],
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
        """Look now and from now on."""
        if not self._on:
            if not HAS_SOCKET_OWNERS:
                log.info(
                    "This system does not tell whose an engine is: those of its other users are used too."
                )
            self._on = True
            self._go()

    def stop(self) -> None:
        """Look no more; what was found stays listed."""
        self._on = False
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def scan(self) -> None:
        """Look once more, now, at strangers too; nothing when looking is switched off."""
        if self._on:
            await self._round(force=True)

    def _go(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        try:
            await self._round(force=False)
        finally:
            if self._on and self._task is asyncio.current_task():  # and not one that a restart has replaced
                self._timer = self._later(PERIOD_S, self._go)

    async def _round(self, *, force: bool) -> None:
        self._drop_gone()
        await self._look_at_owners()
        places = map(server_key, (*self._urls(), *self._ignored()))
        known = {place.port for place in places if place is not None and ring_of(place) == "machine"}
        if found := await self._detector.scan(known, force=force):
            listeners = await asyncio.to_thread(self._listeners)
            for engine in found:
                self._take(engine, listeners)

    async def _look_at_owners(self) -> None:
        """Follow found engines whose port went to another user, or came back from one."""
        if not any(node.backend.source == "found" for node in self._registry.snapshot.nodes.values()):
            return
        listeners = await asyncio.to_thread(self._listeners)
        for node in tuple(self._registry.snapshot.nodes.values()):
            backend, place = node.backend, server_key(node.backend.url)
            if backend.source != "found" or place is None:
                continue
            owner = listeners.owner_at(place)
            if backend.enabled and not is_trusted(owner):
                log.warning("%s runs as another user of this machine now", backend.name)
                self._registry.remove(backend.id)
                self._put(backend, owner)
            elif node.health.reason.code == OTHER_USER and is_trusted(owner):
                self._registry.remove(backend.id)  # if anybody is there still, it is found anew

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

    def _take(self, found: DetectedEngine, listeners: Listeners) -> None:
        """List a found engine, if nothing has changed meanwhile that forbids it."""
        place = server_key(found.url)
        taken = map(server_key, (*self._ignored(), *self._urls()))
        if not self._on or place is None or place in taken:
            return
        log.info("found %s at %s", found.name, found.url)
        backend = Backend(
            id=self._free_id(f"{found.kind}-{place.port}"),
            name=found.name,
            kind=found.kind,
            ring="machine",
            url=found.url,
            source="found",
        )
        self._put(backend, listeners.owner_at(place))

    def _put(self, backend: Backend, owner: int | None) -> None:
        """List a found engine; one of another user is not used."""
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
        """Return an id that no backend has: `llamacpp-8080`, or else with `-local` behind it."""
        while wanted in self._registry.snapshot.nodes:
            wanted += "-local"
        return wanted
