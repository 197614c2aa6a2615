"""The LAN listener: the gateway's server behind TLS, for connections whose client proved a paired key.

`TlsAcceptor` does the handshakes, a limited number at a time: the event loop's own listener has no limit, so clients
without a key could hold any number of files until their handshakes time out.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from meshlight.domain.errors import ServiceError
from meshlight.gateway.server.asgi import ASGIApp
from meshlight.gateway.server.client_connection import ClientConnection, GatewayState
from meshlight.gateway.server.lane import Lane
from meshlight.gateway.server.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.server.listener import bind
from meshlight.gateway.server.protocol import FlowControl
from meshlight.gateway.server.server import GatewayServer, Hook

EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - peers are on other machines; the handshake identifies them

IdentifyPeer = Callable[[ssl.SSLObject], str | None]
"""Returns the id of the paired key of a connection, or None if no peer has it."""
LaneOf = Callable[[str], Lane[Any]]
"""Returns the lane of a peer, by its id."""

log = logging.getLogger(__name__)


class _LanProtocol(ClientConnection):
    """A connection of a known peer."""

    __slots__ = ("_identify", "_lane_of")

    def __init__(
        self, app: ASGIApp, server_state: GatewayState, identify: IdentifyPeer, lane_of: LaneOf | None
    ) -> None:
        super().__init__(app, server_state, {})
        self.has_key = True  # a paired one: any other is aborted
        self._identify = identify
        self._lane_of = lane_of

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection of a peer; any other is aborted before a byte of it is read."""
        session = transport.get_extra_info("ssl_object")
        peer = None if session is None else self._identify(session)
        if peer is None:
            self.transport = transport
            self.flow = FlowControl(transport)
            transport.abort()
            return
        self.app_state = {"peer": peer}
        if self._lane_of is not None:
            self._lane = self._lane_of(peer)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read what a peer sent."""
        if self.app_state:
            super().data_received(data)


class _LanGateway(GatewayServer):
    """The gateway's server with TLS and connections of peers."""

    def __init__(
        self,
        app: ASGIApp,
        tls: ssl.SSLContext,
        identify: IdentifyPeer,
        ending: Hook,
        limits: Limits,
        lane_of: LaneOf | None,
    ) -> None:
        super().__init__(app, limits=limits, ending=ending)
        self._lane_of = lane_of
        self._tls = tls
        self._identify = identify
        self._acceptors: list[TlsAcceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        self._acceptors += [TlsAcceptor(sock, self._tls, self._connect) for sock in sockets or ()]
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, end the streams, let running requests end, close the rest."""
        for acceptor in self._acceptors:
            await acceptor.close()
        await super().shutdown(sockets)

    def _connect(self) -> ClientConnection:
        return _LanProtocol(self.app, self.server_state, self._identify, self._lane_of)

    def cut(self, peer: str) -> None:
        """Close every connection of a peer."""
        for connection in tuple(self.server_state.connections):
            if getattr(connection, "app_state", {}).get("peer") == peer:
                connection.transport.abort()


def everywhere(port: int) -> list[socket.socket]:
    """Listen on a port of every address, without IPv6 where there is none; raises ServiceError if it can't."""
    sockets = [bind(EVERYWHERE[0], port, is_lan=True)]
    with suppress(ServiceError, OSError):
        sockets.append(bind(EVERYWHERE[1], int(sockets[0].getsockname()[1]), is_lan=True))
    return sockets


class LanServer:
    """Opens and closes the LAN listener while the service runs; it serves `app`, whose streams `ending` ends.

    `lane_of` returns the lane of a peer, by its id.
    """

    def __init__(
        self,
        app: ASGIApp,
        ending: Hook,
        limits: Limits = DEFAULT_LIMITS,
        lane_of: LaneOf | None = None,
    ) -> None:
        self._limits = limits
        self._lane_of = lane_of
        self._app = app
        self._ending = ending
        self._gateway: _LanGateway | None = None
        self._serving: asyncio.Task[None] | None = None
        self._requested_port = 0
        self.port = 0
        """Where it listens now; 0 while it does not."""

    async def open(self, tls: ssl.SSLContext, identify: IdentifyPeer, port: int) -> None:
        """Listen on `port`, if it does not listen there already; raises ServiceError when it can't be bound."""
        if self._gateway is not None and port != self._requested_port:
            await self.close()
        if self._gateway is not None:
            return
        self._requested_port = port
        sockets = everywhere(port)
        self.port = int(sockets[0].getsockname()[1])
        self._gateway = _LanGateway(self._app, tls, identify, self._ending, self._limits, self._lane_of)
        self._serving = asyncio.create_task(self._gateway.serve(sockets))
        await self._gateway.ready.wait()
        log.info("Listening for peers on port %d.", self.port)

    def cut(self, peer: str) -> None:
        """Close every connection of a peer: the pairing is over."""
        if self._gateway is not None:
            self._gateway.cut(peer)

    async def close(self) -> None:
        """Stop listening, after running requests have ended."""
        gateway, serving = self._gateway, self._serving
        self._gateway = self._serving = None
        self.port = 0
        if gateway is not None and serving is not None:
            gateway.stop()
            await serving


HANDSHAKE_S: Final = 5.0
"""How long a client may take for its handshake."""
HANDSHAKES_MAX: Final = 128
"""Handshakes under way; with more, the oldest is aborted: an ordinary one takes some milliseconds."""
_SHUTDOWN_S: Final = 1.0
_PAUSE_S: Final = 1.0
"""How long to wait when the system can open no more connections."""


class TlsAcceptor:
    """Listens on a socket that is bound and does not block; `connect` makes the protocol of a connection."""

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext,
        connect: Callable[[], asyncio.Protocol],
        *,
        handshake_s: float = HANDSHAKE_S,
        limit: int = HANDSHAKES_MAX,
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._connect = connect
        self._handshake_s = handshake_s
        self._limit = limit
        self._handshakes: dict[asyncio.Task[None], None] = {}
        """The handshakes under way, the oldest first."""
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """Accept no more connections, abort the handshakes under way, and close the socket."""
        # One after the other, so that the connection accepted last has its task already.
        await _end((self._accepting,))
        await _end(tuple(self._handshakes))
        self._sock.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._sock)
            except OSError as error:
                log.warning(
                    "A peer's connection can't be accepted: %s.", error.strerror or type(error).__name__
                )
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._handshakes) >= self._limit:
                oldest = next(iter(self._handshakes))
                self._forget(oldest)
                oldest.cancel()
            task = loop.create_task(self._handshake(connection))
            self._handshakes[task] = None
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)  # it has to begin before it may be cancelled, or its connection stays open

    async def _handshake(self, connection: socket.socket) -> None:
        """Do the handshake; the event loop owns the connection from here on, and the protocol once it is done."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connect,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError:  # among them TimeoutError and ssl.SSLError: no peer, or one that has disconnected
            return

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
