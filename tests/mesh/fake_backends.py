"""Backends that answer as a test wants, with connections, prober and traffic around them, on a fake clock."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from fake_clock import FakeMesh
from mesh.memory_settings import MemorySettingsStore
from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.errors import ConnectError
from meshlight.http_client.address import Address, parse_address
from meshlight.http_client.client import Headers, Reply, Upstream
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.prober import BackendSync, Prober

REFUSED = ConnectError("refused", "Connection refused.")
LOADING = b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'

DETAILS = frozenset({"/props", "/slots", "/version", "/metrics", "/api/ps", "/api/version"})
"""What engines are asked beside the probe: here nobody answers it, and it is not counted."""


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    """An answer of llama.cpp's."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Reply(status, ((b"server", b"llama.cpp"), *named), content, 0.010, reused=True)


def models(*names: str) -> Reply:
    """A list of models."""
    return reply({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def opened(address: Address, backend: Backend | None = None, /) -> Upstream:  # noqa: ARG001 - a ClientFactory
    """A real client."""
    return Upstream(address)


Answer = Reply | Exception | None


class FakeUpstream:
    """A client of one server. `answer` is the server's; with None it hangs until `release`."""

    def __init__(self, address: Address, clock: Callable[[], float]) -> None:
        self.address = address
        self.answer: Answer = models("m")
        self.requests: list[float] = []
        """When each request came."""
        self.keys: list[bytes] = []
        """The credentials that came with them."""
        self.cancelled = 0
        self.is_closed = False
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []

    def share_room(self, other: "FakeUpstream") -> None:
        """Do nothing: it has no connections."""

    async def fetch(self, method: str, path: str, *, headers: Headers = (), **_: Any) -> Reply:
        del method
        if path in DETAILS:
            return reply(b"", 404)
        self.requests.append(self._clock())
        self.keys.append(dict(headers).get(b"authorization", b""))
        while self.answer is None:
            gate = asyncio.get_running_loop().create_future()
            self._waiting.append(gate)
            try:
                await gate
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def release(self, answer: Answer) -> None:
        """Answer all that hang."""
        self.answer = answer
        waiting, self._waiting = self._waiting, []
        for gate in waiting:
            if not gate.done():
                gate.set_result(None)

    def close(self) -> None:
        self.is_closed = True


class FakeBackends(FakeMesh):
    """A mesh with a prober; `busy` holds the backends on which requests run."""

    def __init__(self, spread: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.store = MemorySettingsStore(on_change=self._follow)
        self.busy: set[str] = set()
        self.upstreams: dict[str, FakeUpstream] = {}
        self.connections = BackendConnections(
            self.store,
            self.upstream,
            self.upstream,
            probe_soon=lambda backend_id: self.prober.probe_soon(backend_id),  # noqa: PLW0108 - made below
            on_part_fact=self.registry.record_part_fact,
        )
        self.prober = Prober(
            self.registry, self.connections, self.clock, self.clock.later, self.busy.__contains__, spread
        )
        BackendSync(self.registry, self.connections, self.prober, self.traffic)

    def _follow(self, config: Config) -> None:
        """Bring the mesh to the configuration; nothing to do without a `BackendAdmin`."""

    def upstream_of(self, url: str) -> FakeUpstream:
        """The client of a URL."""
        address = parse_address(url)
        return self.upstreams.setdefault(address.url, FakeUpstream(address, self.clock))

    def upstream(self, address: Address, backend: Backend | None = None, /) -> Upstream:  # noqa: ARG002 - a ClientFactory
        return cast("Upstream", self.upstream_of(address.url))

    def put(self, backend: Backend, answer: Answer) -> FakeUpstream:
        """Add a backend that answers so."""
        upstream = self.upstream_of(backend.url)
        upstream.answer = answer
        self.registry.put(backend)
        return upstream

    async def live(self, seconds: float) -> None:
        """Let time pass in small steps, and whatever falls due happen."""
        await settle()
        for _ in range(round(seconds / 0.25)):
            self.clock.pass_time(0.25)
            await settle()

    def state(self, backend_id: str) -> tuple[str, str]:
        health = self.registry.node(backend_id).health
        return health.state, health.reason.code


async def settle() -> None:
    """Let everything run that waits for nothing."""
    for _ in range(12):
        await asyncio.sleep(0)
