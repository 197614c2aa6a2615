"""A relay with everything it needs and nothing else, on a clock that the test moves."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from fake_clock import Clock
from mesh.memory_settings import MemorySettingsStore
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.health import Answered
from meshlight.domain.operations import Operation
from meshlight.domain.rules import Routing
from meshlight.gateway.inference.queue import ModelQueue, told_slots
from meshlight.gateway.inference.relay import Relay
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.http_client.address import Address
from meshlight.http_client.client import Headers, Upstream
from meshlight.http_client.connector import Resolver
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic

JSON = b"application/json"


class Server(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def url(self) -> str: ...


class QuietProber(Prober):
    """Records which backends it was asked to probe soon, and probes none."""

    probed_soon: list[str]

    def probe_soon(self, backend_id: str, *, for_key: bool = False) -> None:  # noqa: ARG002 - a Prober
        self.probed_soon.append(backend_id)


class RecordedAnswer:
    """A sink that records the answer."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = self.is_cut = False
        self.started = asyncio.Event()

    async def start(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode("latin-1") for name, value in headers}
        self.started.set()

    async def write(self, data: bytes) -> None:
        self.body += data

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:  # noqa: ARG002 - a Sink
        return False

    async def end(self, last: bytes = b"") -> None:
        self.body += last
        self.is_whole = True

    def abort(self) -> None:
        self.is_cut = True

    @property
    def who(self) -> str:
        return self.headers["x-meshlight-backend"]


class Rig:
    """The relay with its registry; backends are as healthy as the test says."""

    def __init__(
        self, routing: Routing | None = None, resolver: Resolver | None = None, *, longest: int = 500
    ) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.resolver = resolver
        self.tls: ssl.SSLContext | None = None
        """What connections to `https` addresses trust."""
        self.connect_s = 0.2
        self.idle_s = 2.0
        """How long a connection may be idle and still be used."""
        self.links = BackendConnections(MemorySettingsStore(), self._upstream, self._upstream)
        self.prober = QuietProber(
            self.registry, self.links, self.clock, self.clock.later, lambda _: False, lambda: 0.0
        )
        self.prober.probed_soon = []
        self.traffic = Traffic()
        self.queue = ModelQueue(
            told_slots(self.registry), self.traffic, self.clock, self.clock.later, longest=longest
        )
        self.is_paused: Callable[[], bool] = lambda: False
        self.relay = Relay(
            self.registry,
            self.links,
            self.prober,
            self.traffic,
            self.clock,
            "this-node",
            is_paused=lambda: self.is_paused(),  # noqa: PLW0108 - tests put another one there
            queue=self.queue,
        )
        self.registry.route_by(routing or Routing(policy="priority"))

    def add(self, server: Server, *models: str, **fields: Any) -> None:
        """Put a backend into the mesh, healthy, after those that are there."""
        position = len(self.registry.snapshot.nodes)
        settings = {"kind": server.kind, "ring": "machine", "url": server.url, "priority": position} | fields
        self.registry.put(Backend(id=server.name, name=server.name, **settings))
        self.registry.record_fact(server.name, Answered(0.01), models or ("m",))

    async def send(
        self,
        operation: Operation = "chat/completions",
        model: str = "m",
        disconnect: DisconnectListeners | None = None,
        **fields: Any,
    ) -> RecordedAnswer:
        """Send one request through; raises what the relay raises."""
        body = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "hi"}]} | fields)
        answer = RecordedAnswer()
        await self.relay.run(
            self.inbound(operation, model, body, **fields), answer, disconnect or DisconnectListeners()
        )
        return answer

    def encoded(self, body: object) -> bytes:
        return msgspec.json.encode(body)

    def inbound(self, operation: Operation, model: str, body: bytes, **fields: Any) -> InferenceRequest:
        return InferenceRequest(
            operation=operation,
            target=f"/v1/{operation}",
            headers=((b"content-type", JSON),),
            content_type=JSON,
            body=body,
            head=Head(model, store=fields.get("store", False)),
        )

    def state(self, name: str) -> tuple[str, str]:
        health = self.registry.node(name).health
        return health.state, health.reason.code

    def _upstream(self, address: Address, backend: Backend | None = None) -> Upstream:  # noqa: ARG002
        return Upstream(
            address,
            connect_timeout_s=self.connect_s,
            idle_expiry_s=self.idle_s,
            resolver=self.resolver,
            tls=self.tls if address.scheme == "https" else None,
        )
