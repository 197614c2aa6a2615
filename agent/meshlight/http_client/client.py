"""Speaking to one backend: requests out, answers in, connections kept warm between them.

The connections to one backend: which are open, and which rest and may be used again.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from time import monotonic

from meshlight.domain.errors import BadRequest, ReadError, ReadTimeout, ResponseTooLarge
from meshlight.domain.proxy import Proxy, UnusableProxy
from meshlight.http_client.address import Address
from meshlight.http_client.connection import Connection
from meshlight.http_client.connector import Connector, Resolver
from meshlight.http_client.response import Headers, Reply, Response
from meshlight.http_client.tunnel import TunnelConnector

__all__ = ["Headers", "Reply", "Response", "Upstream"]

CONNECT_SHARE = 0.9
"""The part of a fetch's time that may go into connecting, so that "no connection" and "no answer" differ."""
CROWDED_S = 0.1
"""A new connection on which no answer has begun after this long may be waiting for one that rests to close."""
_LINES_KEPT = 256
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_IDENTITY = (b"accept-encoding", b"identity")


class Upstream:
    """One backend's HTTP/1.1 client, with its own pool of connections.

    The environment is never looked at, redirects are never followed. `proxy` is what the connections are tunnelled
    through; `resolver` and `tls` are for callers with names or authorities of their own.
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
        self._dialer = (
            Connector(address, self._pool, own=own, resolver=resolver, tls=tls)
            if proxy is None
            else TunnelConnector(address, self._pool, proxy=proxy, own=own, resolver=resolver, tls=tls)
        )
        self._lines: dict[tuple[str, str], bytes] = {}

    @property
    def idle(self) -> int:
        """How many connections rest in the pool."""
        return self._pool.resting

    @property
    def open(self) -> int:
        """How many connections are open, resting or busy."""
        return self._pool.open

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes = b"",
        *,
        fresh: bool = False,
        resend: bool = True,
        connect_timeout_s: float | None = None,
    ) -> Response:
        """Send a request and return its answer once the final head has come.

        `headers` may not hold `host`, `content-length`, `transfer-encoding` or `connection`: those are made
        here. When a connection from the pool dies before any byte of the answer, the request is sent once more
        on a new one; `fresh` forbids both, `resend=False` the second. The caller reads the answer to its end or
        aborts it. Cancelling closes the connection. Raises BadRequest, ConnectFailed, ConnectionLost or BadReply.
        """
        head = self._head(method, target, headers, body)
        connection = None if fresh else self._pool.take(monotonic())
        while True:
            if connection is None:
                connection = await self._dialer.dial(connect_timeout_s or self._connect_timeout_s)
            waiter = connection.begin(head, body, bodiless=method == "HEAD")
            try:
                return await waiter if connection.is_reused else await self._first_answer(connection, waiter)
            except asyncio.CancelledError:
                connection.abandon(waiter)
                raise
            except ReadError as lost:
                if lost.got_bytes or not lost.reused or not resend:
                    raise
            connection = None  # it was closing already: once more, on a new one

    async def _first_answer(self, connection: Connection, waiter: asyncio.Future[Response]) -> Response:
        """Await the first answer on a new connection; while it is late, no other connection rests.

        Small servers serve a connection by a thread for as long as it rests (llama-server has slots + 2 threads and
        rests 5 s): a new connection is accepted, and then waits behind our own resting ones.
        """
        late = connection.loop.call_later(CROWDED_S, self._pool.crowd, connection)
        try:
            return await waiter
        finally:
            late.cancel()
            self._pool.ease(connection)

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
        """Fetch a small answer whole: at most `limit` bytes of body, all within `timeout_s` seconds.

        `path` is an API path such as `/v1/models`; the address makes the request target of it. Raises what
        `send` raises, ReplyTooLate and ReplyTooLarge.
        """
        response: Response | None = None
        pieces: list[bytes] = []
        left = limit
        try:
            async with asyncio.timeout(timeout_s):
                response = await self.send(
                    method,
                    self.address.target(path),
                    (_IDENTITY, *headers),
                    body,
                    connect_timeout_s=min(self._connect_timeout_s, timeout_s * CONNECT_SHARE),
                )
                while piece := await response.read():
                    left -= len(piece)
                    if left < 0:
                        raise ResponseTooLarge(
                            f"{self.address.place} answered {path} with more than {limit} bytes."
                        )
                    pieces.append(piece)
        except TimeoutError as error:
            what = "did not answer" if response is None else "did not end its answer to"
            raise ReadTimeout(f"{self.address.place} {what} {path} within {timeout_s:g} s.") from error
        finally:
            if response is not None:
                response.abort()
        return Reply(
            status=response.status,
            headers=response.headers,
            body=b"".join(pieces),
            elapsed_s=response.first_byte_at - response.sent_at,
            reused=response.reused,
        )

    def close(self) -> None:
        """Close idle connections now, and busy ones when their exchange ends."""
        self._pool.close()

    def _head(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        """Return the request's head, and refuse one that would be read as more than one."""
        lines = [self._lines.get((method, target)) or self._line(method, target)]
        lines += [b": ".join(header) for header in headers]
        breaks = len(lines) + 2
        if body or method in _WITH_BODY:
            lines.append(b"content-length: %d\r\n\r\n" % len(body))
            breaks += 1
        else:
            lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
            raise BadRequest("A header holds a line break or a NUL.", "Send a header's value as one line.")
        return head

    def _line(self, method: str, target: str) -> bytes:
        """Return the request line with the host line, remembered for the next time."""
        if not (method.isascii() and method.isalpha()):
            raise BadRequest(f"{method!r} is no HTTP method.")
        if not (target.startswith("/") and target.isascii() and target.isprintable() and " " not in target):
            raise BadRequest(f"{target[:80]!r} is no request target.", "Escape its letters with %.")
        line = f"{method} {target} HTTP/1.1\r\nhost: {self.address.authority}".encode("ascii")
        if len(self._lines) >= _LINES_KEPT:
            self._lines.clear()  # targets come from clients: there may be any number of them
        self._lines[method, target] = line
        return line


class ConnectionPool:
    """Keep-alive for one backend: last in, first out, and never a connection that rested too long.

    Servers close resting connections after a time of their own (llama.cpp after 5 s); expiring them well
    before that keeps the race rare in which a request meets a closing connection.
    """

    __slots__ = ("_crowding", "_expiry_s", "_is_closed", "_resting", "open")

    def __init__(self, expiry_s: float) -> None:
        self.open = 0
        """How many connections are open, resting or not."""
        self._expiry_s = expiry_s
        self._crowding: set[Connection] = set()
        """New connections whose first answer is late."""
        self._is_closed = False
        self._resting: deque[Connection] = deque()  # oldest first

    @property
    def resting(self) -> int:
        """How many connections rest."""
        return len(self._resting)

    def take(self, now: float) -> Connection | None:
        """Take the connection that rested least, if one is fit to serve; `now` is `time.monotonic()`."""
        resting = self._resting
        while resting:
            connection = resting.pop()
            if now - connection.idle_since > self._expiry_s:
                resting.append(connection)
                self._drop_all()  # the others rested even longer
            elif connection.is_usable:
                return connection
        return None

    def close(self) -> None:
        """Close what rests now, and the others as their exchanges end."""
        self._is_closed = True
        self._drop_all()

    def crowd(self, connection: Connection) -> None:
        """Let nothing rest until `ease`: the connection may wait for a place that a resting one holds."""
        self._crowding.add(connection)
        self._drop_all()

    def ease(self, connection: Connection) -> None:
        """The connection's first answer has come, or is not waited for any more."""
        self._crowding.discard(connection)

    def opened(self, connection: Connection) -> None:  # noqa: ARG002  # the Keeper's words
        """Count a connection."""
        self.open += 1

    def rested(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if self._is_closed or self._crowding:
            connection.close()
            return
        resting = self._resting
        if resting and connection.idle_since - resting[0].idle_since > self._expiry_s:
            resting.popleft().close()  # after a burst the bottom of the pile would lie there for ever
        resting.append(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.open -= 1
        if connection in self._resting:
            self._resting.remove(connection)

    def _drop_all(self) -> None:
        while self._resting:
            self._resting.pop().close()
