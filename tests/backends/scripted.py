"""A server whose every byte the test decides, and the event loops that the tests run on."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Self

import pytest

from meshlight.http_client.address import Address

UVLOOP: Any = import_module("uvloop") if find_spec("uvloop") else None  # not on Windows

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
NO_BODY = b"HTTP/1.1 204 No Content\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Request:
    """A request as the server read it."""

    line: str
    headers: dict[str, str]
    body: bytes
    raw_head: bytes


@dataclass
class Peer:
    """The server's end of one accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Request] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self) -> Request:
        """Read one request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = dict(text.split(": ", 1) for text in lines)
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(line, headers, body, head)
        self.requests.append(request)
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


class ScriptedServer:
    """Listens on a free loopback port and plays `script` on each connection, then closes it."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self.peers: list[Peer] = []

    @property
    def accepted(self) -> int:
        """How many connections were accepted."""
        return len(self.peers)

    @property
    def requests(self) -> list[Request]:
        """All requests that were read, by connection."""
        return [request for peer in self.peers for request in peer.requests]

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("https" if self._tls else "http", "127.0.0.1", self.port)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
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
        peer = Peer(reader, writer)
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
        place = 0
        while True:
            await peer.request()
            await peer.send(answers[min(place, len(answers) - 1)])
            place += 1

    return script


def _loops() -> list[Any]:
    loops = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    if UVLOOP is not None:
        loops.append(pytest.param(UVLOOP.new_event_loop, id="uvloop"))
    return loops


def on_each_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the standard library's loop and on uvloop, with 20 seconds for each."""

    @pytest.mark.parametrize("loop_factory", _loops())
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(asyncio.wait_for(test(), 20))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run
