"""The HTTP server: it accepts connections until it is stopped, and lets running requests end. It polls nothing."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from meshlight.gateway.server.asgi import ASGIApp
from meshlight.gateway.server.client_connection import ClientConnection, GatewayState
from meshlight.gateway.server.lane import Lane
from meshlight.gateway.server.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.server.listener import BACKLOG

CANCEL_S = 1.0
"""How long cancelled requests may take to clean up."""
LOST_TURNS = 3
"""Turns of the event loop from an abort until the task has begun in which a request of the lane then ends."""

Hook = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


@runtime_checkable
class HasLane(Protocol):
    """An application with a lane beside it."""

    lane: Lane[Any] | None


class GatewayServer:
    """Serves one application on sockets that are bound already, until `stop` is called.

    `ending` is awaited after the last new connection and before running requests are waited for: it ends the event
    streams, which would otherwise never end. Signals are handled by the caller.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits = DEFAULT_LIMITS,
        ending: Hook | None = None,
    ) -> None:
        self.app = app
        self.limits = limits
        has_lane: object = app
        self.server_state = GatewayState(limits, has_lane.lane if isinstance(has_lane, HasLane) else None)
        self.ready = asyncio.Event()
        """Set once connections are accepted."""
        self._ending = ending
        self._stopping = asyncio.Event()
        self._must_end = False
        self._listeners: list[asyncio.Server] = []

    def stop(self) -> None:
        """Stop, after running requests have ended; a second call stops at once. Call it in the event loop."""
        self._must_end = self._stopping.is_set()
        self._stopping.set()
        if self._must_end:
            self.server_state.emptied.set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped."""
        await self.startup(sockets)
        try:
            await self._stopping.wait()
        finally:
            await self.shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        for sock in sockets or ():
            self._listeners.append(await loop.create_server(self._connect, sock=sock, backlog=BACKLOG))
        self.ready.set()

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

    async def _drain(self) -> None:
        """Wait for the connections to end by themselves, as long as the limits allow."""
        state = self.server_state
        try:
            async with asyncio.timeout(self.limits.drain_s):
                while state.connections and not self._must_end:
                    state.emptied.clear()
                    await state.emptied.wait()
                if state.tasks and not self._must_end:
                    await asyncio.wait([*state.tasks])
        except TimeoutError:
            running = sum(connection.unanswered for connection in state.connections)
            log.warning("%d requests were still running and are cut off.", max(running, len(state.tasks)))

    def _connect(self) -> ClientConnection:
        return ClientConnection(self.app, self.server_state, {})


async def serve(
    app: ASGIApp,
    sockets: list[socket.socket],
    *,
    stop: asyncio.Event,
    ready: Callable[[], object] | None = None,
    ending: Hook | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Serve `app` until `stop` is set; `ready` is called once connections are accepted; if it fails, serving ends."""
    server = GatewayServer(app, limits=limits, ending=ending)
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
