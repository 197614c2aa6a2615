"""One connection of a client: HTTP/1.1 read strictly, with a limit on everything a stranger can make us wait for.

Reading a request that offers an upgrade as if it offered none, which HTTP allows and asks of us.

Java's client offers h2c with its first request, and the parser would take that request's body for the new protocol.
"""

import asyncio
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from meshlight.gateway.errors import ErrorResponse, plain
from meshlight.gateway.server.admission import CONNECTION, ConnectionAdmission
from meshlight.gateway.server.asgi import ASGIApp
from meshlight.gateway.server.deadline import Deadline
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners
from meshlight.gateway.server.limits import Limits
from meshlight.gateway.server.request_cycle import OFFER, RequestCycle

AHEAD_BYTES = 65_536
"""How much may be read ahead of a request that is still being answered."""
PIPELINED = 64
"""How many requests may wait behind the one that is being answered."""
FRAMING_RATIO = 8
"""Bytes on the wire per byte of body that chunked framing may cost (one-byte chunks cost six)."""
RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER on, for no time at all: closing then resets the connection."""


class GatewayState(ServerState):
    """What the connections of one server share."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.admission = ConnectionAdmission(limits)
        self.surplus: set[ClientConnection] = set()
        """Connections over the cap that still read their refusal."""
        self.emptied = asyncio.Event()
        """Set whenever the last connection is gone."""


class RequestRefused(Exception):
    """The bytes that came can't become a request."""


class Stage(Enum):
    """What the next byte belongs to."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class ClientConnection(HttpToolsProtocol):
    """uvicorn's connection with deadlines, caps and a way to hear of the client's departure.

    One timer per connection: deadlines are moved by writing a number, and the timer looks at it when it fires.
    """

    server_state: GatewayState
    has_key = False

    def __init__(
        self,
        config: Config,
        server_state: GatewayState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = httptools.HttpRequestParser(self)  # uvicorn's reads on after `Connection: close`
        self.limits = server_state.limits
        self.guarded_app: ASGIApp = config.loaded_app
        self.leave = DisconnectListeners()
        self._running: RequestCycle | None = None
        self._waiting: deque[RequestCycle] = deque()
        self._newest: RequestCycle | None = None
        self._ahead = bytearray()
        self._stage = Stage.BETWEEN
        self._is_deaf = False
        self._is_upgrading = False
        self._has_encoding = False
        self._method = ""
        self._refusal: ErrorResponse | None = None
        self._begun = self._head_size = self._wire_size = self._body_size = 0
        self._deadline = Deadline(self.loop, self._too_late)

    # The transport's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or say at once that there are too many."""
        self.transport = transport
        self.flow = FlowControl(transport)
        if not self.server_state.admission.admit(self, len(self.connections)):
            self.server_state.surplus.add(self)
            self._say(plain(503, "too_many_connections", "Too many connections are open. Close some."))
            return
        self.connections.add(self)
        self.server = get_local_addr(transport)
        self.client = get_remote_addr(transport)
        self.scheme = "http"
        self._deadline.due_in(self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell everybody who waits on this client."""
        self._is_deaf = True
        self._deadline.close()
        for exchange in self._unfinished():
            exchange.depart()
        self._running = self._newest = None
        self._waiting.clear()
        self.leave.fire()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]  # it holds us, and we hold it
        self.connections.discard(self)
        self.server_state.surplus.discard(self)
        self.server_state.admission.forget(self)
        if not self.connections:
            self.server_state.emptied.set()

    def data_received(self, data: bytes) -> None:
        """Read what came; while a request is being answered, what follows it waits unread."""
        if self._is_deaf:
            return
        if self._stage is Stage.BETWEEN and self._running is not None:
            self._ahead += data
            if len(self._ahead) > AHEAD_BYTES:
                self.flow.pause_reading()
            return
        self._feed(data)

    def shutdown(self) -> None:
        """Close as soon as the running request is answered; the server is stopping."""
        last = next(iter(self._waiting), self._running)
        if self.transport.is_closing() and self.flow.write_paused:
            self.transport.abort()  # given up already, and closing waits for a client that reads nothing
        elif last is None:
            self.transport.close()
        else:
            last.keep_alive = False

    def show_key(self) -> None:
        """Keep the place from now on."""
        self.has_key = True
        self.server_state.admission.forget(self)

    def evict(self) -> None:
        """Make room for another connection, at once."""
        self.connections.discard(self)
        self.transport.abort()

    # The parser and its calls.

    def _feed(self, data: bytes) -> None:
        stage, begun = self._stage, self._begun
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._is_upgrading = False
            self._stage = Stage.BETWEEN
            self.parser = httptools.HttpRequestParser(self)
            self._feed(without_upgrade(self._method, self.url, self.headers) + data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or plain(400, "bad_request", "This is not a request in HTTP/1.1."))
            return
        if self._stage is Stage.BETWEEN:
            return
        if self._stage is Stage.BODY:
            if stage is Stage.BODY and begun == self._begun:
                self._wire_size += len(data)
                if self._wire_size > self.limits.head_bytes + FRAMING_RATIO * self._body_size:
                    self._refuse(plain(400, "bad_request", "The body's framing is larger than the body."))
                    return
            self._deadline.due_in(self.limits.body_idle_s)
        elif begun != self._begun:
            self._deadline.due_in(self.limits.header_s)
        else:
            # The parser keeps an unfinished name or value to itself, so the bytes are counted here as well.
            self._wire_size += len(data)
            if self._wire_size > self.limits.head_bytes:
                self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        """Start a new head."""
        self._stage = Stage.HEAD
        self._begun += 1
        self._head_size = self._wire_size = self._body_size = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._has_encoding = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self.url += url
        if len(self.url) > self.limits.url_bytes:
            raise self._refusing(plain(414, "uri_too_long", "The request target is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are counted and dropped: the guard has judged the head by then."""
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self.limits.head_bytes:
            raise self._refusing(self._too_large())
        if self._stage is not Stage.HEAD:
            return
        name = name.lower()
        if name == b"transfer-encoding":
            self._has_encoding = True
            if value.lower() != b"chunked":
                raise self._refusing(
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
            or not raw_path.startswith(b"/")  # a proxy's form of target, "*", or a CONNECT
            or b"#" in self.url
            or len(self._waiting) >= PIPELINED
        ):
            raise self._refusing(plain(400, "bad_request", "This is not a request that is answered here."))
        if self.parser.should_upgrade():
            self._is_upgrading = True
            self._method = method
            return
        self._stage = Stage.BODY
        path = raw_path.decode("ascii")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        exchange = RequestCycle(
            self.scope,  # type: ignore[arg-type]
            self,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        extensions: Any = {DISCONNECT: self.leave, OFFER: exchange.offer, CONNECTION: self}
        self.scope["extensions"] = extensions
        self._newest = exchange
        if self._running is None:
            self._start(exchange)
        else:
            self._waiting.appendleft(exchange)

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body on."""
        self._body_size += len(body)
        if self._newest is not None:
            self._newest.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole: from here the client may wait as long as the answer takes."""
        if self._is_upgrading:
            return
        self._stage = Stage.BETWEEN
        self._deadline.lift()
        self.flow.resume_reading()  # or the client's departure would go unnoticed
        if self._newest is not None:
            self._newest.feed_end()

    # The exchanges' calls.

    def ended(self, exchange: RequestCycle) -> None:
        """Go on with what comes after a complete answer."""
        self.server_state.total_requests += 1
        self._running = None
        if not self.has_key:
            self.server_state.admission.rests(self)
        if self._newest is exchange:
            self._newest = None  # an idle connection keeps no request
        self.leave.clear()
        if self.transport.is_closing():
            return
        if exchange.more_body or (self._is_deaf and not self._waiting):
            self._linger()
        elif not exchange.keep_alive:
            self.transport.close()
        elif self._waiting:
            self._start(self._waiting.pop())
        elif self._stage is Stage.BETWEEN:
            self._deadline.due_in(self.limits.keep_alive_s)
            if self._ahead:
                data, self._ahead = bytes(self._ahead), bytearray()
                self.flow.resume_reading()
                self._feed(data)

    def broke(self, exchange: RequestCycle) -> None:
        """Close: what was sent is not whole, and only the end of the connection can say so."""
        if exchange.scope["http_version"] == "1.1" or exchange.is_silent:
            self.transport.close()
        else:
            # An old client takes a quiet end for a whole answer, so this one ends with a reset.
            with suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def _start(self, exchange: RequestCycle) -> None:
        self._running = exchange
        if not self.has_key:
            self.server_state.admission.works(self)
        task = self.loop.create_task(exchange.run(self.guarded_app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _unfinished(self) -> list[RequestCycle]:
        """Return the exchanges that are not answered yet, oldest first."""
        return [*([] if self._running is None else [self._running]), *reversed(self._waiting)]

    # Refusals and deadlines.

    def _refusing(self, answer: ErrorResponse) -> RequestRefused:
        """Keep the answer for when the parser has stopped."""
        self._refusal = answer
        return RequestRefused()

    def _too_large(self) -> ErrorResponse:
        return plain(431, "headers_too_large", "The request's headers are too large.")

    def _refuse(self, answer: ErrorResponse) -> None:
        """Listen no more; answer now, or after the requests that came whole before."""
        self._is_deaf = True
        unfinished = self._unfinished()
        if self._stage is Stage.BODY and unfinished and unfinished[-1].more_body:
            broken = unfinished.pop()
            if broken is self._running:
                self._running = None
                was_silent = broken.is_silent
                broken.depart()
                self.leave.fire()
                if was_silent:
                    self._say(answer)
                else:
                    self.transport.close()
                return
            self._waiting.popleft()
        if unfinished:
            unfinished[-1].keep_alive = False
            self._deadline.lift()
        else:
            self._say(answer)

    def _say(self, answer: ErrorResponse) -> None:
        """Write an answer of our own and end the connection politely."""
        self.transport.write(answer.raw())
        self._linger()

    def _linger(self) -> None:
        """End our side, and drop what still comes: closing at once would reset, and the client lose the answer."""
        self._is_deaf = True
        if not self.transport.can_write_eof():  # TLS has no half-closed connections
            self.transport.close()
            return
        with suppress(OSError):  # gone already: connection_lost follows
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.due_in(self.limits.linger_s)

    def _too_late(self) -> None:
        """A deadline has passed: which one, the stage tells."""
        if self.transport.is_closing():
            return
        if self._is_deaf:
            self.transport.abort()
        elif self._stage is Stage.BETWEEN:
            self.transport.close()
        elif self._stage is Stage.BODY and self.flow.read_paused:
            self._deadline.due_in(self.limits.body_idle_s)  # it is we who do not read
        else:
            self._refuse(plain(408, "request_timeout", "The request came too slowly."))


_OFFERS = frozenset({b"upgrade", b"http2-settings"})


def without_upgrade(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of the request, in HTTP/1.1 bytes, without the offer. Header names are lower-case."""
    lines = [method.encode("ascii") + b" " + target + b" HTTP/1.1"]
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
            if kept:
                lines.append(b"connection: " + kept)
        elif name not in _OFFERS:
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
