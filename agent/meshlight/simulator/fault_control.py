"""The fault switch as other programs reach it: a small HTTP face on a port of its own, immune to the faults.

`GET /fault` says what is on, `POST /fault` switches one on, `DELETE /fault` switches it off.
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
    """What the switch breaks and mends."""

    name: str
    dialect: Dialect
    switch: FaultSwitch
    request_log: RequestLog

    @property
    def url(self) -> str:
        """Where it answers."""

    async def set_fault(self, fault: Fault) -> None:
        """Switch a fault on."""

    async def clear(self) -> None:
        """Switch the fault off."""


class Control:
    """Answers the control port of one engine."""

    def __init__(self, engine: Breakable) -> None:
        self._engine = engine

    async def serve(self, seen: LoggedRequest, wire: Connection) -> None:
        """Answer one request."""
        await deliver(await self._answer(seen), seen, wire, PROFILES["openai"])

    async def _answer(self, seen: LoggedRequest) -> Reply:
        if seen.header("origin") is not None:
            # A web page in the user's browser has no business here.
            return json_reply({"error": "not for web pages"}, 403)
        if seen.path != "/fault":
            return json_reply({"error": "only /fault is here"}, 404)
        match seen.method:
            case "GET":
                return self._state()
            case "DELETE":
                await self._engine.clear()
                return self._state()
            case "POST":
                return await self._turn_on(seen.body)
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
