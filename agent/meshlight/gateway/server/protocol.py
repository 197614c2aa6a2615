"""What the connections of an HTTP server have by themselves, and what they share."""

import asyncio
import socket
from abc import ABC, abstractmethod
from typing import Any, Final

HIGH_WATER_LIMIT: Final = 65_536
"""Bytes of a request's body that wait for the application before no more are read."""

Address = tuple[str, int | None]
"""A host with its port, or the path of a Unix socket and None."""


class FlowControl:
    """Whether a transport is read, and whether it takes more."""

    __slots__ = ("_transport", "_writable", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.read_paused = False
        self.write_paused = False
        self._transport = transport
        self._writable: asyncio.Event | None = None

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        if self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Have `drain` wait: the client reads too slowly."""
        self.write_paused = True
        if self._writable is not None:
            self._writable.clear()

    def resume_writing(self) -> None:
        """Let everyone who waits in `drain` go on."""
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()


class ServerState:
    """What the connections of one server share."""

    def __init__(self) -> None:
        self.total_requests = 0
        self.connections: set[HttpToolsProtocol] = set()
        self.tasks: set[asyncio.Task[None]] = set()


class HttpToolsProtocol(asyncio.Protocol, ABC):
    """The state of one connection whose requests httptools parses."""

    # With more than 30 attributes, each connection would have a dict of its own for them, of more than a kilobyte.
    __slots__ = (
        "app_state",
        "connections",
        "expect_100_continue",
        "flow",
        "headers",
        "loop",
        "parser",
        "scheme",
        "tasks",
        "transport",
        "url",
    )

    transport: asyncio.Transport
    flow: FlowControl
    url: bytes
    headers: list[tuple[bytes, bytes]]

    def __init__(
        self,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.parser: Any = None
        """httptools', once it is needed: many a connection has only heads that are known."""
        self.app_state = app_state
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.scheme = "http"
        self.expect_100_continue = False

    @property
    @abstractmethod
    def unanswered(self) -> int:
        """The number of its requests whose answer is not complete yet."""

    @abstractmethod
    def shutdown(self) -> None:
        """Close as soon as the running request is answered; the server is stopping."""

    def eof_received(self) -> None:
        """Close: a client that ends its side waits for no answer."""

    def pause_writing(self) -> None:
        """See `FlowControl`; the transport calls it."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """See `FlowControl`; the transport calls it."""
        self.flow.resume_writing()


def get_local_addr(transport: asyncio.Transport) -> Address | None:
    """Return the address to which the client has connected; None where it has none, or has left already."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    try:
        return None if sock is None else _address(sock.getsockname())
    except OSError:
        return None


def get_remote_addr(transport: asyncio.Transport) -> Address | None:
    """Return the client's address; None as above, and at the end of a Unix socket."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    try:
        name = None if sock is None else sock.getpeername()
    except OSError:
        return None
    return _address(name) if isinstance(name, tuple) else None


def _address(name: object) -> Address | None:
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) else None
