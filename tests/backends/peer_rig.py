"""A scripted peer, and a channel that is connected to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from meshlight.backends.base import ChannelDeps, Probe
from meshlight.backends.peer import EVENTS, PeerChannel, PeerKind
from meshlight.domain.backend import Backend
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from peers.node_identities import node
from servers.byte_server import ByteServer, Peer

ANNA, BEN, MALLORY = node(), node(), node()
SHARED: dict[str, Any] = {
    "name": "study",
    "kind": "ollama",
    "ring": "machine",
    "state": "healthy",
    "models": ["m"],
}
CATALOG: dict[str, Any] = {
    "v": 1,
    "node_id": BEN.node_id,
    "name": "Ben",
    "hash": "aaaa1111",
    "backends": [SHARED],
}
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def answer(body: object, status: int = 200, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def catalog(**fields: Any) -> bytes:
    return answer(CATALOG | fields)


def event(hash_: str) -> bytes:
    data = b'event: catalog\ndata: {"hash":"%s"}\n\n' % hash_.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


class PeerConnection:
    """A channel that is connected to a scripted peer, Ben; `probe_requests` counts its requests for a probe."""

    def __init__(self, server: ByteServer, tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None) -> None:
        address = Address("http" if tls is None else "https", "127.0.0.1", server.port)
        self.backend = Backend(
            id="peer-ben", name="Ben", kind="peer", ring="lan", url=address.url, node_id=BEN.node_id
        )
        self.probe_requests = 0
        self.probe_requested = asyncio.Event()
        self.probes = Upstream(address, tls=tls)
        self._opened: list[Upstream] = []

        def opened(to: Address) -> Upstream:
            self._opened.append(Upstream(to, tls=tls))
            return self._opened[-1]

        self.deps = ChannelDeps(
            self.backend, self.probes, opened, lambda: 0.0, lambda: 0.0, self._request_probe
        )
        self.channel: PeerChannel = PeerKind().open_channel(self.deps)  # type: ignore[assignment]

    async def probe(self) -> Probe:
        return await self.channel.probe(self.backend, None)

    async def close(self) -> None:
        """Close the channel and its connections, and wait until its stream has ended."""
        self.channel.close()
        self.probes.close()
        following = self.channel._following
        if following is not None:
            await asyncio.gather(following, return_exceptions=True)

    def _request_probe(self) -> None:
        self.probe_requests += 1
        self.probe_requested.set()


def ben(
    *catalogs: bytes, stream: Callable[[Peer], Awaitable[None]] | None = None
) -> Callable[[Peer], Awaitable[None]]:
    """Answer each request for the catalog with the next of `catalogs`, and play `stream` on the events."""
    left = list(catalogs)

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if EVENTS in request.line:
                await (stream or Peer.until_gone)(peer)
                return
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


@asynccontextmanager
async def connected(
    script: Callable[[Peer], Awaitable[None]],
    *,
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
) -> AsyncIterator[tuple[PeerConnection, ByteServer]]:
    async with ByteServer(script, server_tls) as server:
        connection = PeerConnection(server, client_tls)
        try:
            yield connection, server
        finally:
            await connection.close()


async def probe_of(**fields: Any) -> Probe:
    """Return the result of a probe that gets such a catalog."""
    async with connected(ben(catalog(**fields))) as (connection, _):
        return await connection.probe()
