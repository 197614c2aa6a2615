"""One client's connection to a simulated server: reads requests, writes answers, and notices who ends it."""

import asyncio
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import httptools

from meshlight.simulator.request_log import LoggedRequest, RequestLog

Serve = Callable[[LoggedRequest, "Connection"], Awaitable[None]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests with httptools and serves them one after the other, in a task of its own."""

    def __init__(
        self, serve: Serve, request_log: RequestLog, connections: set["Connection"], idle_s: float
    ) -> None:
        self.is_open = True
        self.number = 0
        self._serve = serve
        self._log = request_log
        self._connections = connections
        self._idle_s = idle_s
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[LoggedRequest] = deque()
        self._current: LoggedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_ours_to_end = False
        self._writable: asyncio.Future[None] | None = None
        self._is_writing_paused = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._start_request()

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._log.connections += 1
        self.number = self._log.connections
        self._connections.add(self)
        self._log.notify()
        self._be_idle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Stop the answer under way: the client has disconnected, or the engine has closed the connection."""
        self.is_open = False
        self._connections.discard(self)
        self._stop_idling()
        self.resume_writing()
        logged, self._current = self._current, None
        if logged is not None:
            self._log.ended(logged, client_left=not self._is_ours_to_end)
        if self._task is not None:
            self._task.cancel()
        self._log.notify()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, whose callbacks are the methods below."""
        self._stop_idling()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No engine speaks another protocol: the upgrade is ignored.
            pass
        except httptools.HttpParserError:
            self._transport.write(BAD_REQUEST)
            self.close()

    def pause_writing(self) -> None:
        """Make `write` wait: the client reads too slowly."""
        self._is_writing_paused = True
        self._log.notify()

    def resume_writing(self) -> None:
        """Let `write` continue."""
        self._is_writing_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # called by httptools

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may arrive in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Answer `Expect: 100-continue`."""
        if (b"expect", b"100-continue") in self._headers:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Queue the request."""
        logged = LoggedRequest(
            method=self._parser.get_method().decode("ascii"),
            target=self._target.decode("latin-1"),
            headers=tuple(self._headers),
            body=bytes(self._body),
            connection=self.number,
            keep_alive=self._parser.should_keep_alive(),
            version=self._parser.get_http_version(),
        )
        self._start_request()
        self._waiting.append(logged)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve_waiting())

    # called by the engine

    async def write(self, data: bytes) -> None:
        """Send bytes, and wait while the client reads too slowly; raises ConnectionResetError once it is gone."""
        if not self.is_open:
            raise ConnectionResetError("the client has gone")
        logged = self._current
        if logged is not None and logged.first_byte_at is None and data:
            logged.first_byte_at = time.monotonic()
        self._transport.write(data)
        if logged is not None:
            logged.sent += len(data)
        if self._is_writing_paused:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable

    def close(self) -> None:
        """Close the connection: pending bytes are still sent, then FIN."""
        self._is_ours_to_end = True
        self._transport.close()

    def reset(self) -> None:
        """Reset the connection at once (RST); bytes that the kernel has not sent are lost."""
        self._is_ours_to_end = True
        # Windows has two 16-bit fields here, other systems two ints.
        layout = "hh" if sys.platform == "win32" else "ii"
        peer = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(layout, 1, 0))
        self._transport.abort()

    def drop(self) -> None:
        """Drop the connection at once, as the system does when a process is killed."""
        self._is_ours_to_end = True
        self._transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered on it."""
        return self._task is None and not self._target

    @property
    def is_held_back(self) -> bool:
        """Whether `write` waits for a client that reads too slowly."""
        return self._is_writing_paused

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that answers now; awaited when the engine stops."""
        return self._task

    def _start_request(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def _serve_waiting(self) -> None:
        try:
            while self._waiting and self.is_open and not self._transport.is_closing():
                logged = self._current = self._waiting.popleft()
                self._log.arrived(logged)
                await self._serve(logged, self)
                if self._current is not None:
                    self._current = None
                    self._log.ended(logged, client_left=False)
        except ConnectionResetError:
            # Raised by `write`; `connection_lost` has logged the end already.
            pass
        finally:
            self._task = None
            if self._current is not None:
                # An answer that ended by an error of our own: the client must not wait for its rest.
                logged, self._current = self._current, None
                self._log.ended(logged, client_left=False)
                self.drop()
            self._be_idle()

    def _be_idle(self) -> None:
        if self.is_open and self.is_idle and self._idle_s != float("inf"):
            self._idle_timer = asyncio.get_running_loop().call_later(self._idle_s, self.close)

    def _stop_idling(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
