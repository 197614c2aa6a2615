"""`/peer/events`: notifies each peer when what is shared with it has changed (server-sent events)."""

import asyncio
from collections.abc import Callable
from typing import cast

from meshlight.domain.errors import TooManyRequests
from meshlight.domain.peers import Peer
from meshlight.gateway.server.asgi import Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.limits import END_S, PING_S
from meshlight.mesh.registry import Change, Registry

STREAMS_MAX = 3
"""Streams that one peer may have open."""
_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


class CatalogFeed:
    """The open streams of peers: an event holds the hash of the peer's catalog, and nothing else.

    `hash_for` returns the current hash, and None for one that is no peer any more: its stream ends.
    """

    def __init__(
        self, registry: Registry, hash_for: Callable[[str], str | None], ping_s: float = PING_S
    ) -> None:
        self._hash_for = hash_for
        self._ping_s = ping_s
        self._readers: dict[asyncio.Task[None], str] = {}
        self._wake_events: set[asyncio.Event] = set()
        self._is_over = False
        registry.listen(self._on_change)

    async def follow(self, peer: Peer, scope: Scope, send: Send) -> None:
        """Serve one stream until the peer leaves, is unpaired, or the service stops. Raises TooManyRequests."""
        if sum(owner == peer.id for owner in self._readers.values()) >= STREAMS_MAX:
            raise TooManyRequests(f"{STREAMS_MAX} streams of events are open for this peer already.")
        wake = asyncio.Event()
        wake.set()
        has_left = asyncio.Event()
        reader = cast("asyncio.Task[None]", asyncio.current_task())
        disconnect = scope["extensions"][DISCONNECT]

        def on_disconnect() -> None:
            has_left.set()
            wake.set()

        self._readers[reader] = peer.id
        self._wake_events.add(wake)
        disconnect.add(on_disconnect)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            sent_hash: str | None = None
            while (
                not self._is_over
                and not has_left.is_set()
                and (current := self._hash_for(peer.id)) is not None
            ):
                frame = (
                    b": ping\n\n"
                    if current == sent_hash
                    else b'event: catalog\ndata: {"hash":"%s"}\n\n' % current.encode()
                )
                sent_hash = current
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                wake.clear()
                await self._wait(wake, has_left, peer.id, sent_hash)
            await send({"type": "http.response.body", "body": b""})
        finally:
            disconnect.discard(on_disconnect)
            self._wake_events.discard(wake)
            del self._readers[reader]

    def notify(self) -> None:
        """Check every stream's hash again: the peers, or what is shared, may have changed."""
        for wake in self._wake_events:
            wake.set()

    async def close(self) -> None:
        """End every stream; later ones are served again, as after the listener was reopened."""
        self._is_over = True
        self.notify()
        if self._readers:
            _, stuck = await asyncio.wait(self._readers, timeout=END_S)
            for reader in stuck:
                reader.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
        self._is_over = False

    async def _wait(self, wake: asyncio.Event, has_left: asyncio.Event, peer_id: str, sent_hash: str) -> None:
        """Return when the hash has changed, the stream is to end, or it is time for a ping."""
        try:
            async with asyncio.timeout(self._ping_s):
                await wake.wait()
                while self._hash_for(peer_id) == sent_hash and not (self._is_over or has_left.is_set()):
                    wake.clear()
                    await wake.wait()
        except TimeoutError:
            return

    def _on_change(self, change: Change) -> None:
        if self._wake_events and (change.shape or change.removed or change.incident):
            self.notify()
