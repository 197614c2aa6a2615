"""The HTTP server: uvicorn's, without its ten wake-ups a second, its signal handlers and its log messages."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

import uvicorn

from meshlight.domain.errors import ServiceError
from meshlight.gateway.server.asgi import ASGIApp
from meshlight.gateway.server.client_connection import ClientConnection, GatewayState
from meshlight.gateway.server.lane import HasLane
from meshlight.gateway.server.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.server.listener import BACKLOG

CANCEL_S = 1.0
"""How long cancelled requests may take to clean up."""
LOST_TURNS = 3
"""Turns of the event loop from an abort until the task has begun in which a request of the lane then ends."""

Hook = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


class GatewayServer(uvicorn.Server):
    """Serves one application on sockets that are bound already, until `stop` is called.

    `ending` is awaited after the last new connection and before running requests are waited for: it ends the event
    streams, which would otherwise never end. Signals are handled by the caller.
    """

    server_state: GatewayState

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits = DEFAULT_LIMITS,
        ending: Hook | None = None,
        lifespan: Literal["auto", "on", "off"] = "auto",
    ) -> None:
        config = uvicorn.Config(
            cast("Any", app),
            http=ClientConnection,
            ws="none",
            lifespan=lifespan,
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # or a client could choose the address it seems to come from
            server_header=False,
            date_header=False,
        )
        super().__init__(config)
        self.limits = limits
        has_lane: object = app
        self.server_state = GatewayState(limits, has_lane.lane if isinstance(has_lane, HasLane) else None)
        self.ready = asyncio.Event()
        """Set once connections are accepted."""
        self._app = app
        self._ending = ending
        self._stopping = asyncio.Event()
        self._listeners: list[asyncio.Server] = []

    def stop(self) -> None:
        """Stop, after running requests have ended; a second call stops at once. Call it in the event loop."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._stopping.set()
        if self.force_exit:
            self.server_state.emptied.set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped. Raises `ServiceError` when the application does not start."""
        self.config.load()
        # At its most verbose log level uvicorn wraps the application in one that logs headers, keys and all.
        self.config.loaded_app = self._app
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets)
        try:
            await self.main_loop()
        finally:
            await self.shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise ServiceError("The service could not start.", "Its log says why.")
        loop = asyncio.get_running_loop()
        for sock in sockets or ():
            self._listeners.append(await loop.create_server(self._connect, sock=sock, backlog=BACKLOG))
        self.started = True
        self.ready.set()

    async def main_loop(self) -> None:
        """Wait for `stop`, without polling."""
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, end the streams, let running requests end, close the rest."""
        for listener in self._listeners:
            listener.close()
        for sock in sockets or ():
            sock.close()
        if self._ending is not None:
            try:
                async with asyncio.timeout(self.limits.drain_s):
                    await self._ending()
            except Exception as error:  # noqa: BLE001 - a fault there must not keep the service from stopping
                log.warning("Ending the event streams failed: %s", type(error).__name__)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._drain()
        for connection in (*self.server_state.connections, *self.server_state.surplus):
            connection.transport.abort()
        for _ in range(LOST_TURNS):
            await asyncio.sleep(0)
        tasks = [*self.server_state.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
        await self.lifespan.shutdown()

    async def _drain(self) -> None:
        """Wait for the connections to end by themselves, as long as the limits allow."""
        state = self.server_state
        try:
            async with asyncio.timeout(self.limits.drain_s):
                while state.connections and not self.force_exit:
                    state.emptied.clear()
                    await state.emptied.wait()
                if state.tasks and not self.force_exit:
                    await asyncio.wait([*state.tasks])
        except TimeoutError:
            log.warning("%d requests were still running and are cut off.", len(state.tasks))

    def _connect(self) -> ClientConnection:
        return ClientConnection(self.config, self.server_state, self.lifespan.state)


async def serve(
    app: ASGIApp,
    sockets: list[socket.socket],
    *,
    stop: asyncio.Event,
    ready: Callable[[], object] | None = None,
    ending: Hook | None = None,
    limits: Limits = DEFAULT_LIMITS,
    lifespan: Literal["auto", "on", "off"] = "auto",
) -> None:
    """Serve `app` until `stop` is set; `ready` is called once connections are accepted; if it fails, serving ends."""
    server = GatewayServer(app, limits=limits, ending=ending, lifespan=lifespan)
    serving = asyncio.create_task(server.serve(sockets))
    watching = asyncio.create_task(_watch(server, stop, ready))
    try:
        await serving
    finally:
        watching.cancel()
        [outcome] = await asyncio.gather(watching, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


async def _watch(server: GatewayServer, stop: asyncio.Event, ready: Callable[[], object] | None) -> None:
    await server.ready.wait()
    try:
        if ready is not None:
            ready()
        await stop.wait()
    finally:
        server.stop()
