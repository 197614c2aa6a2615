"""This machine's own models: each runs in an engine of its own, which a request starts."""

from typing import ClassVar

from meshlight.backends.base import (
    BackendKind,
    Channel,
    ChannelDeps,
    DetectedEngine,
    Field,
    Group,
    HttpClient,
    LocalRoutes,
    ModelRoute,
    Probe,
)
from meshlight.backends.engines.llamacpp import LlamaCpp
from meshlight.domain.backend import Backend, Reason, Ring
from meshlight.domain.health import Failed
from meshlight.domain.local_models import LOCAL_ID, Demand
from meshlight.domain.operations import Operation

URL = "http://this-machine.invalid"
"""Stands where other backends have their address; nothing is ever sent there, and the name can't be resolved."""
FIRST_BYTE_S = 1_800.0
"""A request waits as long as its model may take to load."""
_OFF = Reason(
    "local-off",
    "This machine's own models are switched off.",
    "Set `enabled = true` under [local] in the configuration.",
)


class ThisMachine(BackendKind):
    """Its engines are started and ended by the service itself; all of them speak llama.cpp's or OpenAI's API."""

    kind = "local"
    label = "This machine"
    about = "models on this machine's disks, loaded when they are needed"
    group: ClassVar[Group] = "local"
    start = "Start it by `[local] enabled = true`"
    default_ring: ClassVar[Ring | None] = "machine"
    takes_models: ClassVar[bool] = False
    can_load: ClassVar[bool] = True
    operations: ClassVar[frozenset[Operation]] = LlamaCpp.operations

    @property
    def fields(self) -> tuple[Field, ...]:
        """None: it is there by itself."""
        return ()

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """Detect nothing: its engines are known."""
        del upstream
        return None

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Say that it is off: where it is on, its channel answers."""
        del upstream, backend, secret
        return Probe(fact=Failed(_OFF))

    def open_channel(self, deps: ChannelDeps) -> Channel | None:
        """Ask the models of this machine."""
        return None if deps.local is None else LocalChannel(deps.local)


class LocalChannel(Channel):
    """Hands probes and requests to the owner of the engines."""

    def __init__(self, local: LocalRoutes) -> None:
        self._local = local

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Return what is known; nothing is sent."""
        del backend, secret
        return self._local.probe()

    async def route(self, model: str, secret: str | None) -> ModelRoute | None:
        """Return the route to a model's engine, for a request that brings nothing with it."""
        del secret
        return await self.route_for(model, Demand())

    async def route_for(self, model: str, demand: Demand) -> ModelRoute:
        """Return the route to a model's engine, started if need be; raises RouteUnavailable with the reason."""
        return await self._local.route(model, demand)

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """Return the route to a model's engine if it runs."""
        return self._local.route_now(model, demand)

    async def why_lost(self, model: str, route: ModelRoute) -> Reason | None:
        """Return why the engine behind a route has ended."""
        return await self._local.why_lost(model, route.upstream)


def this_machine() -> Backend:
    """Return the backend itself, which is in no configuration."""
    return Backend(
        id=LOCAL_ID,
        name=ThisMachine.label,
        kind="local",
        ring="machine",
        url=URL,
        source="own",
        first_byte_s=FIRST_BYTE_S,
    )
