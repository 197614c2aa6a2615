"""One connection of a client: HTTP/1.1 parsed strictly, with limits on all that a client can make us wait for.

A request that offers an upgrade is read as if it offered none, as HTTP allows. Java's client offers h2c with its
first request, and the parser would take that request's body for the new protocol.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import unquote

import httptools

from meshlight.domain.deadlines import Deadline, Deadlines
from meshlight.gateway.errors import ErrorResponse, plain
from meshlight.gateway.server.admission import CONNECTION, ConnectionAdmission
from meshlight.gateway.server.asgi import ASGIApp, Scope
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners
from meshlight.gateway.server.lane import Lane, LaneHead
from meshlight.gateway.server.limits import Limits
from meshlight.gateway.server.protocol import (
    FlowControl,
    HttpToolsProtocol,
    ServerState,
    get_local_addr,
    get_remote_addr,
)
from meshlight.gateway.server.request_cycle import OFFER, RequestCycle

AHEAD_BYTES: Final = 65_536
"""How much may be read ahead of a request that is still being answered."""
PIPELINED: Final = 64
"""How many requests may wait behind the one that is being answered."""
FRAMING_RATIO: Final = 8
"""Bytes on the wire per byte of body that chunked framing may cost (one-byte chunks cost six)."""
RESET: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER on, for no time at all: closing then resets the connection."""


class GatewayState(ServerState):
    """What the connections of one server share."""

    def __init__(self, limits: Limits, lane: Lane[Any] | None = None) -> None:
        super().__init__()
        self.limits = limits
        self.lane = lane
        self.admission = ConnectionAdmission(limits)
        self.deadlines = Deadlines()
        self.surplus: set[ClientConnection] = set()
        """Connections over the limit that still read their refusal."""
        self.emptied = asyncio.Event()
        """Set whenever the last connection has closed."""


class RequestRefused(Exception):
    """The received bytes are no request that is answered here."""


class Stage(Enum):
    """What the next byte belongs to."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


_BETWEEN: Final = Stage.BETWEEN
_HEAD: Final = Stage.HEAD
_BODY: Final = Stage.BODY


class ClientConnection(HttpToolsProtocol):
    """A connection with deadlines, limits and a notification when the client disconnects."""

    __slots__ = (
        "_ahead",
        "_body_size",
        "_deadline",
        "_from_start",
        "_has_encoding",
        "_head_size",
        "_heads",
        "_held",
        "_ignores_input",
        "_is_upgrading",
        "_lane",
        "_method",
        "_missing",
        "_newest",
        "_refusal",
        "_running",
        "_stage",
        "_unparsed",
        "_waiting",
        "_wire_size",
        "disconnect",
        "guarded_app",
        "has_key",
        "limits",
        "server_state",
    )

    def __init__(
        self,
        app: ASGIApp,
        server_state: GatewayState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(server_state, app_state, _loop)
        self.server_state = server_state
        self.has_key = False
        self.limits = server_state.limits
        self.guarded_app = app
        self.disconnect = DisconnectListeners()
        self._running: RequestCycle | None = None
        self._waiting: list[RequestCycle] = []
        """The requests behind it, the newest first."""
        self._newest: RequestCycle | None = None
        self._ahead = bytearray()
        self._stage = _BETWEEN
        self._ignores_input = False
        self._lane = server_state.lane
        self._from_start = b""
        """What is being parsed, until the first head in it has been read."""
        self._held: tuple[Lane[Any], LaneHead, RequestCycle] | None = None
        """A request for the lane whose body has not all come."""
        self._unparsed: list[bytes] = []
        """The head of the held request and what has come of its body, if the parser has not seen them."""
        self._missing = 0
        """Bytes of that body that are still to come."""
        self._is_upgrading = False
        self._has_encoding = False
        self._method = ""
        self._refusal: ErrorResponse | None = None
        self._heads = self._head_size = self._wire_size = self._body_size = 0
        self._deadline = Deadline(server_state.deadlines, self.loop, self._on_deadline)

    # Called by the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or answer at once that there are too many."""
        self.transport = transport
        self.flow = FlowControl(transport)
        if not self.server_state.admission.admit(self, len(self.connections)):
            self.server_state.surplus.add(self)
            self._answer(plain(503, "too_many_connections", "Too many connections are open. Close some."))
            return
        self.connections.add(self)
        self.scheme = "http"
        self._deadline.due_in(self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Notify everything that waits for this client."""
        self._ignores_input = True
        self._deadline.close()
        if self._running is not None or self._waiting:
            for cycle in self._unfinished():
                cycle.client_left()
        self._running = self._newest = self._held = None
        self._unparsed = []
        self._waiting.clear()
        self.disconnect.fire()
        self.flow.resume_writing()
        self.parser = None  # it holds us, and we hold it
        self.connections.discard(self)
        self.server_state.surplus.discard(self)
        self.server_state.admission.forget(self)
        if not self.connections:
            self.server_state.emptied.set()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; while a request is being answered, those of the next one wait unparsed."""
        if self._ignores_input:
            return
        if self._stage is _BETWEEN:
            if self._running is not None:
                self._ahead += data
                if len(self._ahead) > AHEAD_BYTES:
                    self.flow.pause_reading()
                return
            if self._lane is not None and self._takes_lane(self._lane, data):
                return
        elif self._unparsed and self._held is not None:
            self._add(data, *self._held)
            return
        self._feed(data)
        self._from_start = b""
        if self._held is not None:
            self._decide(*self._held)

    def shutdown(self) -> None:
        """Close as soon as the running request is answered; the server is stopping."""
        last = next(iter(self._waiting), self._running)
        if self.transport.is_closing() and self.flow.write_paused:
            self.transport.abort()  # closing waits for a client that reads nothing
        elif last is None:
            self.transport.close()
        else:
            last.keep_alive = False

    @property
    def unanswered(self) -> int:
        """The number of its requests whose answer is not complete yet."""
        return len(self._unfinished())

    def show_key(self) -> None:
        """Be one of the connections that stay open from now on."""
        self.has_key = True
        self.server_state.admission.forget(self)

    def evict(self) -> None:
        """Close at once, to make room for another connection."""
        self.connections.discard(self)
        self.transport.abort()

    def _takes_lane(self, lane: Lane[Any], data: bytes) -> bool:
        """Have a whole request answered without a task, if it is ordinary in every way; False if nothing was done.

        Its head is one that the parser has read before, but for the length of the body.
        """
        found = lane.find(data)
        if found is None:
            begun = lane.find_begun(data)
            if begun is not None and not self.transport.is_closing():
                known, begins, missing = begun
                self._hold(lane, known, data[:begins], data[begins:], missing)
                return True
            self._from_start = data
            return False
        head, begins = found
        if self.transport.is_closing():
            return False
        cycle = RequestCycle(head.scope, self, keep_alive=True, expects_continue=False)
        cycle.more_body = False
        if not self._begin_in_lane(lane, head, data[begins:], cycle):
            return False
        self._running = cycle
        self._deadline.lift()
        return True

    def _hold(self, lane: Lane[Any], head: LaneHead, start: bytes, body: bytes, missing: int) -> None:
        """Wait for the rest of a body, whose head needs no parser."""
        cycle = RequestCycle(head.scope, self, keep_alive=True, expects_continue=False)
        self._running = cycle
        self._held = lane, head, cycle
        self._unparsed = [start, body] if body else [start]
        self._missing = missing
        self._stage = _BODY
        self._count_in(head)
        self._deadline.due_in(self.limits.body_idle_s)

    def _add(self, data: bytes, lane: Lane[Any], head: LaneHead, cycle: RequestCycle) -> None:
        """Add to the body of the held request; once it is whole, answer it, without a task if that is possible."""
        self._unparsed.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            self._deadline.due_in(self.limits.body_idle_s)
            return
        start, *body = self._unparsed
        self._held, self._unparsed, self._stage = None, [], _BETWEEN
        if self._missing == 0 and cycle.keep_alive and not self.transport.is_closing():
            cycle.more_body = False
            if self._begin_in_lane(lane, head, b"".join(body), cycle):
                self._deadline.lift()
                return
        self._feed_instead(b"".join((start, *body)))
        if self._running is not None and not cycle.keep_alive:
            self._running.keep_alive = False

    def _feed_instead(self, data: bytes) -> None:
        """Have the parser read a request that was held without it, and begin it anew."""
        self._running = None
        self._feed(data)

    def _decide(self, lane: Lane[Any], head: LaneHead, cycle: RequestCycle) -> None:
        """Answer a request whose head was parsed without a task, if its body has come as a whole."""
        is_alone = cycle.keep_alive and not (
            self._waiting or self._ignores_input or self.transport.is_closing()
        )
        if cycle.more_body and cycle is self._running and is_alone and _length(cycle) <= AHEAD_BYTES:
            self._count_in(head)
            return
        self._held = None
        if cycle is not self._running:  # it was refused
            return
        if cycle.more_body or not is_alone or not self._begin_in_lane(lane, head, cycle.body(), cycle):
            self._start(cycle)
            return
        cycle.scope = head.scope  # its own one holds it, in a circle that only `run` would open
        if self._newest is cycle:
            self._newest = None

    def _begin_in_lane(self, lane: Lane[Any], head: LaneHead, body: bytes, cycle: RequestCycle) -> bool:
        if not lane.begin(head, body, cycle, self):
            return False
        if not self.has_key:
            self._count_in(head)
        return True

    def _count_in(self, head: LaneHead) -> None:
        """Have the admission know of a request that the guard has let through."""
        if self.has_key:
            return
        if head.shows_key:
            self.show_key()
        else:
            self.server_state.admission.request_started(self)

    def carry_on(self, cycle: RequestCycle, app: ASGIApp) -> None:
        """Answer a request in a task."""
        task = self.loop.create_task(cycle.run(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # The parser, and what it calls.

    def _feed(self, data: bytes) -> None:
        stage, heads = self._stage, self._heads
        if self.parser is None:
            self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._is_upgrading = False
            self._stage = _BETWEEN
            self.parser = httptools.HttpRequestParser(self)
            self._feed(without_upgrade(self._method, self.url, self.headers) + data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or plain(400, "bad_request", "This is not a request in HTTP/1.1."))
            return
        if self._stage is _BETWEEN:
            return
        if self._stage is _BODY:
            if stage is _BODY and heads == self._heads:
                self._wire_size += len(data)
                if self._wire_size > self.limits.head_bytes + FRAMING_RATIO * self._body_size:
                    self._refuse(plain(400, "bad_request", "The body's framing is larger than the body."))
                    return
            self._deadline.due_in(self.limits.body_idle_s)
        elif heads != self._heads:
            self._deadline.due_in(self.limits.header_s)
        else:
            # The parser keeps an unfinished name or value to itself, so the bytes are counted here as well.
            self._wire_size += len(data)
            if self._wire_size > self.limits.head_bytes:
                self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        """Start a new head."""
        self._stage = _HEAD
        self._heads += 1
        self._head_size = self._wire_size = self._body_size = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._has_encoding = False

    def on_url(self, url: bytes) -> None:
        """Add a piece of the request target."""
        self.url += url
        if len(self.url) > self.limits.url_bytes:
            raise self._refusal_error(plain(414, "uri_too_long", "The request target is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers are counted and dropped: the guard has checked the head by then."""
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self.limits.head_bytes:
            raise self._refusal_error(self._too_large())
        if self._stage is not _HEAD:
            return
        name = name.lower()
        if name == b"transfer-encoding":
            self._has_encoding = True
            if value.lower() != b"chunked":
                raise self._refusal_error(
                    plain(501, "bad_request", "The only transfer coding read here is chunked.")
                )
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start answering, or queue the request behind the one that is being answered."""
        version = self.parser.get_http_version()
        method = self.parser.get_method().decode("ascii")
        raw_path, _, query = self.url.partition(b"?")
        if (
            version not in {"1.1", "1.0"}
            or (version == "1.0" and self._has_encoding)
            or not raw_path.startswith(b"/")  # a target in the form for proxies, "*", or a CONNECT
            or b"#" in self.url
            or len(self._waiting) >= PIPELINED
        ):
            raise self._refusal_error(
                plain(400, "bad_request", "This is not a request that is answered here.")
            )
        if self.parser.should_upgrade():
            self._is_upgrading = True
            self._method = method
            return
        self._stage = _BODY
        path = raw_path.decode("ascii")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        cycle = RequestCycle(
            scope,
            self,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        extensions: Any = {DISCONNECT: self.disconnect, OFFER: cycle.offer, CONNECTION: self}
        scope["extensions"] = extensions
        self._newest = cycle
        lane, data, self._from_start = self._lane, self._from_start, b""
        if lane is not None and data and (head := lane.look_at(scope, data)) is not None:
            self._running = cycle
            self._held = lane, head, cycle
        elif self._running is None:
            self._start(cycle)
        else:
            self._waiting.insert(0, cycle)

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        self._body_size += len(body)
        if self._newest is not None:
            self._newest.feed(body)

    def on_message_complete(self) -> None:
        """The request is complete: from here on the client may wait as long as the answer takes."""
        if self._is_upgrading:
            return
        self._stage = _BETWEEN
        self._deadline.lift()
        self.flow.resume_reading()  # or a disconnect would go unnoticed
        if self._newest is not None:
            self._newest.feed_end()

    # Called by the request cycles.

    def completed(self, cycle: RequestCycle) -> None:
        """Go on after a complete answer."""
        self.server_state.total_requests += 1
        self._running = None
        if not self.has_key:
            self.server_state.admission.request_ended(self)
        if self._newest is cycle:
            self._newest = None  # an idle connection keeps no request
        self.disconnect.clear()
        if self.transport.is_closing():
            return
        if cycle.more_body or (self._ignores_input and not self._waiting):
            self._linger()
        elif not cycle.keep_alive:
            self.transport.close()
        elif self._waiting:
            self._start(self._waiting.pop())
        elif self._stage is _BETWEEN:
            self._deadline.due_in(self.limits.keep_alive_s)
            if self._ahead:
                data, self._ahead = bytes(self._ahead), bytearray()
                self.flow.resume_reading()
                self._feed(data)

    def aborted(self, cycle: RequestCycle) -> None:
        """Close: the answer is incomplete, and only the end of the connection can show it."""
        if cycle.scope["http_version"] == "1.1" or cycle.is_silent:
            self.transport.close()
        else:
            # An HTTP/1.0 client takes a normal end for a complete answer, so this one gets a reset.
            with suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def _start(self, cycle: RequestCycle) -> None:
        self._running = cycle
        if not self.has_key:
            self.server_state.admission.request_started(self)
        self.carry_on(cycle, self.guarded_app)

    def _unfinished(self) -> list[RequestCycle]:
        """Return the request cycles that are not answered yet, oldest first."""
        return [*([] if self._running is None else [self._running]), *reversed(self._waiting)]

    # Refusals and deadlines.

    def _refusal_error(self, answer: ErrorResponse) -> RequestRefused:
        """Store the answer for when the parser has stopped."""
        self._refusal = answer
        return RequestRefused()

    def _too_large(self) -> ErrorResponse:
        return plain(431, "headers_too_large", "The request's headers are too large.")

    def _refuse(self, answer: ErrorResponse) -> None:
        """Ignore further input; answer now, or after the complete requests before this one."""
        self._ignores_input = True
        unfinished = self._unfinished()
        if self._stage is _BODY and unfinished and unfinished[-1].more_body:
            broken = unfinished.pop()
            if broken is self._running:
                self._running = None
                was_silent = broken.is_silent
                broken.client_left()
                self.disconnect.fire()
                if was_silent:
                    self._answer(answer)
                else:
                    self.transport.close()
                return
            del self._waiting[0]
        if unfinished:
            unfinished[-1].keep_alive = False
            self._deadline.lift()
        else:
            self._answer(answer)

    def _answer(self, answer: ErrorResponse) -> None:
        """Write an answer of our own and end the connection."""
        self.transport.write(answer.raw())
        self._linger()

    def _linger(self) -> None:
        """End our side and drop further input: closing at once would reset, and the client would lose the answer."""
        self._ignores_input = True
        if not self.transport.can_write_eof():  # TLS has no half-closed connections
            self.transport.close()
            return
        with suppress(OSError):  # closed already: connection_lost follows
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.due_in(self.limits.linger_s)

    def _on_deadline(self) -> None:
        """A deadline has passed; the stage shows which one."""
        if self.transport.is_closing():
            return
        if self._ignores_input:
            self.transport.abort()
        elif self._stage is _BETWEEN:
            self.transport.close()
        elif self._stage is _BODY and self.flow.read_paused:
            self._deadline.due_in(self.limits.body_idle_s)  # it is us who do not read
        else:
            self._refuse(plain(408, "request_timeout", "The request came too slowly."))


def _length(cycle: RequestCycle) -> int:
    """Return the length of a body as its head announces it, which is known to do so."""
    return int(dict(cycle.scope["headers"])[b"content-length"])


_OFFERS: Final = frozenset({b"upgrade", b"http2-settings"})


def without_upgrade(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request, in HTTP/1.1 bytes, without its offer. Header names are lower-case."""
    lines = [method.encode("ascii") + b" " + target + b" HTTP/1.1"]
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            remaining = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
            if remaining:
                lines.append(b"connection: " + remaining)
        elif name not in _OFFERS:
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
