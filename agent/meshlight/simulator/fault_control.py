"""The HTTP API of the fault switch, on a port of its own, where no fault applies.

`GET /fault` returns the current fault, `POST /fault` switches one on, `DELETE /fault` switches it off.
"""

from typing import Protocol

import msgspec

from meshlight.simulator.faults import Fault, FaultSwitch
from meshlight.simulator.http.connection import Connection
from meshlight.simulator.http.reply import Reply, json_reply
from meshlight.simulator.http.writer import deliver
from meshlight.simulator.profile import Dialect
from meshlight.simulator.profiles import PROFILES
from meshlight.simulator.request_log import LoggedRequest, RequestLog


class Breakable(Protocol):
    """A server whose faults can be switched on and off."""

    name: str
    dialect: Dialect
    switch: FaultSwitch
    request_log: RequestLog

    @property
    def url(self) -> str:
        """Its base URL."""

    async def set_fault(self, fault: Fault) -> None:
        """Switch a fault on."""

    async def clear(self) -> None:
        """Switch the fault off."""


class Control:
    """Answers at the control port of one engine."""

    def __init__(self, engine: Breakable) -> None:
        self._engine = engine

    async def serve(self, logged: LoggedRequest, connection: Connection) -> None:
        """Answer one request."""
        await deliver(await self._answer(logged), logged, connection, PROFILES["openai"])

    async def _answer(self, logged: LoggedRequest) -> Reply:
        if logged.header("origin") is not None:
            # Web pages in the user's browser must not reach it.
            return json_reply({"error": "not for web pages"}, 403)
        if logged.path != "/fault":
            return json_reply({"error": "only /fault is here"}, 404)
        match logged.method:
            case "GET":
                return self._state()
            case "DELETE":
                await self._engine.clear()
                return self._state()
            case "POST":
                return await self._turn_on(logged.body)
            case _:
                return json_reply({"error": "use GET, POST or DELETE"}, 405)

    async def _turn_on(self, body: bytes) -> Reply:
        try:
            fault = msgspec.json.decode(body, type=Fault)
        except (msgspec.DecodeError, ValueError) as error:
            return json_reply({"error": f"no such fault: {error}"}, 400)
        await self._engine.set_fault(fault)
        return self._state()

    def _state(self) -> Reply:
        engine = self._engine
        return json_reply(
            {
                "engine": engine.name,
                "dialect": engine.dialect,
                "url": engine.url,
                "fault": engine.switch.fault,
                "hits": engine.switch.hits,
                "requests": engine.request_log.total,
                "in_flight": engine.request_log.in_flight,
            }
        )
