"""`/mesh/events`: the numbered events as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio

from meshlight.domain.errors import BadRequest, MeshlightError, MethodNotAllowed
from meshlight.gateway.answer import answer
from meshlight.gateway.asgi import Receive, Scope, Send
from meshlight.gateway.inbound import header
from meshlight.gateway.leave import LEAVE
from meshlight.mesh.hub import EventHub, Subscription

PING_S = 15.0
READERS_MAX = 64
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Events:
    """Sends each reader a snapshot, then every event; a comment every 15 s shows that the line is alive."""

    def __init__(self, hub: EventHub, ping_s: float = PING_S) -> None:
        self._hub = hub
        self._ping_s = ping_s
        self._readers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's form
        """Serve one reader until it leaves or the service ends."""
        try:
            last = self._admit(scope)
        except MeshlightError as error:
            await answer(error).send(send)
            return
        subscription = self._hub.subscribe(last)
        self._readers += 1
        leave = scope["extensions"][LEAVE]
        leave.add(subscription.end)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            while (frames := await self._next(subscription)) is not None:
                await send({"type": "http.response.body", "body": frames, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            leave.discard(subscription.end)
            self._hub.unsubscribe(subscription)
            self._readers -= 1

    def _admit(self, scope: Scope) -> int | None:
        if scope["method"] != "GET":
            raise MethodNotAllowed(f"/mesh/events takes GET, not {scope['method']}.")
        if self._readers >= READERS_MAX:
            raise BadRequest(f"{READERS_MAX} readers follow the events already.", "Close a window first.")
        last = header(scope["headers"], b"last-event-id").strip()
        return int(last) if last.isdigit() and len(last) < 18 else None

    async def _next(self, subscription: Subscription) -> bytes | None:
        try:
            async with asyncio.timeout(self._ping_s):
                return await subscription.next()
        except TimeoutError:
            return b": ping\n\n"
