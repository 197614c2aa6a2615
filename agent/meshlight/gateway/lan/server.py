"""The LAN listener: the gateway's server behind TLS, for connections whose client proved a paired key."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from uvicorn.protocols.http.flow_control import FlowControl

from meshlight.domain.errors import ServiceError
from meshlight.gateway.asgi import ASGIApp
from meshlight.gateway.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.listen import bind
from meshlight.gateway.protocol import GuardedProtocol
from meshlight.gateway.server import GatewayServer, Hook
from meshlight.gateway.tls_gate import TlsGate

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - peers are on other machines; who asks is proven in the handshake

Who = Callable[[ssl.SSLObject], str | None]
"""Returns the id of the paired key behind a connection, or None when it is nobody's."""

log = logging.getLogger(__name__)


class _LanProtocol(GuardedProtocol):
    """A connection that knows which peer it belongs to."""

    who: Who
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

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext, who: Who, ending: Hook, limits: Limits) -> None:
        super().__init__(app, limits=limits, ending=ending, lifespan="off")
        self._tls = tls
        self._who = who
        self._gates: list[TlsGate] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        self._gates += [TlsGate(sock, self._tls, self._connect) for sock in sockets or ()]
        self.started = True
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, end the streams, let running requests end, close the rest."""
        for gate in self._gates:
            await gate.close()
        await super().shutdown(sockets)

    def _connect(self) -> GuardedProtocol:
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
    """Opens and closes the LAN listener while the service runs; `serves` says what it offers."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._offer: tuple[ASGIApp, Hook] | None = None
        self._gateway: _LanGateway | None = None
        self._serving: asyncio.Task[None] | None = None
        self._wished = 0
        self.port = 0
        """Where it listens now; 0 while it does not."""

    def serves(self, app: ASGIApp, ending: Hook) -> None:
        """Offer this app; `ending` ends its streams."""
        self._offer = app, ending

    async def open(self, tls: ssl.SSLContext, who: Who, port: int) -> None:
        """Listen on `port`, if it does not listen there already; ServiceError when it can't be had."""
        if self._gateway is not None and port != self._wished:
            await self.close()
        if self._gateway is not None or self._offer is None:
            return
        app, ending = self._offer
        self._wished = port
        sockets = everywhere(port)
        self.port = int(sockets[0].getsockname()[1])
        self._gateway = _LanGateway(app, tls, who, ending, self._limits)
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
