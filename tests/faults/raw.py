"""A backend and a client whose every byte a test can choose or read."""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from meshlight.domain.backend import Kind
from node import Node
from servers.byte_server import ByteServer, Peer, Request, chunk

WAIT_S = 20.0


Responder = Callable[[asyncio.StreamWriter, Request], Awaitable[None]]


def complete(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return an answer with its length."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def responds(*pieces: bytes) -> Responder:
    """Write each piece by itself."""

    async def respond(writer: asyncio.StreamWriter, request: Request) -> None:  # noqa: ARG001 - a Responder
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return respond


def chunked(*pieces: bytes, content_type: bytes = b"text/event-stream") -> list[bytes]:
    """Return the pieces of a whole streamed answer."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % content_type
    return [head, *map(chunk, pieces), chunk(b"")]


class RawBackend(ByteServer):
    """Lists `models`; answers every POST with what `respond` writes."""

    kind: Kind = "openai-compatible"

    def __init__(
        self,
        name: str,
        models: Sequence[str] = ("m",),
        respond: Responder | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._serve, tls)
        self.name = name
        self.models = models
        self.respond = respond or responds(complete(b'{"ok": true}', b"content-type: application/json"))

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    async def answer_post(self, peer: Peer, request: Request) -> None:
        await self.respond(peer.writer, request)

    async def _serve(self, peer: Peer) -> None:
        while not peer.writer.is_closing():
            request = await peer.request()
            if request.method == "POST":
                await self.answer_post(peer, request)
            else:
                data = [{"id": name, "object": "model", "owned_by": "x"} for name in self.models]
                listed = json.dumps({"object": "list", "data": data}).encode()
                await peer.send(complete(listed, b"content-type: application/json"))


class Caller:
    """A client on a socket of its own, with the local key."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.got = bytearray()

    @classmethod
    async def connect(cls, node: Node) -> Self:
        host, _, port = node.url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=1 << 16))

    @classmethod
    async def post(cls, node: Node, body: bytes | dict[str, Any], path: str = "/v1/chat/completions") -> Self:
        """Send a whole request."""
        caller = await cls.connect(node)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        caller.send(node, path, len(data), data)
        return caller

    def send(self, node: Node, path: str, length: int, data: bytes) -> None:
        """Send a request that announces `length` bytes of body, and `data` of it."""
        self.writer.write(
            f"POST {path} HTTP/1.1\r\nhost: {node.url.removeprefix('http://')}\r\n"
            f"authorization: Bearer {node.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\n\r\n".encode()
            + data
        )

    async def until(self, mark: bytes) -> bytes:
        """Read until `mark` has come; return all that has."""
        start = 0
        async with asyncio.timeout(WAIT_S):
            while self.got.find(mark, start) == -1:
                start = max(len(self.got) - len(mark), 0)
                data = await self.reader.read(65_536)
                assert data, bytes(self.got[-1_000:])
                self.got += data
        return bytes(self.got)

    async def rest(self) -> bytes:
        """Read to the end of the connection; return all that came."""
        async with asyncio.timeout(WAIT_S):
            with suppress(ConnectionError):
                while data := await self.reader.read(65_536):
                    self.got += data
        return bytes(self.got)

    def hang_up(self, *, rudely: bool = False) -> float:
        """Go away, with a reset if `rudely`; return the instant, in seconds of `time.monotonic()`."""
        if rudely:
            self.writer.transport.abort()
        else:
            self.writer.close()
        return time.monotonic()


def chat(model: str = "llama-3.2-3b", said: str = "hi", **fields: Any) -> dict[str, Any]:
    """Return the body of a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": said}], **fields}


async def tune(node: Node, name: str, /, **fields: Any) -> None:
    """Change a backend's settings as a user does."""
    answer = await node.http.patch(f"/mesh/backends/{name}", json=fields)
    assert answer.status_code == 200, answer.text


async def router(node: Node) -> dict[str, int]:
    """Return the router's own counts."""
    counts: dict[str, int] = (await node.http.get("/mesh/snapshot")).json()["router"]["requests"]
    return counts
