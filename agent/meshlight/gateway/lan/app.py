"""What peers may request on the LAN listener: inference, the catalog of what is shared with them, and its changes.

Some may also load and unload models that are shared with them; see `peer_models`.

Nothing of `/mesh` is here, no page, no key: the peer was identified in the TLS handshake. `Guests` knows the peers
that may send requests, how many each has running, and how many it may have.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from meshlight.domain.errors import (
    MeshlightError,
    MethodNotAllowed,
    NotFound,
    OriginForbidden,
    Paused,
    TooManyRequests,
)
from meshlight.domain.peers import Peer, SharedCatalog
from meshlight.gateway.errors import error_response
from meshlight.gateway.inference.content_coding import too_large
from meshlight.gateway.inference.request import BODY_LIMIT, GUEST, ClientLeft, read_body, request_header
from meshlight.gateway.lan.catalog_events import CatalogFeed
from meshlight.gateway.lan.peer_models import BODY_MAX, PeerModels, read_named
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send
from meshlight.gateway.server.path_spelling import normalize_path

PAUSED_RETRY_S = 30.0
"""When a client may retry while an owner has something paused."""


class Guests:
    """Finds a peer by the id of its key, and admits its requests; `peers` returns those that are paired now."""

    def __init__(self, peers: Callable[[], Mapping[str, Peer]]) -> None:
        self._current_peers = peers
        self._running: dict[str, int] = {}

    @property
    def peers(self) -> Mapping[str, Peer]:
        """The peers that are paired now, by node id."""
        return self._current_peers()

    def find(self, peer_id: str) -> Peer:
        """Return the peer with this key; raises OriginForbidden when it is not paired (any more)."""
        peer = self.peers.get(peer_id)
        if peer is None:
            raise OriginForbidden(
                "This machine is not paired with yours.", "Pair them again: meshlight pair."
            )
        return peer

    def enter(self, peer: Peer) -> None:
        """Count a request as running, until `leave`. Raises Paused, or TooManyRequests over the peer's limit."""
        if peer.paused:
            raise Paused("Sharing with this peer is paused by its owner.", "", PAUSED_RETRY_S)
        running = self._running.get(peer.id, 0)
        if running >= peer.max_in_flight:
            raise TooManyRequests(f"{running} requests of this peer run already; no more may run at once.")
        self._running[peer.id] = running + 1

    def leave(self, peer: Peer) -> None:
        """Count a request as ended."""
        left = self._running.get(peer.id, 0) - 1
        if left > 0:
            self._running[peer.id] = left
        else:
            self._running.pop(peer.id, None)

    def running(self, peer_id: str) -> int:
        """Return how many requests of a peer run now."""
        return self._running.get(peer_id, 0)


LOAD, UNLOAD = "/peer/models/load", "/peer/models/unload"
_PATHS = ("/peer/catalog", "/peer/events", "/peer/unpair")


class LanApp:
    """ASGI app of the LAN listener; `scope["state"]["peer"]` is the id of the key behind the connection."""

    def __init__(
        self,
        guests: Guests,
        catalog_for: Callable[[Peer], SharedCatalog],
        feed: CatalogFeed,
        inference: ASGIApp,
        on_unpair: Callable[[str], None],
        models: PeerModels,
    ) -> None:
        self._guests = guests
        self._catalog_for = catalog_for
        self._feed = feed
        self._inference = inference
        self._on_unpair = on_unpair
        self._models = models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a peer."""
        normalize_path(scope)
        path: str = scope["path"]
        try:
            peer_id = scope["state"]["peer"]
            if path == "/peer/unpair":  # also from one that is no peer any more
                _expect("POST", scope)
                self._on_unpair(peer_id)
                await _send(send, 204)
                return
            peer = self._guests.find(peer_id)
            if path.startswith(("/v1/", "/api/", "/v1beta/")):
                await self._infer(peer, scope, receive, send)
            elif path == "/peer/catalog":
                _expect("GET", scope)
                await self._catalog(peer, scope, send)
            elif path == "/peer/events":
                _expect("GET", scope)
                await self._feed.follow(peer, scope, send)
            elif path in {LOAD, UNLOAD}:
                _expect("POST", scope)
                await self._manage(
                    peer, self._models.load if path == LOAD else self._models.unload, receive, send
                )
            else:
                raise NotFound(
                    f"There is no {path[:200]} here.", f"Peers may use {', '.join(_PATHS)} or /v1/*."
                )
        except TooManyRequests as error:
            made = error_response(error, path)
            await _send(send, 429, made.body, (b"retry-after", b"1"), *made.headers[:1])
        except MeshlightError as error:
            await error_response(error, path).send(send)

    async def _infer(self, peer: Peer, scope: Scope, receive: Receive, send: Send) -> None:
        announced = request_header(scope["headers"], b"content-length")
        if announced and int(announced) > BODY_LIMIT:
            raise too_large(BODY_LIMIT)
        self._guests.enter(peer)
        try:
            scope["extensions"][GUEST] = peer
            await self._inference(scope, receive, send)
        finally:
            self._guests.leave(peer)

    async def _manage(
        self, peer: Peer, act: Callable[[Peer, str], Awaitable[None]], receive: Receive, send: Send
    ) -> None:
        self._guests.enter(peer)
        try:
            await act(peer, read_named(await read_body(receive, BODY_MAX)))
        except ClientLeft:
            return
        finally:
            self._guests.leave(peer)
        await _send(send, 204)

    async def _catalog(self, peer: Peer, scope: Scope, send: Send) -> None:
        catalog = self._catalog_for(peer)
        tag = b'"%s"' % catalog.hash.encode()
        if request_header(scope["headers"], b"if-none-match") == tag:
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
