"""The LAN listener: the gateway's server behind TLS, for connections whose client proved a paired key.

Takes connections and does their TLS handshakes; however many strangers knock, a few at a time get in the way.

The loop's own listener sets no bound to the handshakes under way: each would hold a file until its time is up.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from uvicorn.protocols.http.flow_control import FlowControl

from meshlight.domain.errors import ServiceError
from meshlight.gateway.server.asgi import ASGIApp
from meshlight.gateway.server.client_connection import ClientConnection
from meshlight.gateway.server.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.server.listener import bind
from meshlight.gateway.server.server import GatewayServer, Hook

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - peers are on other machines; who asks is proven in the handshake

IdentifyPeer = Callable[[ssl.SSLObject], str | None]
"""Returns the id of the paired key behind a connection, or None when it is nobody's."""

log = logging.getLogger(__name__)


class _LanProtocol(ClientConnection):
    """A connection that knows which peer it belongs to."""

    who: IdentifyPeer
    has_key = True  # a paired one: any other is cut

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection of a peer; any other is cut before a byte of it is read."""
        session = transport.get_extra_info("ssl_object")
        peer = None if session is None else self.who(session)
        if peer is None:
            self.transport = transport
            self.flow = FlowControl(transport)
            transport.abort()
            return
        self.app_state = {"peer": peer}
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read what a peer sent."""
        if self.app_state:
            super().data_received(data)


class _LanGateway(GatewayServer):
    """uvicorn's server with TLS and the peers' protocol."""

    def __init__(
        self, app: ASGIApp, tls: ssl.SSLContext, who: IdentifyPeer, ending: Hook, limits: Limits
    ) -> None:
        super().__init__(app, limits=limits, ending=ending, lifespan="off")
        self._tls = tls
        self._who = who
        self._gates: list[TlsAcceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        self._gates += [TlsAcceptor(sock, self._tls, self._connect) for sock in sockets or ()]
        self.started = True
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, end the streams, let running requests end, close the rest."""
        for gate in self._gates:
            await gate.close()
        await super().shutdown(sockets)

    def _connect(self) -> ClientConnection:
        protocol = _LanProtocol(self.config, self.server_state, {})
        protocol.who = self._who
        return protocol

    def cut(self, peer: str) -> None:
        """Close every connection of a peer."""
        for connection in tuple(self.server_state.connections):
            if getattr(connection, "app_state", {}).get("peer") == peer:
                connection.transport.abort()


def everywhere(port: int) -> list[socket.socket]:
    """Listen on a port of every address, without IPv6 where there is none; ServiceError when it can't be had."""
    sockets = [bind(EVERYWHERE[0], port, is_lan=True)]
    with suppress(ServiceError, OSError):
        sockets.append(bind(EVERYWHERE[1], int(sockets[0].getsockname()[1]), is_lan=True))
    return sockets


class LanServer:
    """Opens and closes the LAN listener while the service runs; it serves `app`, whose streams `ending` ends."""

    def __init__(self, app: ASGIApp, ending: Hook, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._app = app
        self._ending = ending
        self._gateway: _LanGateway | None = None
        self._serving: asyncio.Task[None] | None = None
        self._wished = 0
        self.port = 0
        """Where it listens now; 0 while it does not."""

    async def open(self, tls: ssl.SSLContext, who: IdentifyPeer, port: int) -> None:
        """Listen on `port`, if it does not listen there already; ServiceError when it can't be had."""
        if self._gateway is not None and port != self._wished:
            await self.close()
        if self._gateway is not None:
            return
        self._wished = port
        sockets = everywhere(port)
        self.port = int(sockets[0].getsockname()[1])
        self._gateway = _LanGateway(self._app, tls, who, self._ending, self._limits)
        self._serving = asyncio.create_task(self._gateway.serve(sockets))
        await self._gateway.ready.wait()
        log.info("Peers may ask on port %d.", self.port)

    def cut(self, peer: str) -> None:
        """Close every connection of a peer: the pairing is over."""
        if self._gateway is not None:
            self._gateway.cut(peer)

    async def close(self) -> None:
        """Listen no more, after running requests have ended."""
        gateway, serving = self._gateway, self._serving
        self._gateway = self._serving = None
        self.port = 0
        if gateway is not None and serving is not None:
            gateway.stop()
            await serving


HANDSHAKE_S = 5.0
"""How long a stranger may take for its handshake."""
HANDSHAKES_MAX = 128
"""Handshakes under way; with more, the eldest is cut: an honest one takes some milliseconds."""
_SHUTDOWN_S = 1.0
_PAUSE_S = 1.0
"""How long to wait when the system has no more connections to give."""


class TlsAcceptor:
    """Listens on a socket that is bound and does not block; `connect` makes the protocol of a connection."""

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext,
        connect: Callable[[], asyncio.Protocol],
        *,
        handshake_s: float = HANDSHAKE_S,
        most: int = HANDSHAKES_MAX,
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._connect = connect
        self._handshake_s = handshake_s
        self._most = most
        self._greeting: dict[asyncio.Task[None], None] = {}
        """The handshakes under way, the eldest first."""
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """Take no more connections, and cut those that are not through their handshake; then let go of the socket."""
        # One after the other, so that whoever came last is in the hands of its task.
        await _end((self._accepting,))
        await _end(tuple(self._greeting))
        self._sock.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._sock)
            except OSError as error:
                log.warning("A peer's connection can't be taken: %s.", error.strerror or type(error).__name__)
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._greeting) >= self._most:
                eldest = next(iter(self._greeting))
                self._forget(eldest)
                eldest.cancel()
            task = loop.create_task(self._greet(connection))
            self._greeting[task] = None
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)  # it has to begin before it may be cut, or its connection stays open

    async def _greet(self, connection: socket.socket) -> None:
        """Do the handshake; the connection is the loop's from here on, and the protocol's once it is done."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connect,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError:  # among them TimeoutError and ssl.SSLError: a stranger, or one who has gone
            return

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._greeting.pop(task, None)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
