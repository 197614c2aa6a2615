"""Backends that answer as a test wills, with links, prober and traffic around them, on the stage's clock."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from fake_clock import FakeClock
from meshlight.domain.backend import Backend
from meshlight.domain.errors import ConnectError, SecretError
from meshlight.http_client.address import Address, parse_address
from meshlight.http_client.client import Headers, Reply, Upstream
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.prober import BackendSync, Prober

REFUSED = ConnectError("refused", "Connection refused.")
LOADING = b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'

DETAILS = frozenset({"/props", "/slots", "/version", "/api/ps", "/api/version"})
"""What engines are asked beside the probe: here nobody answers it, and it is not counted."""


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    """An answer of llama.cpp's."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Reply(status, ((b"server", b"llama.cpp"), *named), content, 0.010, reused=True)


def models(*names: str) -> Reply:
    """A list of models."""
    return reply({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def opened(address: Address, backend: Backend | None = None, /) -> Upstream:  # noqa: ARG001 - an Opens
    """A real client."""
    return Upstream(address)


Answer = Reply | Exception | None


class Wire:
    """Plays the way to one server. `says` is its answer; with None it hangs until `release`."""

    def __init__(self, address: Address, clock: Callable[[], float]) -> None:
        self.address = address
        self.says: Answer = models("m")
        self.asked: list[float] = []
        """When each question came."""
        self.keys: list[bytes] = []
        """The credentials that came with them."""
        self.given_up = 0
        self.is_closed = False
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []

    async def fetch(self, method: str, path: str, *, headers: Headers = (), **_: Any) -> Reply:
        del method
        if path in DETAILS:
            return reply(b"", 404)
        self.asked.append(self._clock())
        self.keys.append(dict(headers).get(b"authorization", b""))
        while self.says is None:
            gate = asyncio.get_running_loop().create_future()
            self._waiting.append(gate)
            try:
                await gate
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def release(self, says: Answer) -> None:
        """Answer all that hang."""
        self.says = says
        waiting, self._waiting = self._waiting, []
        for gate in waiting:
            if not gate.done():
                gate.set_result(None)

    def close(self) -> None:
        self.is_closed = True


class Purse:
    """Holds secrets, or can't be opened."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.locked: SecretError | None = None
        self.retries = 0

    async def secret(self, backend_id: str, origin: str) -> str | None:
        if self.locked is not None:
            raise self.locked
        if self.origins.get(backend_id, origin) != origin:
            raise SecretError("other-address", "The key was given for another address.", "Give it again.")
        return self.kept.get(backend_id)

    def retry_secrets(self) -> None:
        self.retries += 1


class Room(FakeClock):
    """A stage with a prober on it; `busy` holds the backends on which requests run."""

    def __init__(self, spread: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.purse = Purse()
        self.busy: set[str] = set()
        self.wires: dict[str, Wire] = {}
        self.links = BackendConnections(self.purse, self.upstream, self.upstream)
        self.prober = Prober(
            self.registry, self.links, self.clock, self.clock.later, self.busy.__contains__, spread
        )
        BackendSync(self.registry, self.links, self.prober, self.traffic)

    def wire(self, url: str) -> Wire:
        """The way to a URL."""
        address = parse_address(url)
        return self.wires.setdefault(address.url, Wire(address, self.clock))

    def upstream(self, address: Address, backend: Backend | None = None, /) -> Upstream:  # noqa: ARG002 - an Opens
        return cast("Upstream", self.wire(address.url))

    def put(self, backend: Backend, says: Answer) -> Wire:
        """Add a backend that answers so."""
        wire = self.wire(backend.url)
        wire.says = says
        self.registry.put(backend)
        return wire

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
