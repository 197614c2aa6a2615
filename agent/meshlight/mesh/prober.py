"""Watches the health of every backend: each on its own schedule, none waiting for another.

Keeps links, probes and counts in step with the list of backends.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Protocol

from meshlight.backends.base import Probe
from meshlight.domain.backend import Reason
from meshlight.domain.errors import SecretError
from meshlight.domain.health import PERIOD_S, Failed, probe_delay_s
from meshlight.domain.snapshot import Node
from meshlight.mesh.backend_connections import BackendConnection, BackendConnections
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Traffic

log = logging.getLogger(__name__)

SLOTS = 10
"""Each backend's tick has a place of its own in the period, on a grid: a few probes at a time wake a sleeping
machine far less often than one by one, and all at once would be felt."""
JITTER = 0.1
"""A backend that is asked seldom is asked up to this much later, and never earlier than it wishes."""
PROBE_SOON_GAP_S = 1.0
"""Traffic asks for early probes of a suspect backend no more often than this."""
KEY_GAP_S = 10.0
"""And of one where probes count against a quota no more often than this, and only about its key."""
_NOT_SOON = frozenset({"rate-limited", "unauthorized", "forbidden"})
"""Reasons that are certain, and that asking again at once would only make worse."""


class Timer(Protocol):
    """What `later` returns: something that can be called off."""

    def cancel(self) -> None:
        """Call it off."""


class Later(Protocol):
    """The loop's call_later, or a test's."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` in `delay` seconds."""


class _Watch:
    """One backend's schedule; instants are seconds of the prober's clock."""

    __slots__ = ("busy_since", "due", "phase", "probed_at", "task", "timer")

    def __init__(self, phase: float) -> None:
        self.phase = phase
        """Where in the period its tick lies."""
        self.timer: Timer | None = None
        self.due = float("inf")
        self.task: asyncio.Task[Probe] | None = None
        self.probed_at = float("-inf")
        self.busy_since: float | None = None


class Prober:
    """Probes backends and gives what it saw to the registry.

    A probe's own time limit is its kind's. A new or suspect backend is probed at once, a healthy one every 5 s;
    `spread` (0 to 1) says where in the period.
    """

    def __init__(
        self,
        registry: Registry,
        links: BackendConnections,
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
        links.probe_soon = self.probe_soon
        links.tell = registry.apply_to

    def watch(self, backend_id: str) -> None:
        """Probe this backend now and from now on."""
        if backend_id not in self._watches:
            watch = _Watch(int(self._spread() * SLOTS) * PERIOD_S / SLOTS)
            self._watches[backend_id] = watch
            self._links.check_now(backend_id)  # it may have been off: what is remembered may be stale
            self._start(backend_id, watch)

    def unwatch(self, backend_id: str) -> None:
        """Leave this backend alone; a running probe is ended."""
        watch = self._watches.pop(backend_id, None)
        if watch is None:
            return
        if watch.timer is not None:
            watch.timer.cancel()
        if watch.task is not None:
            watch.task.cancel()

    def probe_soon(self, backend_id: str, *, for_key: bool = False) -> None:
        """Probe soon, because traffic gave cause; not more than once a second, and not where it would be a bother.

        `for_key`: a request was refused in a way that only a probe can tell from a refusal of the key. That is worth
        one where each counts, too, though seldom.
        """
        watch = self._watches.get(backend_id)
        node = self._registry.snapshot.nodes.get(backend_id)
        if watch is None or watch.task is not None or node is None:
            return
        if node.health.reason.code in _NOT_SOON or (node.backend.is_metered and not for_key):
            return
        due = watch.probed_at + (KEY_GAP_S if node.backend.is_metered else PROBE_SOON_GAP_S)
        if due <= self._clock():
            self._start(backend_id, watch)
        elif due < watch.due:
            self._arm(backend_id, watch, due)

    async def check(self, backend_id: str, *, anew: bool = False) -> Probe:
        """Probe now, because somebody wants to know, and return what was seen; joins a probe that runs already.

        `anew` ends that one instead: it may know an old key. Raises NotFound.
        """
        self._links.retry_secrets()
        if anew and backend_id in self._watches:
            self.unwatch(backend_id)
            self.watch(backend_id)
        while True:
            backend = self._registry.node(backend_id).backend
            self._links.check_now(backend_id)
            watch = self._watches.get(backend_id)
            if watch is None:  # switched off: only who asks gets to know
                return await self._probe(self._links.put(backend))
            task = watch.task or self._start(backend_id, watch)
            await asyncio.wait((task,))
            if not task.cancelled():
                return task.result()
            # Its address was changed meanwhile, or it was removed.

    async def close(self) -> None:
        """Stop watching; returns when the last probe has ended."""
        running = [w.task for w in self._watches.values() if w.task is not None]
        for backend_id in tuple(self._watches):
            self.unwatch(backend_id)
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, backend_id: str, watch: _Watch) -> asyncio.Task[Probe]:
        if watch.timer is not None:
            watch.timer.cancel()
            watch.timer = None
        watch.probed_at = self._clock()
        watch.due = float("inf")
        watch.task = asyncio.get_running_loop().create_task(self._run(backend_id, watch))
        return watch.task

    async def _run(self, backend_id: str, watch: _Watch) -> Probe:
        try:
            link = self._links.put(self._registry.node(backend_id).backend)
            probe = await self._probe(link)
            if not self._is_patient(link, watch, probe):
                self._registry.learn(backend_id, probe)
        finally:
            watch.task = None
            if self._watches.get(backend_id) is watch:
                self._schedule(backend_id, watch)
        return probe

    async def _probe(self, link: BackendConnection) -> Probe:
        try:
            secret = await self._links.read_secret(link)
        except SecretError as error:
            return Probe(fact=Failed(Reason(f"secret-{error.state}", error.title, error.hint)))
        return await self._links.probe(link, secret)

    def _is_patient(self, link: BackendConnection, watch: _Watch, probe: Probe) -> bool:
        """Whether a silent engine is only busy: some answer no probe while they serve a request."""
        if not probe.is_busy or not self._is_busy(link.backend.id):
            watch.busy_since = None
            return False
        now = self._clock()
        watch.busy_since = now if watch.busy_since is None else watch.busy_since
        return now - watch.busy_since < link.kind.busy_grace_s

    def _schedule(self, backend_id: str, watch: _Watch) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is None or not node.backend.enabled:
            self._watches.pop(backend_id, None)
            return
        self._arm(backend_id, watch, self._due_at(node, watch))

    def _due_at(self, node: Node, watch: _Watch) -> float:
        now = self._clock()
        delay = probe_delay_s(node.health, node.backend.ring, now)
        if delay < PERIOD_S:
            return now + delay
        if delay > PERIOD_S or node.health.reason.code == "rate-limited":
            return now + delay * (1 + JITTER * self._spread())
        wait = (watch.phase - now) % PERIOD_S
        return now + (wait if wait >= PERIOD_S / SLOTS else wait + PERIOD_S)

    def _arm(self, backend_id: str, watch: _Watch, due: float) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
        watch.due = due
        watch.timer = self._later(due - self._clock(), lambda: self._fall_due(backend_id, watch))

    def _fall_due(self, backend_id: str, watch: _Watch) -> None:
        if self._watches.get(backend_id) is watch and watch.task is None:
            self._start(backend_id, watch)


class BackendSync:
    """Follows the registry: what is there and enabled has a link and is probed, what is gone has neither."""

    def __init__(
        self, registry: Registry, links: BackendConnections, prober: Prober, traffic: Traffic
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._traffic = traffic
        registry.listen(self._on_change)

    def try_secrets(self) -> None:
        """Probe at once what could not be probed for want of a secret: the keyring is open now."""
        for backend_id, node in self._registry.snapshot.nodes.items():
            if node.backend.enabled and node.health.reason.code.startswith("secret-"):
                self._prober.unwatch(backend_id)
                self._prober.watch(backend_id)

    def _on_change(self, change: Change) -> None:
        for backend_id in change.removed:
            self._prober.unwatch(backend_id)
            self._links.remove(backend_id)
            self._traffic.forget(backend_id)
        for backend_id in change.shape:
            backend = self._registry.node(backend_id).backend
            old = self._links.get(backend_id)
            if self._links.put(backend) is not old:
                self._prober.unwatch(backend_id)  # a running probe is of the old address
            if backend.enabled:
                self._prober.watch(backend_id)
            else:
                self._prober.unwatch(backend_id)
