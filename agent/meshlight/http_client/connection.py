"""One HTTP/1.1 connection, one exchange at a time: bytes in, an answer out.

It opens no socket: the transport is handed to it, so that tests can feed it bytes. Nothing here makes a task, a lock
or a timer; an exchange costs one write, one future, and one more for each wait of its reader.
"""

import asyncio
from time import monotonic
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from meshlight.domain.errors import ReadError, RemoteProtocolError, UpstreamError
from meshlight.http_client.response import HIGH_WATER, Headers, Reply, Response

__all__ = ["Connection", "ConnectionOwner", "Headers", "Reply", "Response"]

HEAD_MAX = 64 * 1024
"""Bytes of an answer's head, and of all else that brings no body: 1xx heads, chunk extensions, trailers."""
HEADERS_MAX = 200
ONE_WRITE_MAX = 64 * 1024
"""Up to here copying the body behind its head is cheaper than a second write."""


class ConnectionOwner(Protocol):
    """Who keeps connections: told when one opens, rests and closes."""

    def opened(self, connection: "Connection") -> None:
        """The connection is there."""

    def rested(self, connection: "Connection") -> None:
        """An exchange ended cleanly; the connection may serve another."""

    def closed(self, connection: "Connection") -> None:
        """The connection is gone, or will never serve again."""


class Connection(asyncio.Protocol):
    """A connection to a backend; `place` is how errors call it ("127.0.0.1:8080")."""

    __slots__ = (
        "_bodiless",
        "_fed",
        "_framed",
        "_headers",
        "_interim",
        "_is_busy",
        "_is_complete",
        "_is_paused",
        "_keeper",
        "_may_keep",
        "_parser",
        "_place",
        "_response",
        "_sent_at",
        "_transport",
        "_waiter",
        "_why",
        "idle_since",
        "is_reused",
        "is_usable",
        "loop",
    )

    _transport: asyncio.Transport

    def __init__(self, keeper: ConnectionOwner, place: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.idle_since = 0.0
        """When the last exchange ended, in seconds of `time.monotonic()`."""
        self.is_reused = False
        """Whether an exchange has ended on it."""
        self.is_usable = True
        """False once it was given up, by either side."""
        self._keeper = keeper
        self._place = place
        self._parser: Any = HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._response: Response | None = None
        self._why: UpstreamError | None = None  # it is not usable any more
        self._headers: list[tuple[bytes, bytes]] = []
        self._sent_at = 0.0
        self._fed = 0  # bytes since the last sign of progress
        self._bodiless = False  # an answer to HEAD
        self._framed = False  # by a length or by chunks; else the connection's end is the body's
        self._interim = False  # inside a 1xx answer
        self._is_busy = False  # inside an exchange
        self._is_complete = False  # the answer of this exchange has come whole
        self._is_paused = False
        self._may_keep = False

    # --- what the upstream asks

    def begin(self, head: bytes, body: bytes, *, bodiless: bool = False) -> asyncio.Future[Response]:
        """Write a request; the future gives its answer once the final head has come.

        Whoever is cancelled while waiting calls `abandon` with the future.
        """
        if self._why is not None:  # the server hung up, or spoke, before it was asked anything
            raise self._why
        waiter = self._waiter = self.loop.create_future()
        self._headers = []
        self._fed = 0
        self._is_busy = True
        self._bodiless = bodiless
        self._framed = self._interim = self._is_complete = self._may_keep = False
        self._sent_at = monotonic()
        if len(body) <= ONE_WRITE_MAX:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return waiter

    def abandon(self, waiter: asyncio.Future[Response]) -> None:
        """Close the connection unless the exchange of `waiter` is over: then it may serve another by now."""
        if self._waiter is waiter:
            self.abort()
        elif not waiter.cancelled() and waiter.exception() is None:
            waiter.result().abort()

    def abort(self) -> None:
        """Close the connection at once; an answer still under way ends in ConnectionLost."""
        self._fail(self._lost(f"The connection to {self._place} was given up."))

    def close(self) -> None:
        """Close an idle connection."""
        self.is_usable = False
        self._transport.close()

    def resume(self) -> None:
        """Let the server send again."""
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    # --- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]  # a stream transport, by create_connection
        self._keeper.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, then wake whoever waits: once, however many pieces there were."""
        if not self._is_busy:  # a server that speaks unasked can't be trusted with the next answer
            self._fail(RemoteProtocolError(f"{self._place} spoke before it was asked: it is no HTTP server."))
            return
        broken = self._parse(data)
        response = self._response
        if response is None:
            if broken is not None:
                self._fail(broken)
            return
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if waiter.cancelled():
                self.abort()
                return
            waiter.set_result(response)
        if broken is not None:
            self._fail(broken)
        elif self._is_complete:
            self._finish(response)
        elif response.unread > HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        response.wake()

    def eof_received(self) -> None:
        """End the body that only this can end; any other answer is cut short by it."""
        response = self._response
        if response is not None and not self._framed:
            self._finish(response)
            response.wake()
        else:
            self._fail(self._lost(f"{self._place} closed the connection {self._progress()}."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        response = self._response
        if response is not None and not self._framed and response.status >= 400 and exc is not None:
            # Who refuses a request without reading all of it and closes makes its kernel send a reset.
            self._finish(response)
            response.wake()
        else:
            self._fail(self._lost(f"The connection to {self._place} broke {self._progress()}."))
        # The parser holds this object's methods: a ring that only the garbage collector would end.
        self._parser = None
        self._keeper.closed(self)

    # --- what the parser finds

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._is_complete:
            raise RemoteProtocolError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come after the head, are dropped."""
        if self._response is not None:
            return
        name = name.lower()
        value = value.strip()
        if name == b"content-length":
            self._framed = True
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise RemoteProtocolError("a transfer encoding that was not asked for")
            self._framed = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Make the answer, unless this head is but a 1xx."""
        status: int = self._parser.get_status_code()
        headers = self._headers
        if len(headers) > HEADERS_MAX:
            raise RemoteProtocolError(f"more than {HEADERS_MAX} headers")
        if self._fed > HEAD_MAX and sum(len(n) + len(v) + 4 for n, v in headers) > HEAD_MAX:
            raise RemoteProtocolError(f"a head of more than {HEAD_MAX} bytes")
        if status < 200:
            if status == 101:
                raise RemoteProtocolError("a switch to a protocol that was not asked for")
            self._interim = True
            self._headers = []
            self._framed = False
            return
        self._fed = 0
        self._response = Response(
            self,
            status,
            headers,
            reused=self.is_reused,
            sent_at=self._sent_at,
            first_byte_at=monotonic(),
        )
        if self._bodiless or status in {204, 304}:
            self._framed = self._is_complete = True

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        response = self._response
        if response is None or self._is_complete:
            raise RemoteProtocolError("a body where there can be none")
        self._fed = 0
        response.feed(piece)

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self._interim:
            self._interim = False
            return
        self._is_complete = True
        self._may_keep = self._parser.should_keep_alive()

    # --- how an exchange ends

    def _parse(self, data: bytes) -> RemoteProtocolError | None:
        """Feed the parser; return what makes the answer unfit, if anything does."""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._may_keep = False
            if self._is_complete:
                return None  # the answer is whole; what came behind it only spoils the connection
            cause = error.__context__ if isinstance(error.__context__, RemoteProtocolError) else error
            return RemoteProtocolError(f"{self._place} does not speak HTTP as it should: {cause}.")
        if self._fed > HEAD_MAX and not self._is_complete:
            return RemoteProtocolError(
                f"{self._place} does not speak HTTP as it should: {self._fed} bytes without a body."
            )
        return None

    def _finish(self, response: Response) -> None:
        """End the exchange cleanly; keep the connection if both sides are done with it and willing."""
        self._response = None
        self._is_busy = False
        response.end()
        if self._may_keep and not self._transport.get_write_buffer_size():
            self.is_reused = True
            self.idle_since = monotonic()
            self._keeper.rested(self)
        else:  # perhaps with an answer that came before the request was sent whole: nobody wants the rest
            self.is_usable = False
            self._transport.abort()

    def _fail(self, error: UpstreamError) -> None:
        """End the exchange, if there is one, with an error; the connection is done for."""
        self.is_usable = False
        self._why = error
        self._is_busy = False
        waiter, response = self._waiter, self._response
        self._waiter = self._response = None
        self._transport.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        elif response is not None:
            response.fail(error)

    def _lost(self, title: str) -> ReadError:
        got_bytes = self._response is not None or self._fed > 0
        return ReadError(title, reused=self.is_reused, got_bytes=got_bytes)

    def _progress(self) -> str:
        if self._response is not None:
            return "in the middle of an answer"
        return "in the middle of an answer's head" if self._fed else "without an answer"
