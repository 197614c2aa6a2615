"""One model service of the simulated cluster: an engine behind the app proxy, which wants a token."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from meshlight.simulator.backend_ai.errors import proxy_error, proxy_refusal
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

    `routes`, `desired`, `is_public`, `models` and `hangs` may be changed while it runs. `fault` makes it fail as an
    engine may; the token is checked before that.
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
        """How many of its containers can answer now."""
        self.desired = max(routes, 1)
        """How many containers its owner wants."""
        self.is_public = is_public
        self.is_openai = is_openai
        """Whether it answers below `/v1` at all; other services may be anything."""
        self.is_own = True
        """Whether it belongs to the user of the key; a manager lists no others, not even to an administrator."""
        self.hangs = False
        self.refuses_tokens = False
        """Whether the app proxy accepts no token for it, not even a new one."""
        self.proxy_status: int | None = None
        """A status with which the app proxy itself fails requests for inference."""
        self.switch = FaultSwitch()
        self.endpoint: str | None = None
        """The address that the manager lists, where that is not the real one; empty: it lists none (null)."""
        self.issuer = JwtIssuer(self.id)
        self.request_log = RequestLog(keep)
        self.clock: Callable[[], float] | None = None
        """The cluster's time, set by the cluster."""
        self._facts = EngineFacts(PROFILES["vllm"], name, tuple(models), speech or Speech(), self.request_log)
        self._listener = Listener("127.0.0.1", self._serve, self.request_log)
        self._listener.port = port

    @property
    def url(self) -> str:
        """The address that the app proxy gives it."""
        return f"http://{self._listener.authority}"

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
        """Return the POST requests that it received, without the requests for its models."""
        return [
            request
            for request in self.request_log.entries
            if request.method == "POST" and request.path.startswith(path)
        ]

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen; raises OSError."""
        await self._listener.open(anywhere=anywhere)

    async def stop(self) -> None:
        """Stop, and end every connection."""
        await self._listener.close()

    def entry(self, *, legacy: bool = False) -> dict[str, Any]:
        """Return its row in the manager's list; older managers (23.09) have no `replicas`."""
        row = {
            "id": self.id,
            "name": self.name,
            "desired_session_count": self.desired,
            "active_route_count": self.routes,
            "service_endpoint": f"{self.url}/" if self.endpoint is None else self.endpoint or None,
            "is_public": self.is_public,
        }
        return row if legacy else row | {"replicas": self.desired}

    async def _serve(self, request: LoggedRequest, connection: Connection) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        code: str | None = None
        if self.refuses_tokens:
            code = "E20008"
        elif not self.is_public and self.clock is not None:
            code = self.issuer.error_code(request.header("authorization"), self.clock())
        if code is not None:
            reply = proxy_refusal(code, request)
        elif self.proxy_status is not None and request.method == "POST":
            reply = proxy_error(
                self.proxy_status, "server-error", "E50001: Circuit is not reachable", request
            )
        elif (fault := self.switch.take(request.path)) is not None:
            if await spoil(fault, connection):
                return
            reply = instead(fault) or await answer(self._facts, request, None)
            await deliver(reply, request, connection, self._facts.profile, fault=fault, pace=self.pace)
            return
        elif self.is_openai:
            reply = await answer(self._facts, request, None)
        else:
            reply = text_reply("<!doctype html><title>Jupyter</title>", 200, "text/html; charset=utf-8")
        await deliver(reply, request, connection, self._facts.profile, pace=self.pace)
