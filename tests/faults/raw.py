"""A backend and a client whose every byte a test can choose or read."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from msgspec import Struct

from meshlight.domain.backend import Kind
from node import Node

WAIT_S = 5.0


class ReceivedRequest(Struct, frozen=True):
    """One request as a backend read it."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raw: bytes
    """Head and body, every byte."""
    connection: int

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


Responder = Callable[[asyncio.StreamWriter, ReceivedRequest], Awaitable[None]]


def complete(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return an answer with its length."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def responds(*pieces: bytes) -> Responder:
    """Write each piece by itself."""

    async def respond(writer: asyncio.StreamWriter, request: ReceivedRequest) -> None:  # noqa: ARG001 - a Responder
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return respond


def chunked(*pieces: bytes, content_type: bytes = b"text/event-stream") -> list[bytes]:
    """Return the pieces of a whole streamed answer."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % content_type
    return [head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"]


class RawBackend:
    """Lists `models`; answers every POST with what `say` writes."""

    kind: Kind = "openai-compatible"

    def __init__(self, name: str, models: Sequence[str] = ("m",), respond: Responder | None = None) -> None:
        self.name = name
        self.models = models
        self.respond = respond or responds(complete(b'{"ok": true}', b"content-type: application/json"))
        self.requests: list[ReceivedRequest] = []
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def posts(self) -> list[ReceivedRequest]:
        return [request for request in self.requests if request.method == "POST"]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self._port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._count += 1
        try:
            await self._answer(reader, writer, self._count)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the gateway closed the connection, or the test is over
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].split(b"\r\n")
            headers = tuple(
                (name.lower(), value) for name, _, value in (text.partition(b": ") for text in lines)
            )
            body = await reader.readexactly(int(dict(headers).get(b"content-length", b"0")))
            method, target, _ = line.decode("latin-1").split(" ")
            request = ReceivedRequest(method, target, headers, body, head + body, number)
            self.requests.append(request)
            if method == "POST":
                await self.respond(writer, request)
            else:
                data = [{"id": name, "object": "model", "owned_by": "x"} for name in self.models]
                listed = json.dumps({"object": "list", "data": data}).encode()
                writer.write(complete(listed, b"content-type: application/json"))
                await writer.drain()


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
