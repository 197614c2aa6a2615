"""Probes every backend on its own schedule, and starts and stops that with the list of backends.

`Prober` has a timer per backend and records what its probes find in the registry. `BackendSync` listens to the
registry: each backend that is listed and enabled has a connection and is probed, the others are not.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable

from meshlight.backends.base import Probe
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.errors import SecretError
from meshlight.domain.health import PERIOD_S, Failed, probe_delay_s
from meshlight.domain.snapshot import Node
from meshlight.mesh.backend_connections import BackendConnection, BackendConnections
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Traffic

log = logging.getLogger(__name__)

SLOTS, PER_SLOT = 10, 10
"""Each backend is probed in one of so many slots of the period, and a slot is used once the one before has so many.
A few probes at a time wake an idle machine far less often than one by one, and all at once would be a load."""
JITTER = 0.1
"""A backend that is probed seldom is probed up to this fraction later, and never earlier than it allows."""
PROBE_SOON_GAP_S = 1.0
"""`probe_soon` probes a backend no more often than this."""
OWN_GAP_S = 0.1
"""The same where nothing is sent: this machine's own models, whose news are asked for in the next moment."""
KEY_GAP_S = 10.0
"""The same for a backend where probes count against a quota; there it only serves to check the key."""
_NOT_SOON = frozenset({"rate-limited", "unauthorized", "forbidden"})
"""Reasons that are certain, and that another probe at once would only make worse."""


class _Schedule:
    """When one backend is probed; times are seconds of the prober's clock."""

    __slots__ = ("busy_since", "due", "phase", "probed_at", "task", "timer")

    def __init__(self, phase: float) -> None:
        self.phase = phase
        """Where in the period its slot is."""
        self.timer: Timer | None = None
        self.due = float("inf")
        self.task: asyncio.Task[Probe] | None = None
        self.probed_at = float("-inf")
        self.busy_since: float | None = None


class Prober:
    """Probes backends and records the results in the registry.

    A new backend is probed at once, a healthy one every 5 s, a failing one as `probe_delay_s` says. `is_busy` returns
    whether requests run on a backend; `spread` returns a random number from 0 to 1. The first backends are probed in
    the slot `first_slot`.
    """

    def __init__(
        self,
        registry: Registry,
        connections: BackendConnections,
        clock: Clock,
        later: CallLater,
        is_busy: Callable[[str], bool],
        spread: Callable[[], float] = random.random,
        *,
        first_slot: int = 0,
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._clock = clock
        self._later = later
        self._is_busy = is_busy
        self._spread = spread
        self._schedules: dict[str, _Schedule] = {}
        self._first_slot = first_slot

    def watch(self, backend_id: str) -> None:
        """Probe this backend now and from now on."""
        if backend_id not in self._schedules:
            schedule = _Schedule(self._free_slot() * PERIOD_S / SLOTS)
            self._schedules[backend_id] = schedule
            self._connections.check_now(backend_id)  # it may have been off: what is remembered may be stale
            self._start(backend_id, schedule)

    def unwatch(self, backend_id: str) -> None:
        """Stop probing this backend; a running probe is cancelled."""
        schedule = self._schedules.pop(backend_id, None)
        if schedule is None:
            return
        if schedule.timer is not None:
            schedule.timer.cancel()
        if schedule.task is not None:
            schedule.task.cancel()

    def probe_soon(self, backend_id: str, *, for_key: bool = False) -> None:
        """Probe soon, because a request had a problem, or something is new; not where the reason is certain.

        At most once a second, or ten times where nothing is sent.

        `for_key`: a request was refused, and only a probe can tell whether because of the key. That is done, though
        seldom, also where probes count against a quota.
        """
        schedule = self._schedules.get(backend_id)
        node = self._registry.snapshot.nodes.get(backend_id)
        if schedule is None or schedule.task is not None or node is None:
            return
        if node.health.reason.code in _NOT_SOON or (node.backend.is_metered and not for_key):
            return
        connection = self._connections.get(backend_id)
        if connection is not None and connection.on_demand is not None:
            gap_s = OWN_GAP_S
        else:
            gap_s = KEY_GAP_S if node.backend.is_metered else PROBE_SOON_GAP_S
        due = schedule.probed_at + gap_s
        if due <= self._clock():
            self._start(backend_id, schedule)
        elif due < schedule.due:
            self._set_timer(backend_id, schedule, due)

    async def check(self, backend_id: str, *, anew: bool = False) -> Probe:
        """Probe now, because a user wants to know, and return the result; joins a probe that runs already.

        `anew` cancels that one instead, as it may use an old key. Raises NotFound.
        """
        self._connections.retry_secrets()
        if anew and backend_id in self._schedules:
            self.unwatch(backend_id)
            self.watch(backend_id)
        while True:
            backend = self._registry.node(backend_id).backend
            self._connections.check_now(backend_id)
            schedule = self._schedules.get(backend_id)
            if schedule is None:  # it is switched off: the result is for the caller alone
                return await self._probe(self._connections.put(backend))
            task = schedule.task or self._start(backend_id, schedule)
            await asyncio.wait((task,))
            if not task.cancelled():
                return task.result()
            # Its address was changed meanwhile, or it was removed.

    async def settle(self, within_s: float) -> None:
        """Return when the probes that run now have ended, or after so many seconds."""
        running = [schedule.task for schedule in self._schedules.values() if schedule.task is not None]
        if running:
            await asyncio.wait(running, timeout=within_s)

    async def close(self) -> None:
        """Stop probing; returns when the last probe has ended."""
        running = [w.task for w in self._schedules.values() if w.task is not None]
        for backend_id in tuple(self._schedules):
            self.unwatch(backend_id)
        await asyncio.gather(*running, return_exceptions=True)

    def _free_slot(self) -> int:
        taken = Counter(round(schedule.phase * SLOTS / PERIOD_S) for schedule in self._schedules.values())
        slots = [(self._first_slot + number) % SLOTS for number in range(SLOTS)]
        return next(
            (slot for slot in slots if taken[slot] < PER_SLOT), min(slots, key=lambda slot: taken[slot])
        )

    def _start(self, backend_id: str, schedule: _Schedule) -> asyncio.Task[Probe]:
        if schedule.timer is not None:
            schedule.timer.cancel()
            schedule.timer = None
        schedule.probed_at = self._clock()
        schedule.due = float("inf")
        schedule.task = asyncio.get_running_loop().create_task(self._run(backend_id, schedule))
        return schedule.task

    async def _run(self, backend_id: str, schedule: _Schedule) -> Probe:
        try:
            connection = self._connections.put(self._registry.node(backend_id).backend)
            probe = await self._probe(connection)
            if not self._is_only_busy(connection, schedule, probe):
                self._registry.record_probe(backend_id, probe)
        finally:
            schedule.task = None
            if self._schedules.get(backend_id) is schedule:
                self._schedule(backend_id, schedule)
        return probe

    async def _probe(self, connection: BackendConnection) -> Probe:
        try:
            secret = await self._connections.read_secret(connection)
        except SecretError as error:
            return Probe(fact=Failed(Reason(f"secret-{error.state}", error.title, error.hint)))
        return await self._connections.probe(connection, secret)

    def _is_only_busy(self, connection: BackendConnection, schedule: _Schedule, probe: Probe) -> bool:
        """Whether an engine that does not answer is only busy: some answer no probe while they serve a request."""
        if not probe.is_busy or not self._is_busy(connection.backend.id):
            schedule.busy_since = None
            return False
        now = self._clock()
        schedule.busy_since = now if schedule.busy_since is None else schedule.busy_since
        return now - schedule.busy_since < connection.kind.busy_grace_s

    def _schedule(self, backend_id: str, schedule: _Schedule) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is None or not node.backend.enabled:
            self._schedules.pop(backend_id, None)
            return
        self._set_timer(backend_id, schedule, self._due_at(node, schedule))

    def _due_at(self, node: Node, schedule: _Schedule) -> float:
        now = self._clock()
        delay = probe_delay_s(node.health, node.backend.ring, now)
        if delay < PERIOD_S:
            return now + delay
        if delay > PERIOD_S or node.health.reason.code == "rate-limited":
            return now + delay * (1 + JITTER * self._spread())
        wait = (schedule.phase - now) % PERIOD_S
        return now + (wait if wait >= PERIOD_S / SLOTS else wait + PERIOD_S)

    def _set_timer(self, backend_id: str, schedule: _Schedule, due: float) -> None:
        if schedule.timer is not None:
            schedule.timer.cancel()
        schedule.due = due
        schedule.timer = self._later(due - self._clock(), lambda: self._on_due(backend_id, schedule))

    def _on_due(self, backend_id: str, schedule: _Schedule) -> None:
        if self._schedules.get(backend_id) is schedule and schedule.task is None:
            self._start(backend_id, schedule)


class BackendSync:
    """Gives each backend that is listed and enabled a connection and probes, and takes them from the others.

    `is_ready` returns whether a backend can be reached at all yet; it is asked whenever the backend has changed.
    """

    def __init__(
        self,
        registry: Registry,
        connections: BackendConnections,
        prober: Prober,
        traffic: Traffic,
        is_ready: Callable[[Backend], bool] = lambda _: True,
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._prober = prober
        self._traffic = traffic
        self._is_ready = is_ready
        registry.listen(self._on_change)

    def retry_secrets(self) -> None:
        """Probe at once what could not be probed because its secret could not be read."""
        for backend_id, node in self._registry.snapshot.nodes.items():
            if node.backend.enabled and node.health.reason.code.startswith("secret-"):
                self._prober.unwatch(backend_id)
                self._prober.watch(backend_id)

    def _on_change(self, change: Change) -> None:
        for backend_id in change.removed:
            self._prober.unwatch(backend_id)
            self._connections.remove(backend_id)
            self._traffic.forget(backend_id)
        for backend_id in change.shape:
            backend = self._registry.node(backend_id).backend
            old = self._connections.get(backend_id)
            if self._connections.put(backend) is not old:
                self._prober.unwatch(backend_id)  # a running probe uses the old address
            if backend.enabled and self._is_ready(backend):
                self._prober.watch(backend_id)
            else:
                self._prober.unwatch(backend_id)
