"""A small HTTP server that imitates one engine, for the demo and for the tests."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from meshlight.domain.backend import Kind
from meshlight.simulator.clouds.anthropic import answer_without_key
from meshlight.simulator.clouds.errors import anthropic_error
from meshlight.simulator.fault_control import Control
from meshlight.simulator.faults import Fault, FaultKind, FaultSwitch
from meshlight.simulator.http.connection import Connection
from meshlight.simulator.http.listener import Listener
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.http.writer import deliver, instead, spoil
from meshlight.simulator.profile import Dialect, EngineFacts, Habit
from meshlight.simulator.profiles import PROFILES
from meshlight.simulator.protocols.text import Pace, Speech
from meshlight.simulator.request_log import LoggedRequest, RequestLog
from meshlight.simulator.routes import answer, has_key

DEFAULT_MODELS = ("llama-3.2-3b",)
MESSAGES = "/v1/messages"
WAIT_S = 30.0


class SimulatedEngine:
    """Imitates one engine on a loopback port: `async with SimulatedEngine("vllm") as engine:`.

    `habit` makes it refuse what a strict provider refuses, or answer as carelessly as a small server does. Without
    `has_messages` it is an older version, which lacks Anthropic's Messages API.
    `request_log.entries` holds the requests. Every wait (`received`, `abandoned`, `idle`, …) raises TimeoutError
    after `within_s` seconds, with the numbers that it has instead.
    """

    def __init__(  # noqa: PLR0913  # a caller names the few it needs
        self,
        dialect: Dialect,
        name: str = "",
        models: Sequence[str] = DEFAULT_MODELS,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        control_port: int | None = 0,
        key: str | None = None,
        speed: float | None = None,
        first_token_s: float = 0.0,
        length: int | None = None,
        pace: Pace = asyncio.sleep,
        idle_s: float | None = None,
        keep: int | None = None,
        habit: Habit | None = None,
        context: int | None = None,
        has_messages: bool = True,
    ) -> None:
        profile = PROFILES[dialect]
        if not has_messages:
            profile = replace(profile, has_messages=False)
        speech = Speech(speed=speed, first_token_s=first_token_s, length=length, pace=pace)
        self.dialect = dialect
        self.name = name or f"demo {profile.label}"
        self.key = key
        self.switch = FaultSwitch()
        self.request_log = RequestLog(keep)
        self.facts = EngineFacts(profile, self.name, tuple(models), speech, self.request_log, habit, context)
        idle = profile.idle_s if idle_s is None else idle_s
        self._listener = Listener(host, self._serve, self.request_log, idle)
        self._listener.port = port
        self._control: Listener | None = None
        if control_port is not None:
            self._control = Listener(host, Control(self).serve, RequestLog(keep=0))
            self._control.port = control_port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # start and stop

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen, after a stop on the same port as before.

        If a requested port is taken, raises OSError, or uses a free one with `anywhere`.
        """
        await self._listener.open(anywhere=anywhere)
        if self._refuses:
            await self._listener.shut()
        if self._control is not None:
            try:
                await self._control.open(anywhere=anywhere)
            except OSError:
                await self._listener.close()
                raise

    async def stop(self) -> None:
        """Stop as a killed process does: every connection is dropped. Leaves no task and no socket."""
        await self._listener.close()
        if self._control is not None:
            await self._control.close()

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        return f"http://{self._listener.authority}"

    @property
    def port(self) -> int:
        """Its port; 0 before the first start if none was given."""
        return self._listener.port

    @property
    def control_url(self) -> str:
        """The URL of its fault switch: `POST`, `GET` and `DELETE` of `/fault`; raises RuntimeError if it has none."""
        if self._control is None:
            raise RuntimeError(f"{self.name} was made without a fault switch (control_port=None)")
        return f"http://{self._control.authority}"

    @property
    def models(self) -> tuple[str, ...]:
        """The ids it serves; may be set while it runs, as if somebody pulled or removed a model."""
        return self.facts.models

    @models.setter
    def models(self, ids: Sequence[str]) -> None:
        self.facts.models = tuple(ids)

    @property
    def kind(self) -> Kind:
        """The kind of backend that the mesh detects."""
        return self.facts.profile.kind

    @property
    def label(self) -> str:
        """The name of the engine that it imitates."""
        return self.facts.profile.label

    # faults

    async def fault(self, kind: FaultKind, **details: Any) -> None:
        """Switch a fault on in place of any other; `details` are the fields of `Fault`.

        Raises TypeError for an unknown field, ValueError for values that contradict each other.
        """
        await self.set_fault(Fault(kind=kind, **details))

    async def set_fault(self, fault: Fault) -> None:
        """Switch a fault on in place of any other; it applies to requests that arrive from now on."""
        if fault.kind == "refuse":
            await self._listener.shut()
        elif self._refuses:
            await self._listener.open()
        self.switch.turn_on(fault)

    async def clear(self) -> None:
        """Switch the fault off; a request that hangs already keeps hanging, as with a real engine."""
        if self._refuses:
            await self._listener.open()
        self.switch.turn_off()

    def hang_up(self) -> int:
        """Close the idle keep-alive connections; return how many there were."""
        return self._listener.hang_up()

    # requests and connections

    @property
    def requests(self) -> list[LoggedRequest]:
        """The logged requests, oldest first."""
        return list(self.request_log.entries)

    @property
    def in_flight(self) -> int:
        """The number of requests being answered now, including those that hang."""
        return self.request_log.in_flight

    def calls(self, path: str = "/v1/") -> list[LoggedRequest]:
        """Return the logged POST requests to paths that begin with `path`: inference, without probes."""
        return [
            logged
            for logged in self.request_log.entries
            if logged.method == "POST" and logged.path.startswith(path)
        ]

    async def received(self, count: int = 1, path: str = "", within_s: float = WAIT_S) -> list[LoggedRequest]:
        """Wait until `count` requests to `path…` were received completely, and return those still logged."""
        request_log = self.request_log
        await request_log.until(
            lambda: request_log.count(path) >= count,
            lambda: (
                f"{request_log.count(path)} of {count} requests to {path or 'any path'} came to {self.name}"
            ),
            within_s,
        )
        return [logged for logged in request_log.entries if logged.path.startswith(path)]

    async def abandoned(
        self, count: int = 1, path: str = "", within_s: float = WAIT_S
    ) -> list[LoggedRequest]:
        """Wait until the clients of `count` requests have disconnected before the end of the answer; return those."""
        request_log = self.request_log
        await request_log.until(
            lambda: request_log.count_abandoned(path) >= count,
            lambda: (
                f"{request_log.count_abandoned(path)} of {count} requests to {path or 'any path'} were given up"
            ),
            within_s,
        )
        return [
            logged
            for logged in request_log.entries
            if logged.left_at is not None and logged.path.startswith(path)
        ]

    async def idle(self, within_s: float = WAIT_S) -> None:
        """Wait until no request is in flight."""
        request_log = self.request_log
        await request_log.until(
            lambda: request_log.in_flight == 0,
            lambda: f"{request_log.in_flight} requests still in flight",
            within_s,
        )

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._listener.connections)

    async def connected(self, count: int, within_s: float = WAIT_S) -> None:
        """Wait until exactly `count` connections are open."""
        await self.request_log.until(
            lambda: self.connections == count, lambda: f"{self.connections} connections open", within_s
        )

    async def held_back(self, within_s: float = WAIT_S) -> None:
        """Wait until the engine has paused writing because a client reads too slowly."""
        connections = self._listener.connections
        await self.request_log.until(
            lambda: any(connection.is_held_back for connection in connections),
            lambda: f"none of {len(connections)} clients holds {self.name} back",
            within_s,
        )

    async def answer(self, logged: LoggedRequest) -> Reply:
        """Return the answer to a request that meets no fault."""
        if self.facts.profile.has_messages and logged.method == "POST" and logged.path.startswith(MESSAGES):
            if self.key is not None and not has_key(logged, self.key):
                return anthropic_error(401, "authentication_error", "Incorrect API key provided.")
            return await answer_without_key(self.facts, logged)
        return await answer(self.facts, logged, self.key)

    @property
    def _refuses(self) -> bool:
        return self.switch.fault is not None and self.switch.fault.kind == "refuse"

    async def _serve(self, logged: LoggedRequest, connection: Connection) -> None:
        facts = self.facts
        fault = self.switch.take(logged.path)
        if fault is not None:
            logged.fault = fault.kind
            if await spoil(fault, connection):
                return
        reply = instead(fault) if fault is not None else None
        if reply is None:
            reply = await self.answer(logged)
        await deliver(reply, logged, connection, facts.profile, fault=fault, pace=facts.speech.pace)
