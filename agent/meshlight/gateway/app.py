"""The gateway's ASGI application: the guard first, then inference, then the control API and the page.

Whoever only asks models needs no Litestar: it takes more than half of the time and a quarter of the memory that the
service needs to start. So it is imported when the first request comes that it has to answer.
"""

import asyncio
import re
from collections.abc import Callable

import msgspec

from meshlight.gateway.access.guard import Guard
from meshlight.gateway.inference.app import InferenceDispatch, send_json
from meshlight.gateway.inference.lane import Lane
from meshlight.gateway.parts import GatewayParts
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send

_CHALLENGE = re.compile(rb"challenge=([0-9a-f]{64})")


def build_app(parts: GatewayParts) -> Guard:
    """Return the application."""
    guard = Guard(
        InferenceDispatch(ControlOnDemand(parts), parts.inference),
        port=parts.port,
        is_key=parts.is_key,
        sessions=parts.sessions,
        settings=parts.settings,
        free=parts.page.paths,
        is_app_key=parts.is_app_key,
    )
    guard.lane = Lane(guard, parts.inference, parts.relay, parts.settings)
    return guard


class ControlOnDemand:
    """The control API and the page, built for the first request, in a thread; others are answered meanwhile.

    Where that fails, as in the middle of an update of a package, the next request tries again.

    `/healthz` is answered without it: clients that look whether the service runs don't wait long.
    """

    def __init__(self, parts: GatewayParts, build: Callable[[GatewayParts], ASGIApp] | None = None) -> None:
        self._parts = parts
        self._build = _build if build is None else build
        self._app: ASGIApp | None = None
        self._building: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/healthz" and scope["method"] == "GET":
            challenge = _CHALLENGE.fullmatch(scope["query_string"])
            if challenge or not scope["query_string"]:
                found = self._parts.identify(challenge[1].decode() if challenge else None)
                await send_json(msgspec.json.encode(found), send)
                return
        app = self._app or await self._built()
        await app(scope, receive, send)

    async def _built(self) -> ASGIApp:
        if self._building is None:
            self._building = asyncio.ensure_future(asyncio.to_thread(self._build, self._parts))
        building = self._building
        try:
            # A client that leaves does not end what others wait for.
            app = await asyncio.shield(building)
        except Exception:
            if self._building is building:
                self._building = None
            raise
        self._app = app
        return app


def _build(parts: GatewayParts) -> ASGIApp:
    from meshlight.gateway.control.app import build_control  # noqa: PLC0415 - see above

    return build_control(parts)
