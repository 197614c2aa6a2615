"""What peers may ask on the LAN listener: inference, the catalog of what is shared with them, its changes.

Nothing of `/mesh` is here, no page, no key. Who asks was proven in the TLS handshake.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from meshlight.domain.errors import MeshlightError, MethodNotAllowed, NotFound, TooMany
from meshlight.domain.peer import Peer
from meshlight.domain.sharing import SharedCatalog
from meshlight.gateway.answer import answer
from meshlight.gateway.asgi import ASGIApp, Receive, Scope, Send
from meshlight.gateway.catalog_feed import CatalogFeed
from meshlight.gateway.content_coding import too_large
from meshlight.gateway.guests import Guests
from meshlight.gateway.inbound import BODY_LIMIT, GUEST, header
from meshlight.gateway.path_spelling import respell

_PATHS = ("/peer/catalog", "/peer/events", "/peer/unpair")


class Lan:
    """ASGI app of the LAN listener; `scope["state"]["peer"]` is the id of the key behind the connection."""

    def __init__(
        self,
        guests: Guests,
        catalog_for: Callable[[Peer], SharedCatalog],
        feed: CatalogFeed,
        inference: ASGIApp,
        on_unpair: Callable[[str], None],
    ) -> None:
        self._guests = guests
        self._catalog_for = catalog_for
        self._feed = feed
        self._inference = inference
        self._on_unpair = on_unpair

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a peer."""
        respell(scope)
        path: str = scope["path"]
        try:
            peer_id = scope["state"]["peer"]
            if path == "/peer/unpair":  # also from who was told that it is no peer any more
                _expect("POST", scope)
                self._on_unpair(peer_id)
                await _send(send, 204)
                return
            peer = self._guests.known(peer_id)
            if path.startswith(("/v1/", "/api/", "/v1beta/")):
                await self._infer(peer, scope, receive, send)
            elif path == "/peer/catalog":
                _expect("GET", scope)
                await self._catalog(peer, scope, send)
            elif path == "/peer/events":
                _expect("GET", scope)
                await self._feed.follow(peer, scope, send)
            else:
                raise NotFound(f"There is no {path[:200]} here.", f"Peers ask {', '.join(_PATHS)} or /v1/*.")
        except TooMany as error:
            made = answer(error, path)
            await _send(send, 429, made.body, (b"retry-after", b"1"), *made.headers[:1])
        except MeshlightError as error:
            await answer(error, path).send(send)

    async def _infer(self, peer: Peer, scope: Scope, receive: Receive, send: Send) -> None:
        announced = header(scope["headers"], b"content-length")
        if announced and int(announced) > BODY_LIMIT:
            raise too_large(BODY_LIMIT)
        self._guests.enter(peer)
        try:
            scope["extensions"][GUEST] = peer
            await self._inference(scope, receive, send)
        finally:
            self._guests.leave(peer)

    async def _catalog(self, peer: Peer, scope: Scope, send: Send) -> None:
        catalog = self._catalog_for(peer)
        tag = b'"%s"' % catalog.hash.encode()
        if header(scope["headers"], b"if-none-match") == tag:
            await _send(send, 304, b"", (b"etag", tag))
            return
        await _send(
            send, 200, msgspec.json.encode(catalog), (b"content-type", b"application/json"), (b"etag", tag)
        )


def _expect(method: str, scope: Scope) -> None:
    if scope["method"] != method:
        raise MethodNotAllowed(f"{scope['path'][:200]} takes {method}, not {scope['method']}.")


async def _send(send: Send, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    made: list[Any] = list(headers)
    if status not in {204, 304}:
        made.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": made})
    await send({"type": "http.response.body", "body": body})
