"""One model service of the demo cluster: an engine behind the app proxy, which wants a token."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from meshlight.simulator.backend_ai.errors import proxy_refusal
from meshlight.simulator.backend_ai.jwt_issuer import JwtIssuer
from meshlight.simulator.faults import Fault, FaultKind, FaultSwitch
from meshlight.simulator.http.connection import Connection
from meshlight.simulator.http.listener import Listener
from meshlight.simulator.http.reply import text_reply
from meshlight.simulator.http.writer import deliver, instead, spoil
from meshlight.simulator.profile import EngineFacts
from meshlight.simulator.profiles import PROFILES
from meshlight.simulator.protocols.text import Pace, Speech
from meshlight.simulator.request_log import LoggedRequest, RequestLog
from meshlight.simulator.routes import answer

MODELS = ("llama-3.3-70b",)


class ClusterService:
    """Answers as a vLLM behind an app proxy does, on a port of its own.

    Some of what it is may be changed while it runs: `routes`, `is_public`, `models`, `hangs`. `fault` makes it fail
    as an engine may; the token is looked at before that.
    """

    def __init__(
        self,
        name: str,
        models: Sequence[str] = MODELS,
        *,
        routes: int = 1,
        is_public: bool = False,
        is_openai: bool = True,
        port: int = 0,
        speech: Speech | None = None,
        keep: int | None = None,
    ) -> None:
        self.name = name
        self.id = str(uuid5(NAMESPACE_URL, f"demo:{name}"))
        self.routes = routes
        self.is_public = is_public
        self.is_openai = is_openai
        """Whether it answers below `/v1` at all; other services may be anything."""
        self.hangs = False
        self.refuses_tokens = False
        """Whether the app proxy takes no token for it, not even a new one."""
        self.switch = FaultSwitch()
        self.endpoint: str | None = None
        """What the manager says of its address, where that shall not be the true one."""
        self.issuer = JwtIssuer(self.id)
        self.request_log = RequestLog(keep)
        self.clock: Callable[[], float] | None = None
        """The cluster's time, set by the cluster."""
        self._facts = EngineFacts(PROFILES["vllm"], name, tuple(models), speech or Speech(), self.request_log)
        self._door = Listener("127.0.0.1", self._serve, self.request_log)
        self._door.port = port

    @property
    def url(self) -> str:
        """Where the app proxy has it."""
        return f"http://{self._door.authority}"

    @property
    def models(self) -> tuple[str, ...]:
        """The ids that it serves."""
        return self._facts.models

    @models.setter
    def models(self, ids: Sequence[str]) -> None:
        self._facts.models = tuple(ids)

    @property
    def pace(self) -> Pace:
        """How time passes between its tokens."""
        return self._facts.speech.pace

    def fault(self, kind: FaultKind, **details: Any) -> None:
        """Switch a fault on, in the place of any other; `details` are the fields of `Fault`."""
        self.switch.turn_on(Fault(kind=kind, **details))

    def clear(self) -> None:
        """Switch the fault off."""
        self.switch.turn_off()

    def calls(self, path: str = "/v1/") -> list[LoggedRequest]:
        """Return the POST requests that it was sent, without the looks at its models."""
        return [
            seen for seen in self.request_log.entries if seen.method == "POST" and seen.path.startswith(path)
        ]

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen; raises OSError."""
        await self._door.open(anywhere=anywhere)

    async def stop(self) -> None:
        """Stop, and end every connection."""
        await self._door.close()

    def entry(self) -> dict[str, Any]:
        """Return what the manager lists of it."""
        return {
            "id": self.id,
            "name": self.name,
            "replicas": max(self.routes, 1),
            "desired_session_count": max(self.routes, 1),
            "active_route_count": self.routes,
            "service_endpoint": self.endpoint if self.endpoint is not None else f"{self.url}/",
            "is_public": self.is_public,
        }

    async def _serve(self, seen: LoggedRequest, wire: Connection) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        flaw: str | None = None
        if self.refuses_tokens:
            flaw = "E20008"
        elif not self.is_public and self.clock is not None:
            flaw = self.issuer.flaw(seen.header("authorization"), self.clock())
        if flaw is not None:
            reply = proxy_refusal(flaw, seen)
        elif (fault := self.switch.take(seen.path)) is not None:
            if await spoil(fault, wire):
                return
            reply = instead(fault) or await answer(self._facts, seen, None)
            await deliver(reply, seen, wire, self._facts.profile, fault=fault, pace=self.pace)
            return
        elif self.is_openai:
            reply = await answer(self._facts, seen, None)
        else:
            reply = text_reply("<!doctype html><title>Jupyter</title>", 200, "text/html; charset=utf-8")
        await deliver(reply, seen, wire, self._facts.profile, pace=self.pace)
