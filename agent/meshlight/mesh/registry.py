"""The single owner of the mesh's live state: records facts, publishes immutable snapshots."""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import Probe
from meshlight.domain.api_types import latency_ms
from meshlight.domain.backend import NOT_CHECKED, OK, Backend, Reason
from meshlight.domain.clock import Clock
from meshlight.domain.errors import NotFound
from meshlight.domain.health import Fact, Health, State, observe, observe_part
from meshlight.domain.precedence import offered
from meshlight.domain.rules import Routing
from meshlight.domain.snapshot import Node, Snapshot, index


class Change(Struct, frozen=True, kw_only=True):
    """What a new snapshot brought."""

    health: tuple[str, ...] = ()
    """Backends whose health or latency changed."""
    shape: tuple[str, ...] = ()
    """Backends that were added, or whose settings or models changed."""
    removed: tuple[str, ...] = ()
    incident: tuple[str, State, State] | None = None
    """The backend that changed its state, from, to."""
    fell: tuple[str, str] | None = None
    """A backend, and a place or model of it that can't be used any more while the rest of it can."""


Listener = Callable[[Change], None]

_RECORDED = (
    "models",
    "names",
    "places",
    "details",
    "details_at",
    "about",
    "warnings",
    "unusable",
    "degraded",
    "can_load",
)
"""What a probe may return besides its fact; these are fields of both `Probe` and `Node`."""
_SILENT = frozenset({"unusable", "details_at"})
"""What changes nothing that is shown."""
ABOUT_GAP_S = 1.0
"""Every response of a cloud has lines about it, and each new snapshot costs time, so most are dropped."""
_PUBLISHED = frozenset({"about", "warnings", "degraded"})
"""What is published with the health: it changes often, while the rest is large."""


class Registry:
    """Holds the snapshot; only this class makes new ones.

    Listeners are called once the new snapshot is in place, in the order in which they were added; none may block.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.snapshot = Snapshot()
        """The state now; never changed in place."""
        self._listeners: list[Listener] = []
        self._about_recorded_at: dict[str, float] = {}
        """When lines about a backend were recorded last."""

    def now(self) -> float:
        """The registry's clock: monotonic seconds, those of every instant in a snapshot."""
        return self._clock()

    def listen(self, listener: Listener) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    def node(self, backend_id: str) -> Node:
        """Return one backend's node; NotFound when there is none."""
        node = self.snapshot.nodes.get(backend_id)
        if node is None:
            raise NotFound(
                f"No backend has the id {backend_id!r}.", "`meshlight backends list` shows them all."
            )
        return node

    def put(self, backend: Backend, reason: Reason = NOT_CHECKED) -> None:
        """Add a backend, or change its settings; its health stays unless its address or kind is another.

        `reason` says why a new one's health is unknown.
        """
        old = self.snapshot.nodes.get(backend.id)
        if old is None or _identity(old.backend) != _identity(backend):
            node = Node(backend=backend, health=Health(since=self._clock(), reason=reason))
        elif old.backend == backend:
            return
        elif backend.enabled and not old.backend.enabled:
            # What was recorded before the pause is stale: the next probe decides.
            node = replace(old, backend=backend, health=Health(since=self._clock()), parts={})
        else:
            node = replace(old, backend=backend)
        self._publish({**self.snapshot.nodes, backend.id: node}, Change(shape=(backend.id,)))

    def renew(self, backend_id: str) -> None:
        """Reset a backend's health to unknown: the next fact decides."""
        node = replace(self.node(backend_id), health=Health(since=self._clock()), parts={})
        self._publish({**self.snapshot.nodes, backend_id: node}, Change(shape=(backend_id,)))

    def remove(self, backend_id: str) -> None:
        """Remove a backend; an unknown id is ignored."""
        self._about_recorded_at.pop(backend_id, None)
        if backend_id in self.snapshot.nodes:
            rest = {key: node for key, node in self.snapshot.nodes.items() if key != backend_id}
            self._publish(rest, Change(removed=(backend_id,)))

    def route_by(self, routing: Routing, uses: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Set the routing; `uses` says which models are used from which peer (see `Snapshot`)."""
        before = offered(self.snapshot)
        self.snapshot = replace(self.snapshot, routing=routing, uses=uses or {})
        after = offered(self.snapshot)
        if before != after:
            pairs = ({(m, i) for m, ids in each.items() for i in ids} for each in (before, after))
            moved = {backend_id for _, backend_id in set.symmetric_difference(*pairs)}
            self._notify(Change(shape=tuple(sorted(moved))))

    def record_fact(self, backend_id: str, fact: Fact, models: tuple[str, ...] | None = None) -> None:
        """Record a fact about a backend; one about a backend that is gone or switched off is dropped."""
        self._record(backend_id, fact, {} if models is None else {"models": models})

    def record_part_fact(self, backend_id: str, part: str, fact: Fact) -> None:
        """Record a fact about a place behind a backend, or a model of it, that says nothing about the rest of it."""
        old = self.snapshot.nodes.get(backend_id)
        if old is None or not old.backend.enabled:
            return
        known = old.parts.get(part)
        now = self._clock()
        before = known or Health(state="healthy", reason=OK, since=now)
        health = observe_part(before, fact, now, old.backend.ring)
        if health == before:
            return
        rest = {key: value for key, value in old.parts.items() if key != part}
        node = replace(old, parts=rest if health.is_spotless else {**rest, part: health})
        fell = health.state == "unhealthy" and before.state != "unhealthy"
        self._publish(
            {**self.snapshot.nodes, backend_id: node}, Change(fell=(backend_id, part) if fell else None)
        )

    def record_probe(self, backend_id: str, probe: Probe) -> None:
        """Record the result of a probe: its fact, and what else it returned."""
        known = {key: value for key in _RECORDED if (value := getattr(probe, key)) is not None}
        if probe.details is not None and probe.details_at is None:
            known["details_at"] = self._clock()
        self._record(backend_id, probe.fact, known)

    def record_about(self, backend_id: str, about: Mapping[str, str]) -> None:
        """Record labelled lines about a backend that came with a response; its other lines stay.

        At most once a second for a backend: what comes in between is dropped.
        """
        old = self.snapshot.nodes.get(backend_id)
        now = self._clock()
        if old is None or now - self._about_recorded_at.get(backend_id, float("-inf")) < ABOUT_GAP_S:
            return
        if any(old.about.get(label) != line for label, line in about.items()):
            self._about_recorded_at[backend_id] = now
            node = replace(old, about={**old.about, **about})
            self._publish({**self.snapshot.nodes, backend_id: node}, Change(health=(backend_id,)))

    def record_slow(self, slow: Mapping[str, str]) -> None:
        """Record which backends are slower than usual, each with a sentence; all others are not."""
        nodes = self.snapshot.nodes
        changed = {key: node for key, node in nodes.items() if node.slow != slow.get(key, "")}
        if changed:
            renewed = {key: replace(node, slow=slow.get(key, "")) for key, node in changed.items()}
            self._publish({**nodes, **renewed}, Change(health=tuple(changed)))

    def _record(self, backend_id: str, fact: Fact, known: Mapping[str, object]) -> None:
        old = self.snapshot.nodes.get(backend_id)
        if old is None or not old.backend.enabled:
            return
        health = observe(old.health, fact, self._clock(), old.backend.ring)
        if health.state == "unhealthy" and "warnings" not in known:
            known = {**known, "warnings": ()}  # warnings are about a backend that works
        changed = {key for key, value in known.items() if value != getattr(old, key)}
        if health == old.health and not changed:
            return
        node = replace(old, health=health, **{key: known[key] for key in changed})
        if node.parts and "places" in changed:  # places that are gone are forgotten
            present = {place for places in node.places.values() for place in places}
            node = replace(node, parts={key: part for key, part in node.parts.items() if key in present})
        shown = bool(changed & _PUBLISHED) or not _is_shown_alike(health, old.health)
        moved = health.state != old.health.state
        self._publish(
            {**self.snapshot.nodes, backend_id: node},
            Change(
                health=(backend_id,) if shown else (),
                shape=(backend_id,) if changed - _PUBLISHED - _SILENT else (),
                incident=(backend_id, old.health.state, health.state) if moved else None,
            ),
        )

    def _publish(self, nodes: Mapping[str, Node], change: Change) -> None:
        reshaped = bool(change.shape or change.removed)
        routes = index(nodes) if reshaped else self.snapshot.routes
        self.snapshot = replace(self.snapshot, nodes=nodes, routes=routes)
        if change.health or reshaped or change.incident or change.fell:
            self._notify(change)

    def _notify(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


def _identity(backend: Backend) -> tuple[str, ...]:
    """Return what a backend's health belongs to."""
    return backend.url, backend.kind, backend.access_key


def _is_shown_alike(health: Health, old: Health) -> bool:
    """Whether two healths look the same to people; a change of the counters behind them is no event."""
    return (
        health.state == old.state
        and latency_ms(health) == latency_ms(old)
        and (health.reason is old.reason or health.reason == old.reason)
    )
