"""A server in the test's own event loop whose every byte the test decides.

A script plays on each connection: it reads requests, sends bytes, stalls, closes or resets. The server records the
requests. Servers of the tests that need exact bytes are scripts for this one.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from meshlight.http_client.address import Address

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
NO_BODY = b"HTTP/1.1 204 No Content\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True)
class Request:
    """A request as the server read it."""

    raw_head: bytes
    body: bytes
    connection: int
    """The number of its connection, from 1."""

    @property
    def raw(self) -> bytes:
        """Head and body, every byte."""
        return self.raw_head + self.body

    @property
    def line(self) -> str:
        """The request line."""
        return self.raw_head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        """Path and query."""
        return self.line.split(" ")[1]

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """All headers in their order, with lower-case names."""
        lines = self.raw_head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
        return tuple((name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines))

    @property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; of several with one name, the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers}

    def header(self, name: bytes) -> list[bytes]:
        """Return all values of one header, whose name is given in lower case."""
        return [value for key, value in self.raw_headers if key == name]


@dataclass
class Peer:
    """The server's end of one accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    received: list[Request]
    """The server's record of requests."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self) -> Request:
        """Read one request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = Request(head, b"", self.number).headers.get("content-length", "0")
        request = Request(head, await self.reader.readexactly(int(length)), self.number)
        self.received.append(request)
        return request

    async def send(self, *pieces: bytes) -> None:
        """Send each piece in a write of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def until_gone(self) -> None:
        """Wait until the client has closed or reset the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.gone.set()

    def reset(self) -> None:
        """Drop the connection with a reset instead of a normal close."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]

ACCEPT_TURNS = 5
"""Turns of the event loop between a client's connect and the start of the script, and one to spare."""
HEAD_MAX = 1 << 20
"""Bytes of a request's head that a script can read."""


class ByteServer:
    """Listens on loopback, on a free port unless one is given, and plays `script` on each connection, then closes it.

    With `listener`, a bound socket, it listens there. An error of the script is raised when the server closes.
    """

    def __init__(
        self,
        script: Script,
        tls: ssl.SSLContext | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        listener: socket.socket | None = None,
    ) -> None:
        self._script = script
        self._tls = tls
        self._host = host
        self.port = port
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self.peers: list[Peer] = []
        self.requests: list[Request] = []
        """All requests that were read, as they arrived."""

    @property
    def accepted(self) -> int:
        """How many connections were accepted."""
        return len(self.peers)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("https" if self._tls else "http", self._host, self.port)

    @property
    def url(self) -> str:
        return self.address.url

    async def __aenter__(self) -> Self:
        if self._listener is None:
            self._server = await asyncio.start_server(
                self._accept, self._host, self.port, ssl=self._tls, limit=HEAD_MAX
            )
        else:
            self._server = await asyncio.start_server(
                self._accept, sock=self._listener, ssl=self._tls, limit=HEAD_MAX
            )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        # What is being accepted when the server closes would never be closed: asyncio loses its transport.
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # a transport is closed one turn after `close`
        if kind is None and self._errors:
            raise self._errors[0]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer, len(self.peers) + 1, self.requests)
        self.peers.append(peer)
        try:
            await self._script(peer)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left, or the test is over
        except Exception as error:  # noqa: BLE001  # raised at the end of the test
            self._errors.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)


def answering(*answers: bytes) -> Script:
    """Answer each request of a connection with the next of `answers`; the last one is repeated."""

    async def script(peer: Peer) -> None:
        index = 0
        while True:
            await peer.request()
            await peer.send(answers[min(index, len(answers) - 1)])
            index += 1

    return script
