"""The last hour of each backend: its state and latency in steps of 5 s, and its last changes of state.

Nothing is sampled: a step is stored when something changed in it, and the steps between are as the one before.
"""

from collections import deque

from msgspec import Struct

from meshlight.domain.api_types import latency_ms
from meshlight.domain.clock import Clock
from meshlight.domain.snapshot import Node
from meshlight.mesh.registry import Change, Registry

STEP_S = 5.0
STEPS = 720
"""One hour."""
INCIDENTS = 20
"""Changes of state stored for each backend."""


class Track(Struct, frozen=True):
    """One backend's past, oldest step first: state (or `disabled`), and latency in milliseconds, null if unknown."""

    states: tuple[str | None, ...]
    latency_ms: tuple[float | None, ...]


class PastIncident(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A change of state, `ago_s` seconds ago."""

    backend: str
    from_: str
    to: str
    reason: str
    text: str
    ago_s: float


class Past(Struct, frozen=True, kw_only=True):
    """The last hour of every listed backend; incidents oldest first."""

    step_s: float
    backends: dict[str, Track]
    incidents: tuple[PastIncident, ...]


class _Entry(Struct, frozen=True):
    step: int
    state: str
    latency_ms: float | None


class _Incident(Struct, frozen=True):
    at: float
    before: str
    after: str
    reason: str
    text: str


class History:
    """Listens to the registry and stores changes, up to a limit for each backend; a removed backend is forgotten.

    It can be told not to.
    """

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._is_kept = True
        self._entries: dict[str, deque[_Entry]] = {}
        self._incidents: dict[str, deque[_Incident]] = {}
        registry.listen(self._on_change)

    def past(self) -> Past:
        """Return the last hour up to now."""
        now = self._clock()
        last = int(now // STEP_S)
        incidents = [
            PastIncident(
                backend=backend_id,
                from_=i.before,
                to=i.after,
                reason=i.reason,
                text=i.text,
                ago_s=round(now - i.at, 1),
            )
            for backend_id, kept in self._incidents.items()
            for i in kept
        ]
        return Past(
            step_s=STEP_S,
            backends={backend_id: _track(entries, last) for backend_id, entries in self._entries.items()},
            incidents=tuple(sorted(incidents, key=lambda i: -i.ago_s)),
        )

    def keep(self, *, on: bool) -> None:
        """Remember from now on, or forget everything and remember nothing."""
        if on != self._is_kept:
            self._is_kept = on
            self.clear()

    def clear(self) -> None:
        """Forget the past; the present is where it begins anew."""
        self._entries.clear()
        self._incidents.clear()
        if self._is_kept:
            step = int(self._clock() // STEP_S)
            for node in self._registry.snapshot.nodes.values():
                self._record(node, step)

    def _on_change(self, change: Change) -> None:
        if not self._is_kept:
            return
        nodes = self._registry.snapshot.nodes
        step = int(self._clock() // STEP_S)
        for backend_id in change.removed:
            self._entries.pop(backend_id, None)
            self._incidents.pop(backend_id, None)
        for backend_id in {*change.health, *change.shape}:
            if backend_id in nodes:
                self._record(nodes[backend_id], step)
        if change.incident is not None:
            backend_id, before, after = change.incident
            reason = nodes[backend_id].health.reason
            kept = self._incidents.setdefault(backend_id, deque(maxlen=INCIDENTS))
            kept.append(_Incident(self._clock(), before, after, reason.code, reason.text))

    def _record(self, node: Node, step: int) -> None:
        entries = self._entries.setdefault(node.backend.id, deque(maxlen=STEPS))
        if entries and entries[-1].step == step:
            entries.pop()
        state = node.health.state if node.backend.enabled else "disabled"
        entries.append(_Entry(step, state, latency_ms(node.health)))


def _track(entries: deque[_Entry], last: int) -> Track:
    """Spread the entries over all steps, from the first one stored to the present one."""
    first = max(entries[0].step, last - STEPS + 1)
    states: list[str | None] = []
    latencies: list[float | None] = []
    waiting = deque(entries)
    now = waiting.popleft()
    for step in range(first, last + 1):
        while waiting and waiting[0].step <= step:
            now = waiting.popleft()
        states.append(now.state)
        latencies.append(now.latency_ms)
    return Track(tuple(states), tuple(latencies))
