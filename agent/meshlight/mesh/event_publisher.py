"""Publishes changes of the registry and of the traffic counts as numbered events, and makes the snapshot view."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET

from meshlight.domain.api_types import (
    BackendView,
    QueueView,
    RouterView,
    SnapshotView,
    backend_view,
    health_change,
    snapshot_view,
)
from meshlight.domain.clock import CallLater, Clock
from meshlight.domain.events import HealthEvent, IncidentEvent, RefreshEvent, TopologyEvent, TrafficEvent
from meshlight.domain.precedence import offered
from meshlight.domain.snapshot import Node, light
from meshlight.mesh.event_hub import EventHub
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Traffic

TRAFFIC_S = 0.25
LATENCY_S = 1.0
"""Latencies change with every probe, so they are collected for a second. A changed state is published at once."""


class EventPublisher:
    """The publisher of all events about backends, traffic and refreshes.

    `router` and `notices` return what the snapshot view says of the service itself, `findings` how many findings
    there are, and what makes requests suffer, `queue` who waits for a model, `apps` which apps were noticed since it
    was asked last.
    """

    def __init__(  # noqa: PLR0913 - all that events are made of
        self,
        registry: Registry,
        traffic: Traffic,
        hub: EventHub,
        clock: Clock,
        later: CallLater,
        router: Callable[[], RouterView],
        notices: Callable[[], tuple[str, ...]] = tuple,
        findings: Callable[[], tuple[int, str]] = lambda: (0, ""),
        *,
        queue: Callable[[str], QueueView | None] = lambda _: None,
        apps: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._registry = registry
        self._traffic = traffic
        self._hub = hub
        self._clock = clock
        self._later = later
        self._router = router
        self._notices = notices
        self._findings = findings
        self._queue = queue
        self._apps = apps
        self._stale: dict[str, None] = {}
        registry.listen(self._on_change)

    def view(self) -> SnapshotView:
        """Return the whole mesh with the number of the last event that is in it."""
        self._flush_health()
        self._flush_traffic()
        findings, suffering = self._findings()
        return snapshot_view(
            self._registry.snapshot,
            self._hub.seq,
            self._router(),
            self._traffic.by_backend(),
            self._traffic.by_model(),
            self._clock(),
            notices=self._notices(),
            waiting=self._traffic.waiting(),
            findings=findings,
            suffering=suffering,
            queue=self._queue,
            decisions=self._traffic.decisions.latest(),
        )

    def backend(self, backend_id: str) -> BackendView:
        """Return one backend; NotFound when there is none."""
        work = self._traffic.by_backend().get(backend_id)
        return backend_view(self._registry.node(backend_id), work, self._clock())

    def relight(self) -> None:
        """Publish the light, because what makes requests suffer is another than before."""
        self._publish_health([])

    def progress(self, refresh_id: str, done: int, total: int) -> None:
        """Publish how far a refresh is."""
        self._hub.publish(lambda seq: RefreshEvent(seq=seq, id=refresh_id, done=done, total=total))

    def schedule_traffic(self) -> None:
        """Publish the traffic counts in a moment; `Traffic` calls this at the first change after each event."""
        self._later(TRAFFIC_S, self._flush_traffic)

    def _on_change(self, change: Change) -> None:
        if change.shape or change.removed:
            self._flush_traffic()  # the backends carry their counts: what is in them must not follow again
            self._hub.publish(lambda seq: self._topology(seq, change))
        if change.health and not self._hub.has_readers:
            self._publish_health(
                []
            )  # an event is only a number then: no timer has to wake an idle machine for it
        elif change.health:
            if not self._stale:
                self._later(LATENCY_S, self._flush_health)
            self._stale.update(dict.fromkeys(change.health))
        if change.incident is not None:
            self._flush_health()
            backend_id, old, new = change.incident
            reason = self._registry.node(backend_id).health.reason
            self._hub.publish(
                lambda seq: IncidentEvent(
                    seq=seq, backend=backend_id, from_=old, to=new, reason=reason.code, text=reason.text
                )
            )

    def _topology(self, seq: int, change: Change) -> TopologyEvent:
        snapshot = self._registry.snapshot
        nodes = snapshot.nodes
        counts = self._traffic.by_backend()
        now = self._clock()
        views = (backend_view(nodes[key], counts.get(key), now) for key in change.shape if key in nodes)
        colour, reason = light(nodes, self._findings()[1])
        return TopologyEvent(
            seq=seq,
            backends=tuple(views),
            removed=change.removed,
            offered=offered(snapshot),
            light=colour,
            light_reason=reason,
        )

    def _flush_health(self) -> None:
        stale, self._stale = self._stale, {}
        nodes = self._registry.snapshot.nodes
        present = [nodes[key] for key in stale if key in nodes]
        if present:
            self._publish_health(present)

    def _publish_health(self, changed: Sequence[Node]) -> None:
        self._hub.publish(
            lambda seq: _health_event(
                seq, changed, self._clock(), self._registry.snapshot.nodes, self._findings()[1]
            )
        )

    def _flush_traffic(self) -> None:
        routes = self._traffic.drain()
        if routes is not None:
            requests = self._traffic.router.requests()
            waiting = self._traffic.drain_waiting()
            apps = self._apps()
            decisions = self._traffic.decisions.drain(routes)
            self._hub.publish(
                lambda seq: TrafficEvent(
                    seq=seq,
                    routes=routes,
                    router=requests,
                    waiting=waiting or UNSET,
                    queues={m: view for m in waiting if (view := self._queue(m)) is not None} or UNSET,
                    decisions=decisions or UNSET,
                    apps=apps or UNSET,
                )
            )


def _health_event(
    seq: int, changed: Sequence[Node], now: float, nodes: Mapping[str, Node], suffering: str
) -> HealthEvent:
    colour, reason = light(nodes, suffering)
    return HealthEvent(
        seq=seq,
        backends=tuple(health_change(node, now) for node in changed),
        light=colour,
        light_reason=reason,
    )
