"""The HTTP client of one backend: sends requests, returns responses, and reuses connections from its pool."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from meshlight.domain.deadlines import Deadlines
from meshlight.domain.errors import BadRequest, ReadError, ReadTimeout, ResponseTooLarge
from meshlight.domain.proxy import Proxy, UnusableProxy
from meshlight.http_client.address import Address
from meshlight.http_client.connection import Connection, Waiter
from meshlight.http_client.connector import Connector, Resolver
from meshlight.http_client.fair_timeout import fair_timeout
from meshlight.http_client.known_heads import KnownHeads
from meshlight.http_client.opening import Dial, Opening, TaskOpening
from meshlight.http_client.reply import Headers, Reply
from meshlight.http_client.response import Response
from meshlight.http_client.tunnel import TunnelConnector

__all__ = ["Headers", "Opening", "Reply", "Response", "Upstream"]

CONNECT_SHARE: Final = 0.9
"""The share of a fetch's time for connecting, so that "no connection" and "no answer" are told apart."""
SLOW_FIRST_RESPONSE_S: Final = 0.1
"""Each time it passes without a response, a new connection may be waiting for an idle one to be closed."""
IDLE_USUAL: Final = 16
"""More idle connections are those of a burst: closing them is no work for the next request."""
CLOSED_AT_ONCE: Final = 64
"""So many of them are closed in one turn of the event loop."""
_SLACK_S: Final = 0.005
"""A timer may fire early by this much."""
_REQUEST_LINES_MAX: Final = 256
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_PLAIN: Final = bytes(byte for byte in range(256) if byte not in b"\r\n\0")
"""What a head may hold beside the ends of its lines."""
_IDENTITY: Final = (b"accept-encoding", b"identity")


class SendCounter(Protocol):
    """Counts how often a request was sent, also where nothing came of it."""

    sends: int


class SentRequest:
    """A request that was written without waiting, and who waits for its response now."""

    __slots__ = ("connection", "waiter")

    def __init__(self, connection: Connection, waiter: asyncio.Future[Response]) -> None:
        self.connection = connection
        self.waiter = waiter


class Upstream:
    """One backend's HTTP/1.1 client, with its own pool of connections.

    It ignores the environment, and never follows redirects. `proxy` is what the connections are tunnelled through;
    `resolver` and `tls` replace the system's names and certificate authorities.
    """

    def __init__(
        self,
        address: Address,
        *,
        own: frozenset[tuple[str, int]] = frozenset(),
        connect_timeout_s: float = 5.0,
        idle_expiry_s: float = 2.0,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        proxy: Proxy | UnusableProxy | None = None,
    ) -> None:
        self.address = address
        self._connect_timeout_s = connect_timeout_s
        self._pool = ConnectionPool(idle_expiry_s)
        resolver = resolver or Resolver()
        self._connector = (
            Connector(address, self._pool, own=own, resolver=resolver, tls=tls)
            if proxy is None
            else TunnelConnector(address, self._pool, proxy=proxy, own=own, resolver=resolver, tls=tls)
        )
        self._deadlines = Deadlines()
        self._lines: dict[tuple[str, str], bytes] = {}
        self._targets: dict[str, str] = {}

    @property
    def idle(self) -> int:
        """The number of idle connections in the pool."""
        return self._pool.idle

    def share_room(self, other: "Upstream") -> None:
        """Count the connections of another client of this server too where a new one has to be made room for."""
        self._pool.join(other.room)

    @property
    def room(self) -> "Room":
        """What its connections share with those of other clients of the server."""
        return self._pool.room

    @property
    def open(self) -> int:
        """The number of open connections, idle or busy."""
        return self._pool.open

    async def send(  # noqa: PLR0913 - most are given by name
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes = b"",
        *,
        fresh: bool = False,
        resend: bool = True,
        connect_timeout_s: float | None = None,
        counter: SendCounter | None = None,
        sent: SentRequest | Opening | None = None,
    ) -> Response:
        """Send a request and return its response once the final head has arrived.

        `headers` must not contain `host`, `content-length`, `transfer-encoding` or `connection`: those are added
        here. When a pooled connection ends before any byte of the response, the request is sent once more on a new
        one; `fresh` forbids pooled connections, and `resend=False` the second attempt. Each one is counted in
        `counter`. `sent` is the same request, if `send_at_once` has sent it already, or the connection that
        `open_at_once` opens for it. The caller reads the response to its end or aborts it. Cancelling closes the
        connection. Raises BadRequest, ConnectError, ReadError or RemoteProtocolError.
        """
        head = self._head(method, target, headers, body)
        connection, waiter = None, None
        if isinstance(sent, SentRequest):
            connection, waiter = sent.connection, sent.waiter
        elif sent is not None:
            connection = await sent.wait()
        elif not fresh:
            connection = self._pool.acquire(monotonic())
        while True:
            if connection is None:
                connection = await self._connector.connect(connect_timeout_s or self._connect_timeout_s)
            if waiter is None:
                waiter = connection.begin(head, body, bodiless=method == "HEAD")
            if counter is not None:
                counter.sends += 1
            try:
                return await waiter
            except asyncio.CancelledError:
                connection.abandon(waiter)
                raise
            except ReadError as lost:
                if lost.got_bytes or not lost.reused or not resend:
                    raise
            connection = waiter = None  # it was closing already: once more, on a new one

    def send_at_once(self, start: bytes, body: bytes, waiter: Waiter) -> Connection | None:
        """Send a POST on a connection of the pool, and return that; None where there is none, so nothing was sent.

        `start` is from `start_of_post`. The response, or a ReadError if that connection was closing already, goes
        to `waiter`.
        """
        now = monotonic()
        connection = self._pool.acquire(now)
        if connection is not None:
            post(connection, start, body, waiter, now)
        return connection

    def open_at_once(self) -> Opening:
        """Begin to open a connection for one request; ends as `Connector.connect` does.

        Whoever begins it either sends on it with `post`, or passes it to `send`.
        """
        loop, connector, limit_s = asyncio.get_running_loop(), self._connector, self._connect_timeout_s
        if isinstance(connector, Connector) and (ip := connector.clear_ip) is not None:
            return Dial(loop, connector, ip, limit_s, self._deadlines)
        return TaskOpening(loop, connector.connect(limit_s))

    def start_of_post(self, target: str, headers: Headers) -> bytes:
        """Return the head of a POST up to the length of its body; raises BadRequest like `send`."""
        return self._head("POST", target, headers, b"").rpartition(b"content-length: ")[0]

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 2.0,
        limit: int = 1 << 20,
    ) -> Reply:
        """Fetch a small response completely: at most `limit` bytes of body, all within `timeout_s` seconds.

        `path` is an API path such as `/v1/models`; the address makes the request target of it. Raises what
        `send` raises, ReadTimeout and ResponseTooLarge.
        """
        response: Response | None = None
        try:
            async with fair_timeout(timeout_s):
                response = await self.send(
                    method,
                    self.target(path),
                    (_IDENTITY, *headers),
                    body,
                    connect_timeout_s=min(self._connect_timeout_s, timeout_s * CONNECT_SHARE),
                )
                found = await _read_whole(response, limit)
        except TimeoutError as error:
            what = "did not answer" if response is None else "did not end its answer to"
            raise ReadTimeout(f"{self.address.host_port} {what} {path} within {timeout_s:g} s.") from error
        if found is None:
            raise ResponseTooLarge(f"{self.address.host_port} answered {path} with more than {limit} bytes.")
        return Reply(
            status=response.status,
            headers=response.headers,
            body=found,
            elapsed_s=response.first_byte_at - response.sent_at,
            reused=response.reused,
        )

    def close(self) -> None:
        """Close idle connections now, and busy ones when their exchange ends."""
        self._pool.close()

    def target(self, path: str) -> str:
        """Return the request target of an API path (see `Address.target`), cached for the next time."""
        found = self._targets.get(path)
        if found is None:
            if len(self._targets) >= _REQUEST_LINES_MAX:
                self._targets.clear()
            found = self._targets[path] = self.address.target(path)
        return found

    def _head(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        """Return the request's head; raises BadRequest for one that a server would read as more than one request."""
        lines = [self._lines.get((method, target)) or self._line(method, target)]
        lines += [b": ".join(header) for header in headers]
        breaks = len(lines) + 2
        if body or method in _WITH_BODY:
            lines.append(b"content-length: %d\r\n\r\n" % len(body))
            breaks += 1
        else:
            lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if head.translate(None, _PLAIN) != b"\r\n" * breaks:
            raise BadRequest("A header holds a line break or a NUL.", "Send a header's value as one line.")
        return head

    def _line(self, method: str, target: str) -> bytes:
        """Return the request line and the Host header, cached for the next time."""
        if not (method.isascii() and method.isalpha()):
            raise BadRequest(f"{method!r} is not an HTTP method.")
        if not (target.startswith("/") and target.isascii() and target.isprintable() and " " not in target):
            raise BadRequest(f"{target[:80]!r} is not a request target.", "Escape its letters with %.")
        line = f"{method} {target} HTTP/1.1\r\nhost: {self.address.authority}".encode("ascii")
        if len(self._lines) >= _REQUEST_LINES_MAX:
            self._lines.clear()  # targets come from clients, who may send any number of them
        self._lines[method, target] = line
        return line


def post(connection: Connection, start: bytes, body: bytes, waiter: Waiter, now: float) -> None:
    """Send a POST on a connection; `start` is from `Upstream.start_of_post`, and the response goes to `waiter`.

    `now` is `time.monotonic()`.
    """
    connection.begin_for(waiter, b"%bcontent-length: %d\r\n\r\n" % (start, len(body)), body, now)


async def _read_whole(response: Response, limit: int) -> bytes | None:
    """Read a body to its end and return it; None, with the connection closed, if it has more than `limit` bytes."""
    pieces: list[bytes] = []
    try:
        while piece := await response.read():
            limit -= len(piece)
            if limit < 0:
                return None
            pieces.append(piece)
    finally:
        response.abort()
    return b"".join(pieces)


class Room:
    """What the pools of connections to one server share."""

    __slots__ = ("late", "pools")

    def __init__(self) -> None:
        self.late: set[Connection] = set()
        """New connections for each of which one is to be closed as soon as it becomes idle."""
        self.pools: list[ConnectionPool] = []


class ConnectionPool:
    """The connections to one backend; the last idle one is reused first, and none that was idle for too long.

    Servers close idle connections after a time of their own (llama.cpp after 5 s). Expiring them well before that
    makes it rare that a request is sent on a connection that is being closed.

    Small servers use one thread per connection, also while it is idle (llama-server has slots + 2 threads and
    closes idle connections after 5 s): a new connection is accepted, and then waits for our own idle ones. So each
    new connection whose first response is late has an idle one closed, or the next one that becomes idle; of another
    pool that shares the room at the server only when it is late again.
    """

    __slots__ = ("_closing", "_expiry_s", "_first", "_idle", "_is_closed", "_timer", "heads", "open", "room")

    def __init__(self, expiry_s: float) -> None:
        self.heads = KnownHeads()
        self.open = 0
        """The number of open connections, idle or busy."""
        self._expiry_s = expiry_s
        self._first: dict[Connection, float] = {}
        """New connections that wait for their first response, with since when, the oldest first."""
        self.join(Room())
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        """When connections of a burst are closed next."""
        self._is_closed = False
        self._idle: deque[Connection] = deque()  # oldest first

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return len(self._idle)

    def acquire(self, now: float) -> Connection | None:
        """Return the usable connection that was idle for the shortest time, if any; `now` is `time.monotonic()`."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            connection.is_idle = False
            if now - connection.idle_since > self._expiry_s:
                connection.close()
                self._close_idle()  # the others were idle even longer
            elif connection.is_usable:
                return connection
        return None

    def join(self, room: "Room") -> None:
        """Make room for the new connections of the other pools of a room too, as they do for its own."""
        self.room = room
        room.pools.append(self)

    def close_oldest(self) -> bool:
        """Close the connection that has been idle for longest; False if there is none."""
        if self._idle:
            self._rested(self._idle.popleft())
            return True
        return False

    def close(self) -> None:
        """Close the idle connections now, and the others when their exchange ends."""
        self._is_closed = True
        self._close_idle()

    def opened(self, connection: Connection) -> None:  # noqa: ARG002  # ConnectionOwner's signature
        """Count a connection."""
        self.open += 1

    def began(self, connection: Connection) -> None:
        """Watch for how long a new connection waits for its first response."""
        self._first[connection] = connection.loop.time()
        if self._timer is None:
            loop = connection.loop
            self._timer = loop.call_later(SLOW_FIRST_RESPONSE_S, self._make_room, loop)

    def answered(self, connection: Connection) -> None:
        """Make no room for this one any more."""
        self._first.pop(connection, None)
        self.room.late.discard(connection)
        if self._timer is not None and not self._first:
            self._timer.cancel()
            self._timer = None

    def released(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it."""
        late = self.room.late
        if self._is_closed or late:
            if late:
                late.pop()
            connection.close()
            return
        idle = self._idle
        if idle and connection.idle_since - idle[0].idle_since > self._expiry_s:
            self._rested(idle.popleft())  # else the oldest ones would stay for ever after a burst
        connection.is_idle = True
        idle.append(connection)
        if len(idle) > IDLE_USUAL and self._closing is None:
            loop = connection.loop
            self._closing = loop.call_later(self._expiry_s, self._close_burst, loop)

    def closed(self, connection: Connection) -> None:
        """Remove a connection."""
        self.open -= 1
        if connection.is_idle:
            self._idle.remove(connection)

    def _make_room(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close an idle connection for each new one that is late, and look again."""
        now, first, waiting = loop.time(), self._first, self.room.late
        late: list[Connection] = []
        for connection, since in first.items():
            if now - since + _SLACK_S < SLOW_FIRST_RESPONSE_S:
                break  # nor are those after it
            late.append(connection)
        for connection in late:
            del first[connection]
            first[connection] = now
            if self.close_oldest():
                continue
            if connection in waiting and any(pool.close_oldest() for pool in self.room.pools):
                waiting.discard(connection)
            else:
                waiting.add(connection)
        wait_s = next(iter(first.values())) + SLOW_FIRST_RESPONSE_S - now
        self._timer = loop.call_later(wait_s, self._make_room, loop)

    def _close_burst(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close those that were idle for too long, and look again while there are many."""
        self._closing = None
        idle, now = self._idle, loop.time()
        for _ in range(min(len(idle), CLOSED_AT_ONCE)):
            if now - idle[0].idle_since + _SLACK_S < self._expiry_s:
                break
            self._rested(idle.popleft())
        if len(idle) > IDLE_USUAL:
            wait_s = idle[0].idle_since + self._expiry_s - now
            self._closing = loop.call_later(max(wait_s, 0.0), self._close_burst, loop)

    def _close_idle(self) -> None:
        while self._idle:
            self._rested(self._idle.pop())

    def _rested(self, connection: Connection) -> None:
        connection.is_idle = False
        connection.close()
