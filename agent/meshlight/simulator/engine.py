"""A real little server that plays one engine, for the demo and for the tests."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from meshlight.domain.backend import Kind
from meshlight.simulator.fault_control import Control
from meshlight.simulator.faults import Fault, FaultKind, FaultSwitch
from meshlight.simulator.habits import Habit
from meshlight.simulator.http.connection import Connection
from meshlight.simulator.http.listener import Listener
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.http.writer import deliver, instead, spoil
from meshlight.simulator.profile import Dialect, EngineFacts
from meshlight.simulator.profiles import PROFILES
from meshlight.simulator.protocols.text import Pace, Speech
from meshlight.simulator.request_log import LoggedRequest, RequestLog
from meshlight.simulator.routes import answer

DEFAULT_MODELS = ("llama-3.2-3b",)
WAIT_S = 5.0


class SimulatedEngine:
    """Plays one engine on a loopback port; `async with Engine("vllm") as engine:` is all it takes.

    `habit` makes it refuse what a strict provider refuses, or answer as carelessly as a small server does.
    `journal.entries` holds the requests it has seen. Every wait (`seen`, `left`, …) raises TimeoutError after
    `within_s` seconds, with the numbers it has instead.
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
    ) -> None:
        profile = PROFILES[dialect]
        speech = Speech(speed=speed, first_token_s=first_token_s, length=length, pace=pace)
        self.dialect = dialect
        self.name = name or f"demo {profile.label}"
        self.key = key
        self.switch = FaultSwitch()
        self.request_log = RequestLog(keep)
        self.facts = EngineFacts(profile, self.name, tuple(models), speech, self.request_log, habit)
        idle = profile.idle_s if idle_s is None else idle_s
        self._door = Listener(host, self._serve, self.request_log, idle)
        self._door.port = port
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

    # its life

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen, on the port it had if it was stopped before.

        Where a wanted port is taken, it raises OSError, or with `anywhere` takes a free one.
        """
        await self._door.open(anywhere=anywhere)
        if self._refuses:
            await self._door.shut()
        if self._control is not None:
            try:
                await self._control.open(anywhere=anywhere)
            except OSError:
                await self._door.close()
                raise

    async def stop(self) -> None:
        """Stop as a process does that dies: every connection ends at once. Leaves no task and no socket."""
        await self._door.close()
        if self._control is not None:
            await self._control.close()

    @property
    def url(self) -> str:
        """Where it answers, without a trailing slash."""
        return f"http://{self._door.authority}"

    @property
    def port(self) -> int:
        """Its port; 0 before the first start if none was asked for."""
        return self._door.port

    @property
    def control_url(self) -> str:
        """Where its fault switch is: `POST`, `GET` and `DELETE` of `/fault`; raises RuntimeError if it has none."""
        if self._control is None:
            raise RuntimeError(f"{self.name} was made without a fault switch (control_port=None)")
        return f"http://{self._control.authority}"

    @property
    def models(self) -> tuple[str, ...]:
        """The ids it serves; may be set while it runs, as when a person pulls or removes a model."""
        return self.facts.models

    @models.setter
    def models(self, ids: Sequence[str]) -> None:
        self.facts.models = tuple(ids)

    @property
    def kind(self) -> Kind:
        """What the mesh takes it for."""
        return self.facts.profile.kind

    @property
    def label(self) -> str:
        """The name of the engine that it plays."""
        return self.facts.profile.label

    # what goes wrong

    async def fault(self, kind: FaultKind, **details: Any) -> None:
        """Switch a fault on, in the place of any other; `details` are the fields of `Fault`.

        Raises TypeError for a field there is not, ValueError for values that make no sense together.
        """
        await self.set_fault(Fault(kind=kind, **details))

    async def set_fault(self, fault: Fault) -> None:
        """Switch a fault on, in the place of any other; it holds for requests that come from now on."""
        if fault.kind == "refuse":
            await self._door.shut()
        elif self._refuses:
            await self._door.open()
        self.switch.turn_on(fault)

    async def clear(self) -> None:
        """Switch the fault off; a request that hangs already goes on hanging, as with a real engine."""
        if self._refuses:
            await self._door.open()
        self.switch.turn_off()

    def hang_up(self) -> int:
        """End the idle keep-alive connections; returns how many there were."""
        return self._door.hang_up()

    # what it has seen

    @property
    def requests(self) -> list[LoggedRequest]:
        """The requests it has seen, the oldest first."""
        return list(self.request_log.entries)

    @property
    def in_flight(self) -> int:
        """How many requests it is answering now, those that hang included."""
        return self.request_log.in_flight

    def calls(self, path: str = "/v1/") -> list[LoggedRequest]:
        """Return the POST requests to paths that begin with `path`: the inference, without the probes."""
        return [
            seen for seen in self.request_log.entries if seen.method == "POST" and seen.path.startswith(path)
        ]

    async def seen(self, count: int = 1, path: str = "", within_s: float = WAIT_S) -> list[LoggedRequest]:
        """Wait until `count` requests to `path…` have come in whole, and return those it still remembers."""
        request_log = self.request_log
        await request_log.until(
            lambda: request_log.count(path) >= count,
            lambda: (
                f"{request_log.count(path)} of {count} requests to {path or 'any path'} came to {self.name}"
            ),
            within_s,
        )
        return [seen for seen in request_log.entries if seen.path.startswith(path)]

    async def left(self, count: int = 1, path: str = "", within_s: float = WAIT_S) -> list[LoggedRequest]:
        """Wait until the clients of `count` requests have gone before the answer's end; return those."""
        request_log = self.request_log
        await request_log.until(
            lambda: request_log.count_left(path) >= count,
            lambda: (
                f"{request_log.count_left(path)} of {count} requests to {path or 'any path'} were given up"
            ),
            within_s,
        )
        return [
            seen for seen in request_log.entries if seen.left_at is not None and seen.path.startswith(path)
        ]

    async def idle(self, within_s: float = WAIT_S) -> None:
        """Wait until it answers nothing any more."""
        request_log = self.request_log
        await request_log.until(
            lambda: request_log.in_flight == 0,
            lambda: f"{request_log.in_flight} requests still in flight",
            within_s,
        )

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._door.guests)

    async def connected(self, count: int, within_s: float = WAIT_S) -> None:
        """Wait until exactly `count` connections are open."""
        await self.request_log.until(
            lambda: self.connections == count, lambda: f"{self.connections} connections open", within_s
        )

    async def held_back(self, within_s: float = WAIT_S) -> None:
        """Wait until a client reads so slowly that the engine has stopped writing to it."""
        guests = self._door.guests
        await self.request_log.until(
            lambda: any(guest.is_held_back for guest in guests),
            lambda: f"none of {len(guests)} clients holds {self.name} back",
            within_s,
        )

    async def answer(self, seen: LoggedRequest) -> Reply:
        """Answer a request that no fault spoils."""
        return await answer(self.facts, seen, self.key)

    @property
    def _refuses(self) -> bool:
        return self.switch.fault is not None and self.switch.fault.kind == "refuse"

    async def _serve(self, seen: LoggedRequest, wire: Connection) -> None:
        facts = self.facts
        fault = self.switch.take(seen.path)
        if fault is not None:
            seen.fault = fault.kind
            if await spoil(fault, wire):
                return
        reply = instead(fault) if fault is not None else None
        if reply is None:
            reply = await self.answer(seen)
        await deliver(reply, seen, wire, facts.profile, fault=fault, pace=facts.speech.pace)
