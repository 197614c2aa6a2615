"""A mesh that lives without a network: seeded views, numbered events about them, and made-up traffic."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from meshlight.domain.api_types import (
    BackendView,
    HealthChange,
    ModelView,
    Requests,
    RouterView,
    SnapshotView,
)
from meshlight.domain.events import (
    EVENT_NAMES,
    Event,
    HealthEvent,
    IncidentEvent,
    LocalEvent,
    PeersEvent,
    RefreshEvent,
    RouteTraffic,
    TopologyEvent,
    TrafficEvent,
)
from meshlight.domain.health import State
from meshlight.domain.local_views import LocalView
from meshlight.domain.peers import PeersView
from meshlight.domain.snapshot import Light
from web.sample_mesh import health

Route = tuple[str, str]
"""Backend and model."""


NOBODY = PeersView(
    node_id="",
    short="",
    name="desk",
    visible=False,
    browse=True,
    port=0,
    door=0,
    problem="",
    peers=(),
    seen=(),
    pairing=None,
)


class LiveMesh:
    """The views, what happened to them, and who listens."""

    def __init__(self, views: list[BackendView]) -> None:
        self.views = {v.id: v for v in views}
        self.seq = 1
        self.peers = NOBODY
        self.local = LocalView(enabled=False)
        """This machine's own models."""
        self.notices: tuple[str, ...] = ()
        self.offered: dict[str, tuple[str, ...]] = {}
        """Models that backends offer and are not used for."""
        self.requests = Requests(total=48_211, successful=47_950, failed=261)
        self.listeners: set[asyncio.Queue[bytes]] = set()
        self.past: list[tuple[float, IncidentEvent]] = []
        """The changes of state, each with its instant of the monotonic clock."""
        self.dice = random.Random(11)  # noqa: S311 - for looks, not for secrets

    @property
    def _light(self) -> Light:
        return "amber" if any(v.health.state == "unhealthy" for v in self.views.values()) else "green"

    def snapshot(self) -> SnapshotView:
        """Return the whole mesh."""
        routes: dict[str, list[str]] = {}
        for view in self.views.values():
            for model in view.models if view.enabled else ():
                routes.setdefault(model, []).append(view.id)
        return SnapshotView(
            seq=self.seq,
            router=RouterView(
                node_id="n-1",
                name="desk",
                version="0.1.0",
                status="running",
                uptime_s=8_100,
                requests=self.requests,
            ),
            light=self._light,
            light_reason="1 of 10 down",
            backends=tuple(self.views.values()),
            models=tuple(ModelView(id=m, backends=tuple(ids)) for m, ids in routes.items()),
            offered=self.offered,
            notices=self.notices,
        )

    def publish(self, make: Callable[[int], Event]) -> None:
        """Number one event and send it to every listener."""
        self.seq += 1
        self.send(make(self.seq))

    def send(self, event: Event | SnapshotView) -> None:
        """Send an event as it is."""
        name = "snapshot" if isinstance(event, SnapshotView) else EVENT_NAMES[type(event)]
        frame = f"id: {event.seq}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"
        for queue in self.listeners:
            queue.put_nowait(frame)

    def history(self) -> dict[str, object]:
        """Return what the service would remember: here, the changes of state alone."""
        now = time.monotonic()
        told = [{**msgspec.to_builtins(event), "ago_s": now - at} for at, event in self.past]
        return {"step_s": 5, "backends": {}, "incidents": told}

    def become(self, ident: str, state: State) -> None:
        """Let one backend change its state, and tell it as the service does."""
        old = self.views[ident]
        new = replace(
            old, health=health(state, old.url, 0.0), latency_ms=old.latency_ms if state == "healthy" else None
        )
        self.views[ident] = new
        self.tell(new)
        self.publish(lambda seq: self._incident(seq, old, new))

    def _incident(self, seq: int, old: BackendView, new: BackendView) -> IncidentEvent:
        reason = new.health
        event = IncidentEvent(
            seq=seq,
            backend=new.id,
            from_=old.health.state,
            to=reason.state,
            reason=reason.reason,
            text=reason.text,
        )
        self.past.append((time.monotonic(), event))
        return event

    def tell(self, *views: BackendView) -> None:
        """Send the health of these backends."""
        changes = tuple(
            HealthChange(
                id=v.id,
                enabled=v.enabled,
                health=v.health,
                latency_ms=v.latency_ms,
                about=v.about,
                warnings=v.warnings,
                degraded=v.degraded,
            )
            for v in views
        )
        self.publish(
            lambda seq: HealthEvent(seq=seq, light=self._light, light_reason="1 of 10 down", backends=changes)
        )

    def put(self, view: BackendView) -> None:
        """Add or change a backend."""
        self.views[view.id] = view
        self.publish(lambda seq: TopologyEvent(seq=seq, backends=(view,), offered=self.offered))

    def offer(self, offered: dict[str, tuple[str, ...]]) -> None:
        """Change what is offered and not used."""
        self.offered = offered
        self.publish(lambda seq: TopologyEvent(seq=seq, backends=(), offered=offered))

    def use(self, model: str, ident: str) -> None:
        """Use a backend for a model that it only offers."""
        rest = {m: tuple(i for i in ids if (m, i) != (model, ident)) for m, ids in self.offered.items()}
        self.offer({m: ids for m, ids in rest.items() if ids})

    def meet(self, **changed: object) -> None:
        """Change what is known of other Meshlights."""
        self.peers = replace(self.peers, **changed)
        self.publish(lambda seq: PeersEvent(seq=seq, peers=self.peers))

    def own(self, local: LocalView) -> None:
        """Change this machine's models, and tell what an event tells of them."""
        before = {m.id: m for m in self.local.models}
        now = {m.id: m for m in local.models}
        is_other = (local.runners, local.stores, local.rejected, now.keys()) != (
            self.local.runners,
            self.local.stores,
            self.local.rejected,
            before.keys(),
        )
        self.local = local = replace(local, revision=self.local.revision + is_other)
        self.publish(
            lambda seq: LocalEvent(
                seq=seq,
                models=tuple(m for m in local.models if before.get(m.id) != m),
                removed=tuple(before.keys() - now.keys()),
                memory=local.memory,
                downloads=local.downloads,
                revision=local.revision,
            )
        )

    def remove(self, ident: str) -> None:
        """Take a backend away."""
        self.views.pop(ident)
        self.publish(lambda seq: TopologyEvent(seq=seq, backends=(), removed=(ident,), offered=self.offered))

    def flow(self, *routes: RouteTraffic, **more: Any) -> None:
        """Send one traffic event; `more` are further fields of it."""
        r = self.requests
        started, ok, failed = (sum(getattr(t, f) for t in routes) for f in ("started", "ok", "failed"))
        self.requests = Requests(
            total=r.total + started,
            successful=r.successful + ok,
            failed=r.failed + failed,
            in_flight=max(0, r.in_flight + started - ok - failed),
        )
        self.publish(lambda seq: TrafficEvent(seq=seq, routes=routes, router=self.requests, **more))

    async def breathe(self, every_s: float) -> None:
        """Let every latency wander a little, for ever."""
        while True:
            await asyncio.sleep(every_s)
            for view in list(self.views.values()):
                if view.latency_ms is not None:
                    wandered = round(max(1.0, view.latency_ms * self.dice.uniform(0.93, 1.075)), 1)
                    self.views[view.id] = replace(view, latency_ms=wandered)
            self.tell(*self.views.values())

    async def serve_requests(self, a_second: float) -> None:
        """Make up requests, for ever; one of twelve fails."""
        flying: list[Route] = []
        while True:
            await asyncio.sleep(0.25)
            over = [route for route in flying if self.dice.random() < 0.3]
            for route in over:
                flying.remove(route)
            failed = [route for route in over if self.dice.random() < 0.08]
            begun = [self._some_route() for _ in range(int(a_second / 4 + self.dice.random()))]
            flying += begun
            routes = [
                RouteTraffic(
                    backend=route[0],
                    model=route[1],
                    started=begun.count(route),
                    ok=over.count(route) - failed.count(route),
                    failed=failed.count(route),
                    in_flight=flying.count(route),
                )
                for route in {*over, *begun}
            ]
            if routes:
                self.flow(*routes)

    def _some_route(self) -> Route:
        """Pick a route; the first backends and models are asked more often."""
        well = [v for v in self.views.values() if v.health.state == "healthy" and v.enabled and v.models]
        view = well[int(len(well) * self.dice.random() ** 2.2)]
        return view.id, view.models[int(len(view.models) * self.dice.random() ** 2)]

    async def refresh(self) -> None:
        """Check every backend, one after the other."""
        total = len(self.views)
        for done in range(total + 1):
            self.publish(lambda seq, done=done: RefreshEvent(seq=seq, id="r1", done=done, total=total))  # type: ignore[misc]
            await asyncio.sleep(0.08)
