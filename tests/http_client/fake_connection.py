"""A connection without a network: the transport is a list, and the loop never runs."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from meshlight.domain.errors import UpstreamError
from meshlight.http_client.connection import Connection
from meshlight.http_client.known_heads import KnownHeads
from meshlight.http_client.response import Response


class FakeTransport(asyncio.Transport):
    """Remembers what was written and how it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent = 0
        self.is_closed = False
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class _StillLoop:
    """Makes futures and nothing else: whoever needs more of a loop does too much."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast("asyncio.AbstractEventLoop", self))

    def call_soon(self, *_: object, **__: object) -> None:
        raise AssertionError("nobody awaits here, so nobody is to be woken")

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An answer that nobody took."""


@dataclass
class TinCan:
    """A connection, its transport, and what its keeper was told."""

    transport: FakeTransport = field(default_factory=FakeTransport)
    told: list[str] = field(default_factory=list)
    heads: KnownHeads = field(default_factory=KnownHeads)

    def __post_init__(self) -> None:
        self.connection = Connection(self, "host:1", cast("asyncio.AbstractEventLoop", _StillLoop()))
        self.connection.connection_made(self.transport)

    def opened(self, connection: Connection) -> None:
        assert connection.is_usable
        self.told.append("opened")

    def began(self, connection: Connection) -> None:
        assert not connection.is_reused
        self.told.append("began")

    def answered(self, connection: Connection) -> None:
        assert not connection.is_reused
        self.told.append("answered")

    def released(self, connection: Connection) -> None:
        assert connection is self.connection
        self.told.append("rested")

    def closed(self, connection: Connection) -> None:
        assert not connection.is_usable
        self.told.append("closed")

    @property
    def is_kept(self) -> bool:
        """Whether the connection may serve another request."""
        return self.connection.is_usable and self.told[-1] == "rested"

    def ask(self, *, bodiless: bool = False) -> asyncio.Future[Response]:
        return self.connection.begin(b"GET / HTTP/1.1\r\n\r\n", b"", bodiless=bodiless)

    def hear(self, *pieces: bytes) -> None:
        """Receive the pieces one by one, as far as the connection is still open."""
        for piece in pieces:
            if piece and not self.transport.is_closed:
                self.connection.data_received(piece)

    def hang_up(self) -> None:
        """The server closes; the loop then tells the loss, as real ones do."""
        if not self.transport.is_closed:
            self.connection.eof_received()
        self.connection.connection_lost(None)

    def break_off(self) -> None:
        """The server resets."""
        self.connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))


def step(coroutine: Coroutine[Any, Any, bytes]) -> bytes | None:
    """Run a coroutine until it returns (its value) or waits (None)."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("bytes", end.value)
    return None


def drain(response: Response) -> Iterator[bytes]:
    """Read until the clean end or the error, which is raised; an answer that makes one wait is a failure."""
    while True:
        piece = step(response.read())
        assert piece is not None, "the read waits"
        if not piece:
            return
        yield piece


@dataclass
class Outcome:
    """What a reader got: the head, the body so far, and how it ended."""

    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    error: type[UpstreamError] | None = None
    is_kept: bool = False


def listen(
    pieces: list[bytes],
    *,
    bodiless: bool = False,
    is_closed_after: bool = True,
    heads: KnownHeads | None = None,
) -> Outcome:
    """Send one request over a new connection, receive `pieces`, and tell what came of it."""
    can, outcome = TinCan(heads=heads or KnownHeads()), Outcome()
    answer = can.ask(bodiless=bodiless)
    can.hear(*pieces)
    outcome.is_kept = can.is_kept
    if is_closed_after:
        can.hang_up()
    try:
        response = answer.result()
        outcome.status, outcome.headers = response.status, tuple(response.headers)
        for piece in drain(response):
            outcome.body += piece
    except UpstreamError as error:
        outcome.error = type(error)
    return outcome
