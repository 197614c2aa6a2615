"""One HTTP/1.1 connection, which carries one request and response at a time.

It opens no socket: it gets its transport, so that tests can feed it bytes. It creates no tasks, locks or timers; an
exchange costs one write, one future, and one more future for each wait of its reader.

An answer whose head is known (`known_heads`) and that has a length is read without the parser. So are the chunks of
a stream that come one by one, where the reader takes them as they are.
"""

import asyncio
import re
from time import monotonic
from typing import Any, Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from meshlight.domain.errors import ReadError, RemoteProtocolError, UpstreamError
from meshlight.http_client.known_heads import END, KnownHead, KnownHeads
from meshlight.http_client.response import HIGH_WATER, Response, ResponseListener

HEAD_MAX: Final = 64 * 1024
"""Bytes of a response's head, and of everything else without body: 1xx heads, chunk extensions, trailers."""
HEADERS_MAX: Final = 200
ONE_WRITE_MAX: Final = 64 * 1024
"""Up to this size, copying the body behind the head is cheaper than a second write."""
_LOOKED_AT_MAX: Final = 4 * 1024
"""Bytes of one read in which chunks are looked for without the parser."""
_SIZE_LINE_MAX: Final = 6
_sizes: dict[bytes, int] = {}
"""The sizes of small chunks as they are usually written; there are at most 4,095."""
_LAST_CHUNK: Final = b"0\r\n\r\n"
_USUAL_HEAD: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
"""What the parser sees of an answer whose head was read without it."""
_USUAL_SIZE: Final = re.compile(rb"[1-9a-f][0-9a-f]{0,2}")


class ConnectionOwner(Protocol):
    """The owner of connections: notified when one opens, becomes idle and closes."""

    heads: KnownHeads
    """The heads of answers that its connections have read."""

    def opened(self, connection: "Connection") -> None:
        """The connection is open."""

    def began(self, connection: "Connection") -> None:
        """Its first request was sent."""

    def answered(self, connection: "Connection") -> None:
        """The head of its first response has come, or will not come."""

    def released(self, connection: "Connection") -> None:
        """An exchange ended cleanly; the connection can carry another."""

    def closed(self, connection: "Connection") -> None:
        """The connection is closed."""


Waiter = ResponseListener | asyncio.Future[Response]
"""Who waits for a response."""


class Connection(asyncio.Protocol):
    """A connection to a backend; `peer_name` names it in errors ("127.0.0.1:8080")."""

    __slots__ = (
        "_at_chunk",
        "_at_head",
        "_bodiless",
        "_failure",
        "_fed",
        "_framed",
        "_headers",
        "_interim",
        "_is_busy",
        "_is_chunked",
        "_is_complete",
        "_is_paused",
        "_known",
        "_left",
        "_may_reuse",
        "_owner",
        "_parser",
        "_peer_name",
        "_response",
        "_sent_at",
        "_transport",
        "_waiter",
        "idle_since",
        "is_idle",
        "is_reused",
        "is_usable",
        "loop",
    )

    _transport: asyncio.Transport

    def __init__(self, owner: ConnectionOwner, peer_name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.idle_since = 0.0
        """When the last exchange ended, in seconds of `time.monotonic()`."""
        self.is_idle = False
        """Whether it waits in the pool."""
        self.is_reused = False
        """Whether an exchange has ended on it."""
        self.is_usable = True
        """False once either side has given it up."""
        self._owner = owner
        self._known = owner.heads
        self._peer_name = peer_name
        self._parser: Any = None
        """httptools', once it is needed: many a connection has only heads that are known."""
        self._waiter: Waiter | None = None
        self._response: Response | None = None
        self._failure: UpstreamError | None = None  # why it is not usable any more
        self._headers: list[tuple[bytes, bytes]] = []
        self._sent_at = 0.0
        self._fed = 0  # bytes since the last progress
        self._bodiless = False  # a response to HEAD
        self._framed = False  # body ends by length or chunks; else with the connection
        self._interim = False  # inside a 1xx response
        self._is_busy = False  # during an exchange
        self._is_chunked = False  # by its headers
        self._is_complete = False  # the response of this exchange has arrived completely
        self._is_paused = False
        self._may_reuse = False
        self._left = (
            -1
        )  # bytes of the body of a known head that are still to come; negative while the parser reads
        self._at_chunk = False  # the parser is between two chunks, and none of the next one has come
        self._at_head = False  # the same, but the parser has not seen the head either

    # --- for the client

    def begin(self, head: bytes, body: bytes, *, bodiless: bool = False) -> asyncio.Future[Response]:
        """Write a request; the future gets its response once the final head has arrived.

        A caller that is cancelled while waiting calls `abandon` with the future.
        """
        waiter: asyncio.Future[Response] = self.loop.create_future()
        self.begin_for(waiter, head, body, monotonic(), bodiless=bodiless)
        return waiter

    def begin_for(
        self, waiter: Waiter, head: bytes, body: bytes, now: float, *, bodiless: bool = False
    ) -> None:
        """Write a request whose response goes to `waiter`; `now` is `time.monotonic()`."""
        if self._failure is not None:  # the server closed, or sent something, before any request
            raise self._failure
        self._waiter = waiter
        self._headers = []
        self._fed = 0
        self._is_busy = True
        self._bodiless = bodiless
        self._framed = self._interim = self._is_complete = self._may_reuse = False
        self._is_chunked = self._at_chunk = self._at_head = False
        self._left = -1
        self._sent_at = now
        if not self.is_reused:
            self._owner.began(self)
        if len(body) <= ONE_WRITE_MAX:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def wait_instead(self, waiter: Waiter) -> None:
        """Have the response of the exchange that runs go to another one."""
        self._waiter = waiter

    def abandon(self, waiter: asyncio.Future[Response]) -> None:
        """Close the connection, unless the exchange of `waiter` is over: it may carry another one by now."""
        if self._waiter is waiter:
            self.abort()
        elif not waiter.cancelled() and waiter.exception() is None:
            waiter.result().abort()

    def abort(self) -> None:
        """Close the connection at once; a response that is still arriving ends in ReadError."""
        self._fail(self._lost(f"The connection to {self._peer_name} was given up."))

    def close(self) -> None:
        """Close an idle connection."""
        self.is_usable = False
        self._transport.close()

    def resume(self) -> None:
        """Read from the server again."""
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    # --- callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = transport  # type: ignore[assignment]  # a stream transport, by create_connection
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse the data, then wake the reader: once, however many pieces there were."""
        if not self._is_busy:  # a server that sends without a request can't be trusted with the next response
            self._fail(
                RemoteProtocolError(
                    f"{self._peer_name} sent data before any request: it is not an HTTP server."
                )
            )
            return
        if self._at_chunk and self._response is not None:
            data = self._take_chunks(self._response, data)
            if not data:
                return
        error = self._read_known(data) if self._left >= 0 or not self._fed else self._parse(data)
        response = self._response
        if response is None:
            if error is not None:
                self._fail(error)
            return
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not self.is_reused:
                self._owner.answered(self)
            if not _deliver(response, waiter):
                self.abort()
                return
        if error is not None:
            self._fail(error)
        elif self._is_complete:
            self._finish(response)
        elif response.unread > HIGH_WATER:
            self._pause()
        response.wake()

    def eof_received(self) -> None:
        """End a body that ends with the connection; any other response is truncated."""
        response = self._response
        if response is not None and not self._framed:
            self._finish(response)
            response.wake()
        else:
            self._fail(self._lost(f"{self._peer_name} closed the connection {self._progress()}."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the waiting caller or reader."""
        response = self._response
        if response is not None and not self._framed and response.status >= 400 and exc is not None:
            # A server that refuses a request without reading all of it, and closes, resets the connection.
            self._finish(response)
            response.wake()
        else:
            self._fail(self._lost(f"The connection to {self._peer_name} broke {self._progress()}."))
        # The parser refers to this object: without this, only the garbage collector would free the two.
        self._parser = None
        self._owner.closed(self)

    # --- callbacks of the parser

    def on_message_begin(self) -> None:
        """Refuse a second response to one request."""
        if self._is_complete:
            raise RemoteProtocolError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; trailers, which come after the body, are ignored."""
        if self._response is not None:
            return
        name = name.lower()
        value = value.strip()
        if name == b"content-length":
            self._framed = True
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise RemoteProtocolError("a transfer encoding that was not requested")
            self._framed = self._is_chunked = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Create the response, unless this is a 1xx head, or one that was read without the parser."""
        if self._response is not None:
            return
        status: int = self._parser.get_status_code()
        headers = self._headers
        if len(headers) > HEADERS_MAX:
            raise RemoteProtocolError(f"more than {HEADERS_MAX} headers")
        if self._fed > HEAD_MAX and sum(len(n) + len(v) + 4 for n, v in headers) > HEAD_MAX:
            raise RemoteProtocolError(f"a head of more than {HEAD_MAX} bytes")
        if status < 200:
            if status == 101:
                raise RemoteProtocolError("a switch to a protocol that was not requested")
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
        """Pass on a piece of the body."""
        response = self._response
        if response is None or self._is_complete:
            raise RemoteProtocolError("a body where there can be none")
        self._fed = 0
        response.feed(piece)

    def on_message_complete(self) -> None:
        """Mark the response as complete."""
        if self._interim:
            self._interim = False
            return
        self._is_complete = True
        self._may_reuse = self._parser.should_keep_alive()

    # --- reading without the parser

    def _read_known(self, data: bytes) -> RemoteProtocolError | None:
        """Read an answer whose head is known, or begin one; otherwise have it parsed."""
        response = self._response
        if response is not None:
            if self._left < 0:
                return self._parse(data)
            self._read_body(response, data)
            return None
        found = None if self._bodiless else self._known.find(data)
        if found is None:
            return self._parse_head(data, None)
        head, start, length = found
        if length < 0:
            return None if self._begin_chunks(data, head, start) else self._parse_head(data, head)
        response = self._begin_known(head, length)
        self._left = length
        self._read_body(response, data[start:])
        return None

    def _begin_known(self, head: KnownHead, length: int = 0) -> Response:
        """Begin an answer whose head is known."""
        self._response = response = Response(
            self,
            200,
            None,
            reused=self.is_reused,
            sent_at=self._sent_at,
            first_byte_at=monotonic(),
            known=head,
            length=length,
        )
        self._framed = True
        return response

    def _parse_head(self, data: bytes, known: KnownHead | None) -> RemoteProtocolError | None:
        """Have the beginning of an answer parsed; learn its head, if that is not known."""
        error = self._parse(data)
        response = self._response
        if error is not None or response is None:
            return error
        if known is not None:
            response.known = known
        elif not self._bodiless:
            self._known.learn(data, response.headers)
        if self._is_chunked and not self._is_complete:
            self._at_chunk = _whole_chunks(data, data.find(END) + len(END))[1] == len(data)
        return None

    def _begin_chunks(self, data: bytes, head: KnownHead, start: int) -> bool:
        """Begin an answer whose head is known, and whose body begins with whole chunks, or has not begun."""
        pieces, end = _whole_chunks(data, start)
        if end < len(data) and data[end:] != _LAST_CHUNK:
            return False
        response = self._begin_known(head)
        self._is_chunked = self._at_chunk = self._at_head = True
        for piece in pieces:
            response.feed(piece)
        if end < len(data):
            self._is_complete = self._may_reuse = True
        return True

    def _read_body(self, response: Response, data: bytes) -> None:
        """Read a piece of a body of known length; what comes after it makes the connection unusable."""
        left = self._left - len(data)
        if data:
            response.feed(data if left >= 0 else data[: self._left])
        self._left = max(left, 0)
        if left <= 0:
            self._is_complete = True
            self._may_reuse = left == 0

    def _take_chunks(self, response: Response, data: bytes) -> bytes:
        """Pass on the whole chunks that `data` begins with, one that came alone as it is; return the rest."""
        end = data.find(b"\r\n", 0, _SIZE_LINE_MAX)
        size = _sizes.get(data[:end])
        if size and len(data) == end + 4 + size and data.endswith(b"\r\n"):
            piece = data[end + 2 : -2]
            if response.on_chunk is not None and not response.unread and response.on_chunk(piece, data):
                return b""
            response.feed(piece)
        else:
            pieces, end = _whole_chunks(data, 0)
            for piece in pieces:
                response.feed(piece)
            data = data[end:]
            if data:
                self._at_chunk = False
                return data
        if response.unread > HIGH_WATER:
            self._pause()
        response.wake()
        return b""

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    # --- the end of an exchange

    def _parse(self, data: bytes) -> RemoteProtocolError | None:
        """Feed the parser; return the error of an invalid response."""
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        if self._at_head:
            self._at_head = False
            if data == _LAST_CHUNK:
                self._is_complete = self._may_reuse = True
                return None
            self._parser.feed_data(_USUAL_HEAD)
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._may_reuse = False
            if self._is_complete:
                return None  # the response is complete; data after it only makes the connection unusable
            cause = error.__context__ if isinstance(error.__context__, RemoteProtocolError) else error
            return RemoteProtocolError(f"{self._peer_name} sent invalid HTTP: {cause}.")
        if self._fed > HEAD_MAX and not self._is_complete:
            return RemoteProtocolError(
                f"{self._peer_name} sent invalid HTTP: {self._fed} bytes without a body."
            )
        return None

    def _finish(self, response: Response) -> None:
        """End the exchange cleanly; reuse the connection if both sides allow it and the request was sent."""
        self._response = None
        self._is_busy = False
        response.end()
        if self._may_reuse and not self._transport.get_write_buffer_size():
            self.is_reused = True
            self.idle_since = monotonic()
            self._owner.released(self)
        else:  # perhaps the response arrived before the whole request was sent: the rest is not sent
            self.is_usable = False
            self._transport.abort()

    def _fail(self, error: UpstreamError) -> None:
        """End the exchange, if there is one, with an error; the connection is not used again."""
        self.is_usable = False
        self._failure = error
        self._is_busy = False
        if not self.is_reused:
            self._owner.answered(self)
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


def _deliver(response: Response, waiter: Waiter) -> bool:
    """Give a response to whoever waits for it; False if nobody does any more."""
    if isinstance(waiter, ResponseListener):
        waiter.set_result(response)
        return True
    if waiter.cancelled():
        return False
    waiter.set_result(response)
    return True


def _whole_chunks(data: bytes, start: int) -> tuple[list[bytes], int]:
    """Return what the whole chunks hold that begin at `start`, and where the rest begins, which may be the last one.

    A chunk that is large, or not in the usual form, ends them. Where much has come at once, the parser is faster.
    """
    pieces: list[bytes] = []
    if len(data) > _LOOKED_AT_MAX:
        return pieces, start
    while start < len(data):
        line = data.find(b"\r\n", start, start + _SIZE_LINE_MAX)
        digits = data[start:line] if line > 0 else b""
        size = _sizes.get(digits) or _size(digits)
        end = line + 4 + size
        if not size or data[end - 2 : end] != b"\r\n":
            break
        pieces.append(data[line + 2 : end - 2])
        start = end
    return pieces, start


def _size(digits: bytes) -> int:
    """Return the size of a small chunk, and 0 for one that is not small or not in the usual form."""
    if _USUAL_SIZE.fullmatch(digits) is None:
        return 0
    return _sizes.setdefault(digits, int(digits, 16))
