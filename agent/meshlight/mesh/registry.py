"""The single owner of the mesh's live state: takes facts, publishes immutable snapshots."""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import Probe
from meshlight.domain.backend import NOT_CHECKED, OK, Backend, Reason
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
    """Backends that came, or whose settings or models changed."""
    removed: tuple[str, ...] = ()
    incident: tuple[str, State, State] | None = None
    """The backend that changed its state, from, to."""
    fell: tuple[str, str] | None = None
    """A backend and a place or model of it that can't be used any more, though the whole may."""


Listener = Callable[[Change], None]

_RECORDED = ("models", "names", "places", "details", "about", "warnings", "unusable", "degraded")
"""What a probe may learn besides its fact, as the node calls it too."""
NOTES_APART_S = 1.0
"""Every answer of a cloud brings lines about it, and each new snapshot has its price: so many pass unread."""
_PUBLISHED = frozenset({"about", "warnings", "degraded"})
"""What goes with the health in events: it changes often, and the rest is large."""


class Registry:
    """Holds the snapshot; only this class ever makes a new one.

    Listeners are called after the new snapshot is in place, in the order in which they came; none may block.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._snapshot = Snapshot()
        self._listeners: list[Listener] = []
        self._noted: dict[str, float] = {}
        """When lines about a backend were taken last."""

    @property
    def snapshot(self) -> Snapshot:
        """The state now; never changed in place."""
        return self._snapshot

    def now(self) -> float:
        """The registry's clock: monotonic seconds, those of every instant in a snapshot."""
        return self._clock()

    def listen(self, listener: Listener) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    def node(self, backend_id: str) -> Node:
        """Return one backend's node; NotFound when there is none."""
        node = self._snapshot.nodes.get(backend_id)
        if node is None:
            raise NotFound(
                f"No backend has the id {backend_id!r}.", "`meshlight backends list` shows them all."
            )
        return node

    def put(self, backend: Backend, reason: Reason = NOT_CHECKED) -> None:
        """Add a backend, or change its settings; its health is kept unless its address or kind is another.

        `reason` says why nothing is known of a new one.
        """
        old = self._snapshot.nodes.get(backend.id)
        if old is None or _wire(old.backend) != _wire(backend):
            node = Node(backend=backend, health=Health(since=self._clock(), reason=reason))
        elif old.backend == backend:
            return
        elif backend.enabled and not old.backend.enabled:
            # What was believed before the pause is stale: the next probe decides.
            node = replace(old, backend=backend, health=Health(since=self._clock()), parts={})
        else:
            node = replace(old, backend=backend)
        self._publish({**self._snapshot.nodes, backend.id: node}, Change(shape=(backend.id,)))

    def renew(self, backend_id: str) -> None:
        """Forget what was believed of a backend: the next fact decides, as at first."""
        node = replace(self.node(backend_id), health=Health(since=self._clock()), parts={})
        self._publish({**self._snapshot.nodes, backend_id: node}, Change(shape=(backend_id,)))

    def remove(self, backend_id: str) -> None:
        """Forget a backend; unknown ids are none's loss."""
        self._noted.pop(backend_id, None)
        if backend_id in self._snapshot.nodes:
            rest = {key: node for key, node in self._snapshot.nodes.items() if key != backend_id}
            self._publish(rest, Change(removed=(backend_id,)))

    def route_by(self, routing: Routing, uses: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Follow other routing wishes from now on; `uses` says what is used from which peer (see `Snapshot`)."""
        before = offered(self._snapshot)
        self._snapshot = replace(self._snapshot, routing=routing, uses=uses or {})
        after = offered(self._snapshot)
        if before != after:
            pairs = ({(m, i) for m, ids in each.items() for i in ids} for each in (before, after))
            moved = {backend_id for _, backend_id in set.symmetric_difference(*pairs)}
            self._tell(Change(shape=tuple(sorted(moved))))

    def apply(self, backend_id: str, fact: Fact, models: tuple[str, ...] | None = None) -> None:
        """Take one fact about a backend; a fact about one that is gone or switched off is dropped."""
        self._take(backend_id, fact, {} if models is None else {"models": models})

    def apply_to(self, backend_id: str, part: str, fact: Fact) -> None:
        """Take one fact about a place behind a backend, or a model of it, that says nothing of the whole."""
        old = self._snapshot.nodes.get(backend_id)
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
            {**self._snapshot.nodes, backend_id: node}, Change(fell=(backend_id, part) if fell else None)
        )

    def learn(self, backend_id: str, probe: Probe) -> None:
        """Take what a probe saw: its fact, and what became known on the way."""
        known = {key: value for key in _RECORDED if (value := getattr(probe, key)) is not None}
        self._take(backend_id, probe.fact, known)

    def note(self, backend_id: str, about: Mapping[str, str]) -> None:
        """Take labelled lines about a backend that came with an answer; others stay.

        It is done at most once a second for a backend: what comes in between is dropped.
        """
        old = self._snapshot.nodes.get(backend_id)
        now = self._clock()
        if old is None or now - self._noted.get(backend_id, float("-inf")) < NOTES_APART_S:
            return
        if any(old.about.get(label) != line for label, line in about.items()):
            self._noted[backend_id] = now
            node = replace(old, about={**old.about, **about})
            self._publish({**self._snapshot.nodes, backend_id: node}, Change(health=(backend_id,)))

    def _take(self, backend_id: str, fact: Fact, known: Mapping[str, object]) -> None:
        old = self._snapshot.nodes.get(backend_id)
        if old is None or not old.backend.enabled:
            return
        health = observe(old.health, fact, self._clock(), old.backend.ring)
        if health.state == "unhealthy" and "warnings" not in known:
            known = {**known, "warnings": ()}  # they are about a backend that works
        changed = {key for key, value in known.items() if value != getattr(old, key)}
        if health == old.health and not changed:
            return
        node = replace(old, health=health, **{key: known[key] for key in changed})
        if node.parts and "places" in changed:  # those that are gone are forgotten
            present = {place for places in node.places.values() for place in places}
            node = replace(node, parts={key: part for key, part in node.parts.items() if key in present})
        shown = _shown(health) != _shown(old.health) or bool(changed & _PUBLISHED)
        moved = health.state != old.health.state
        self._publish(
            {**self._snapshot.nodes, backend_id: node},
            Change(
                health=(backend_id,) if shown else (),
                shape=(backend_id,) if changed - _PUBLISHED - {"unusable"} else (),
                incident=(backend_id, old.health.state, health.state) if moved else None,
            ),
        )

    def _publish(self, nodes: Mapping[str, Node], change: Change) -> None:
        reshaped = bool(change.shape or change.removed)
        routes = index(nodes) if reshaped else self._snapshot.routes
        self._snapshot = replace(self._snapshot, nodes=nodes, routes=routes)
        if change.health or reshaped or change.incident or change.fell:
            self._tell(change)

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


def _wire(backend: Backend) -> tuple[str, ...]:
    """Return what decides to whom one speaks."""
    return backend.url, backend.kind, backend.access_key


def _shown(health: Health) -> tuple[object, ...]:
    """Return what of a health anybody can see; the tallies behind it are nobody's event."""
    return health.state, health.reason, health.latency_s
