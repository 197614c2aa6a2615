"""One request and its answer: the ASGI side of a client's connection."""

import asyncio
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from meshlight.gateway.errors import unexpected
from meshlight.gateway.server.asgi import ASGIApp, Message, Scope
from meshlight.gateway.server.protocol import HIGH_WATER_LIMIT, FlowControl
from meshlight.http_client.response import ResponseListener

if TYPE_CHECKING:
    from meshlight.gateway.server.client_connection import ClientConnection

OFFER: Final = "meshlight.offer"
"""The key in `scope["extensions"]` of a request's `RequestCycle.offer`."""
_BAD_NAME: Final = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]')
_PLAIN: Final = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
"""What a head may hold beside the ends of its lines."""
_REMEMBERED_MAX: Final = 1_024
_names: dict[bytes, bytes] = {}
"""Header name → as it is sent, empty for those that are never sent. Nearly always the same few."""
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_JOINED_BYTES: Final = 65_536
"""Up to here one copy is cheaper than one more system call."""
CORS_HEADERS: Final = "meshlight.cors_headers"
"""The key, in the start of an answer, of the headers by which the guard lets a page of another origin read it."""
_BODILESS: Final = frozenset({204, 304})
_OVER: Final[Scope] = {}
"""The scope of a request that is over."""
_INVALID: Final = "A response header holds a character that no header may hold."


Headers = Iterable[tuple[bytes, bytes]]


class Answerer(ResponseListener):
    """Who answers a request without a task, by what a backend's connection tells."""

    @abstractmethod
    def client_left(self) -> None:
        """The client has left before the end of the answer."""


class RequestCycle:
    """A request being answered. Head and body leave in one write where both are known."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_event",
        "_expects_continue",
        "_head",
        "_is_body_delivered",
        "_parts",
        "_remaining",
        "_size",
        "answerer",
        "disconnected",
        "is_complete",
        "is_started",
        "keep_alive",
        "more_body",
        "scope",
    )

    def __init__(
        self, scope: Scope, connection: "ClientConnection", *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.more_body = True
        """Whether a part of the request body has not been received yet."""
        self.disconnected = False
        self.is_started = False
        self.is_complete = False
        self.answerer: Answerer | None = None
        """Who answers, where no task does."""
        self._connection = connection
        self._expects_continue = expects_continue
        self._parts: list[bytes] = []
        self._size = 0
        self._is_body_delivered = False
        self._event: asyncio.Event | None = None
        self._head: bytes | None = None
        self._chunked = False
        self._remaining: int | None = None
        """Bytes of the announced length that are not sent yet; None if no length was announced."""

    @property
    def is_silent(self) -> bool:
        """Whether no byte of the answer has been written yet."""
        return not self.is_started or self._head is not None

    # Called by the connection.

    def feed(self, body: bytes) -> None:
        """Add a piece of the request body."""
        if self.is_complete or self.disconnected:
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > HIGH_WATER_LIMIT:
            self._connection.flow.pause_reading()
        if self._event is not None:
            self._event.set()

    def feed_end(self) -> None:
        """The request body is complete."""
        self.more_body = False
        if self._event is not None:
            self._event.set()

    def body(self) -> bytes:
        """Return what has been received of the request body."""
        return b"".join(self._parts)

    def client_left(self) -> None:
        """Note that the client has disconnected: nothing more is read or written."""
        if not self.is_complete:
            self.disconnected = True
            self._head = None
        if self._event is not None:
            self._event.set()
        if self.answerer is not None:
            self.answerer.client_left()

    # Called by the application.

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer; if it fails, send an error or close the connection."""
        try:
            await app(self.scope, self.receive, self.send)
            self._require_start()
        except Exception as error:  # noqa: BLE001 - the last place where a fault can become an answer
            made = unexpected(error, self.scope["path"])
            if self.is_silent and not self.disconnected:
                self.is_started, self._head, self.keep_alive = False, None, False
                await made.send(self.send)
        finally:
            # Aborted, failed or cancelled: the client must see that the answer is incomplete.
            if not self.is_complete and not self.disconnected:
                self._connection.aborted(self)
            # The scope holds `offer`, and so this object: in a circle, they would wait for the garbage collector.
            self.scope = _OVER

    def _require_start(self) -> None:
        if not self.is_started and not self.disconnected:
            raise RuntimeError("The application returned without an answer.")

    async def receive(self) -> Message:
        """ASGI's receive."""
        if self._expects_continue:
            self._expects_continue = False
            if not self.is_started and self.more_body and not self.disconnected:
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.is_complete):
            if self._parts or not (self.more_body or self._is_body_delivered):
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts = []
                self._size = 0
                self._is_body_delivered = not self.more_body
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self._connection.flow.resume_reading()
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI's send."""
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body" and self.is_started and not self.is_complete:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif message["type"] == "http.response.start" and not self.is_started:
            self._send_head(message["status"], message.get("headers", ()), message.get(CORS_HEADERS, ()))
        else:
            raise RuntimeError(f"{message['type']} can't be sent now.")

    def offer(self, body: bytes, chunk: bytes = b"") -> bool:
        """Send a piece of the body at once, if there is room; on False the caller uses `send`.

        `chunk` is the same in the usual form of a chunk, where it came as that: it is sent as it is.
        """
        if self._connection.flow.write_paused or self.disconnected or self.is_complete or not self.is_started:
            return False
        if chunk and self._chunked and self._head is None:
            self._connection.transport.write(chunk)
        else:
            self._send_body(body, more=True)
        return True

    # The same at once, for an answer that waits for nothing. Without `has_room`, it goes on in a task.

    @property
    def has_room(self) -> bool:
        """Whether what is sent now leaves at once."""
        return not (self._connection.flow.write_paused or self.disconnected)

    @property
    def can_answer(self) -> bool:
        """Whether a whole answer leaves at once, on a connection that stays open."""
        return self.keep_alive and not (self._connection.flow.write_paused or self.disconnected)

    def start(self, status: int, headers: Headers, *, is_followed: bool = True) -> bytes:
        """Send the head with the first piece of the body, if that is sure to follow at once, or soon; return it."""
        return self._send_head(status, headers, is_followed=is_followed)

    def end(self, last: bytes) -> None:
        """Send the last piece of the body."""
        self._send_body(last, more=False)

    def answer(self, head: bytes, body: bytes) -> None:
        """Send a whole answer, whose head was built from one that `start` returned."""
        self.is_started = self.is_complete = True
        transport = self._connection.transport
        if len(body) > _JOINED_BYTES:
            transport.write(head)
            transport.write(body)
        else:
            transport.write(head + body)
        self._connection.completed(self)

    def start_chunks(self, head: bytes) -> None:
        """Send the head of an answer in chunks, built from one that `start` returned, with the first piece."""
        self.is_started = self._chunked = True
        self._head = head

    def chunk_way(self) -> tuple[FlowControl, Callable[[bytes], None]] | None:
        """Return what `offer` uses for whole chunks, until the client leaves: whether there is room, and what sends.

        None where the body is not sent in chunks.
        """
        return (self._connection.flow, self._connection.transport.write) if self._chunked else None

    def _send_head(
        self, status: int, headers: Headers, cors: Headers = (), *, is_followed: bool = False
    ) -> bytes:
        """Build the head, which is returned; it is written with the first piece of the body, or soon without one."""
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        length: int | None = None
        remaining: int | None = None
        chunked = False
        keep_alive = self.keep_alive and not self.more_body
        for name, value in headers:
            lower = _names.get(name)
            if lower is None:
                lower = _check_name(name)
            if lower:
                lines.append(b"%b: %b\r\n" % (lower, value))
                if lower == b"content-length":
                    length = int(value)
            elif name.lower() == b"connection":
                keep_alive = keep_alive and b"close" not in value.lower()
        # The guard's only: what an application itself says about who may read an answer is never sent.
        lines += [b"%b: %b\r\n" % header for header in cors]
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            remaining = 0
        elif length is None:
            chunked = self.scope["http_version"] == "1.1"
            if chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                keep_alive = False
        else:
            remaining = length
        lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        head = b"".join(lines)
        # One check of the whole head: a line more than was written means that a value contained one.
        if head.translate(None, _PLAIN) != b"\r\n" * (len(lines) + (not keep_alive)):
            raise RuntimeError(_INVALID)
        self.keep_alive, self._chunked, self._remaining = keep_alive, chunked, remaining
        self._head = head
        self.is_started = True
        if length is None and not is_followed:
            asyncio.get_running_loop().call_soon(self._flush)
        return head

    def _flush(self) -> None:
        """Write the head if no body followed at once."""
        if self._head is not None and not self.disconnected:
            self._connection.transport.write(self._head)
            self._head = None

    def _send_body(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head or b"", None
        if self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        elif self._remaining is not None:
            if self.scope["method"] == "HEAD":
                body = b""
            if len(body) > self._remaining or (not more and len(body) < self._remaining):
                self._head = head or None
                raise RuntimeError("The body is not as long as its content-length says.")
            self._remaining -= len(body)
        if head and len(body) > _JOINED_BYTES:
            self._connection.transport.write(head)
            self._connection.transport.write(body)
        elif head or body:
            self._connection.transport.write(head + body)
        if not more:
            self.is_complete = True
            if self._event is not None:
                self._event.set()
            self._connection.completed(self)


def _check_name(name: bytes) -> bytes:
    """Return a header name as it is sent, empty if it is never sent; raises RuntimeError if it is invalid."""
    lower = name.lower()
    if not name or _BAD_NAME.search(name):
        raise RuntimeError(_INVALID)
    # No foreign page may read answers, and the framing is ours, whatever an application sets.
    if lower in {b"connection", b"transfer-encoding"} or lower.startswith(b"access-control-"):
        lower = b""
    if len(_names) < _REMEMBERED_MAX:
        _names[name] = lower
    return lower
