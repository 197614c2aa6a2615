"""`/peer/events`: tells each peer at once when what is shared with it has changed (server-sent events)."""

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
"""Streams that one peer may keep open."""
_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


class CatalogFeed:
    """One stream for each peer that listens: an event holds the hash of its catalog, and nothing else.

    `hash_for` gives the hash now, and None for who is no peer any more: its stream ends.
    """

    def __init__(
        self, registry: Registry, hash_for: Callable[[str], str | None], ping_s: float = PING_S
    ) -> None:
        self._hash_for = hash_for
        self._ping_s = ping_s
        self._readers: dict[asyncio.Task[None], str] = {}
        self._bells: set[asyncio.Event] = set()
        self._is_over = False
        registry.listen(self._on_change)

    async def follow(self, peer: Peer, scope: Scope, send: Send) -> None:
        """Serve one reader until it leaves, the pairing ends, or the service does. Raises TooMany."""
        if sum(owner == peer.id for owner in self._readers.values()) >= STREAMS_MAX:
            raise TooManyRequests(f"{STREAMS_MAX} streams of events are open for this peer already.")
        bell = asyncio.Event()
        bell.set()
        gone = asyncio.Event()
        reader = cast("asyncio.Task[None]", asyncio.current_task())
        leave = scope["extensions"][DISCONNECT]

        def left() -> None:
            gone.set()
            bell.set()

        self._readers[reader] = peer.id
        self._bells.add(bell)
        leave.add(left)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            told: str | None = None
            while not self._is_over and not gone.is_set() and (now := self._hash_for(peer.id)) is not None:
                frame = (
                    b": ping\n\n"
                    if now == told
                    else b'event: catalog\ndata: {"hash":"%s"}\n\n' % now.encode()
                )
                told = now
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                bell.clear()
                await self._wait(bell, gone, peer.id, told)
            await send({"type": "http.response.body", "body": b""})
        finally:
            leave.discard(left)
            self._bells.discard(bell)
            del self._readers[reader]

    def ring(self) -> None:
        """Look again for every reader: who is paired with, or what is shared, has changed."""
        for bell in self._bells:
            bell.set()

    async def close(self) -> None:
        """End every stream; those that come later are served again, as after the listener was opened anew."""
        self._is_over = True
        self.ring()
        if self._readers:
            _, stuck = await asyncio.wait(self._readers, timeout=END_S)
            for reader in stuck:
                reader.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
        self._is_over = False

    async def _wait(self, bell: asyncio.Event, gone: asyncio.Event, peer_id: str, told: str) -> None:
        """Return when there is something to tell, or when it is time for a ping."""
        try:
            async with asyncio.timeout(self._ping_s):
                await bell.wait()
                while self._hash_for(peer_id) == told and not (self._is_over or gone.is_set()):
                    bell.clear()
                    await bell.wait()
        except TimeoutError:
            return

    def _on_change(self, change: Change) -> None:
        if self._bells and (change.shape or change.removed or change.incident):
            self.ring()
