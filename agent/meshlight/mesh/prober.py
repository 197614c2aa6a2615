"""Watches the health of every backend: each on its own schedule, none waiting for another."""

import asyncio
import logging
import random
from collections.abc import Callable
from math import floor
from typing import Protocol

from meshlight.backends.kind import Probe
from meshlight.domain.errors import SecretError
from meshlight.domain.health import PERIOD_S, Failed, probe_delay_s
from meshlight.domain.reason import Reason
from meshlight.mesh.links import Link, Links
from meshlight.mesh.registry import Registry

log = logging.getLogger(__name__)

SLOT_S = 0.5
"""Probes are due on this grid: a few at a time cost a sleeping machine far less than one by one."""
HURRY_GAP_S = 1.0
"""Traffic asks for early probes of a suspect backend no more often than this."""


class Timer(Protocol):
    """What `later` returns: something that can be called off."""

    def cancel(self) -> None:
        """Call it off."""


class Later(Protocol):
    """The loop's call_later, or a test's."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` in `delay` seconds."""


class _Watch:
    """One backend's schedule."""

    __slots__ = ("busy_since", "probed_at", "task", "timer")

    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.task: asyncio.Task[Probe] | None = None
        self.probed_at = float("-inf")
        self.busy_since: float | None = None


class Prober:
    """Probes backends and gives what it saw to the registry.

    A probe's own time limit is its kind's. Healthy backends are probed every 5 s, spread over the period by
    jitter; a suspect one at once.
    """

    def __init__(
        self,
        registry: Registry,
        links: Links,
        clock: Callable[[], float],
        later: Later,
        is_busy: Callable[[str], bool],
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._registry = registry
        self._links = links
        self._clock = clock
        self._later = later
        self._is_busy = is_busy
        self._spread = spread
        self._watches: dict[str, _Watch] = {}

    def watch(self, backend_id: str) -> None:
        """Probe this backend now and from now on."""
        if backend_id not in self._watches:
            self._watches[backend_id] = _Watch()
            self._start(backend_id)

    def unwatch(self, backend_id: str) -> None:
        """Leave this backend alone; a running probe is ended."""
        watch = self._watches.pop(backend_id, None)
        if watch is None:
            return
        if watch.timer is not None:
            watch.timer.cancel()
        if watch.task is not None:
            watch.task.cancel()

    def hurry(self, backend_id: str) -> None:
        """Probe soon, because traffic gave cause; not more than once a second."""
        watch = self._watches.get(backend_id)
        if watch is not None and watch.task is None and self._clock() - watch.probed_at >= HURRY_GAP_S:
            self._start(backend_id)

    async def check(self, backend_id: str) -> Probe:
        """Probe now and return what was seen; joins a probe that runs already."""
        watch = self._watches.get(backend_id)
        if watch is None:
            link = self._links.get(backend_id) or self._links.put(self._registry.node(backend_id).backend)
            return await self._probe(link)
        task = watch.task or self._start(backend_id)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop watching; returns when the last probe has ended."""
        running = [w.task for w in self._watches.values() if w.task is not None]
        for backend_id in tuple(self._watches):
            self.unwatch(backend_id)
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, backend_id: str) -> asyncio.Task[Probe]:
        watch = self._watches[backend_id]
        if watch.timer is not None:
            watch.timer.cancel()
            watch.timer = None
        watch.probed_at = self._clock()
        watch.task = asyncio.get_running_loop().create_task(self._run(backend_id, watch))
        return watch.task

    async def _run(self, backend_id: str, watch: _Watch) -> Probe:
        try:
            link = self._links.put(self._registry.node(backend_id).backend)
            probe = await self._probe(link)
            if not self._is_patient(link, watch, probe):
                self._registry.apply(backend_id, probe.fact, probe.models)
        finally:
            watch.task = None
            if self._watches.get(backend_id) is watch:
                self._schedule(backend_id, watch)
        return probe

    async def _probe(self, link: Link) -> Probe:
        try:
            secret = await self._links.read_secret(link)
        except SecretError as error:
            return Probe(Failed(Reason(f"secret-{error.state}", error.title, error.hint)))
        return await link.kind.probe(link.probes, link.backend, secret)

    def _is_patient(self, link: Link, watch: _Watch, probe: Probe) -> bool:
        """Whether a silent engine is only busy: some answer no probe while they serve a request."""
        if not probe.is_busy or not self._is_busy(link.backend.id):
            watch.busy_since = None
            return False
        now = self._clock()
        watch.busy_since = now if watch.busy_since is None else watch.busy_since
        return now - watch.busy_since < link.kind.patience_s

    def _schedule(self, backend_id: str, watch: _Watch) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is None or not node.backend.enabled:
            self._watches.pop(backend_id, None)
            return
        delay = probe_delay_s(node.health, node.backend.ring, self._clock())
        if delay >= PERIOD_S:
            now = self._clock()
            due = now + delay * (1 - 0.1 * self._spread())
            delay = floor(due / SLOT_S) * SLOT_S - now
        watch.timer = self._later(delay, lambda: self._due(backend_id, watch))

    def _due(self, backend_id: str, watch: _Watch) -> None:
        if self._watches.get(backend_id) is watch and watch.task is None:
            self._start(backend_id)
