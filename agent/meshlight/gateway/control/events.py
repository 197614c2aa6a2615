"""`/mesh/events`: the numbered events as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
from typing import cast

from meshlight.domain.errors import MeshlightError, MethodNotAllowed, TooManyRequests
from meshlight.gateway.errors import error_response
from meshlight.gateway.inference.request import request_header
from meshlight.gateway.server.asgi import Receive, Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.limits import END_S, PING_S
from meshlight.mesh.event_hub import EventHub, Subscription

READERS_MAX = 64
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Events:
    """Sends each reader a snapshot, then every event; a comment every 15 s shows that the connection is alive."""

    def __init__(self, hub: EventHub, ping_s: float = PING_S, readers_max: int = READERS_MAX) -> None:
        self._hub = hub
        self._ping_s = ping_s
        self._readers_max = readers_max
        self._readers: set[asyncio.Task[None]] = set()
        self._pages = 0

    @property
    def has_pages(self) -> bool:
        """Whether a page in a browser or window follows the events, and not only programs such as the tray."""
        return self._pages > 0

    @property
    def has_programs(self) -> bool:
        """Whether a program such as the tray follows the events."""
        return len(self._readers) > self._pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Serve one reader until it disconnects or the service ends."""
        try:
            last = self._admit(scope)
        except MeshlightError as error:
            await error_response(error).send(send)
            return
        subscription = self._hub.subscribe(last)
        reader = cast("asyncio.Task[None]", asyncio.current_task())
        self._readers.add(reader)
        leave = scope["extensions"][DISCONNECT]
        leave.add(subscription.end)
        is_page = bool(request_header(scope["headers"], b"cookie"))
        self._pages += is_page
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            while (frames := await self._next(subscription)) is not None:
                # Waits for a slow reader; the hub does not: events that come meanwhile are counted, not stored.
                await send({"type": "http.response.body", "body": frames, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            leave.discard(subscription.end)
            self._hub.unsubscribe(subscription)
            self._readers.discard(reader)
            self._pages -= is_page

    async def close(self) -> None:
        """End every stream, and cut off readers that do not read."""
        self._hub.close()
        if self._readers:
            _, stuck = await asyncio.wait(self._readers, timeout=END_S)
            for reader in stuck:
                reader.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    def _admit(self, scope: Scope) -> int | None:
        if scope["method"] != "GET":
            raise MethodNotAllowed(f"/mesh/events takes GET, not {scope['method']}.", "Use GET.")
        if len(self._readers) >= self._readers_max:
            raise TooManyRequests(
                f"{self._readers_max} readers follow the events already.",
                "Close a window or program that does.",
            )
        last = request_header(scope["headers"], b"last-event-id").strip()
        return int(last) if last.isdigit() and len(last) < 18 else None

    async def _next(self, subscription: Subscription) -> bytes | None:
        try:
            async with asyncio.timeout(self._ping_s):
                return await subscription.next()
        except TimeoutError:
            return b": ping\n\n"
