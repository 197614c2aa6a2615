"""A listening port and its connections."""

import asyncio
import errno
import socket
import sys

from meshlight.simulator.http.connection import Connection, Serve
from meshlight.simulator.request_log import RequestLog

STOP_S = 5.0


class Listener:
    """Can be shut and opened again on the same port, which stays reserved in between (on Linux)."""

    def __init__(
        self, host: str, serve: Serve, request_log: RequestLog, idle_s: float = float("inf")
    ) -> None:
        self.host = host
        self.port = 0
        self.connections: set[Connection] = set()
        self._serve = serve
        self._log = request_log
        self._idle_s = idle_s
        self._server: asyncio.Server | None = None
        self._port_holder: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether it listens now."""
        return self._server is not None

    @property
    def authority(self) -> str:
        """Host and port for a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def open(self, *, anywhere: bool = False) -> None:
        """Listen on its port, or on a free one if it has none yet.

        If the port is taken, raises OSError, or uses a free one with `anywhere`.
        """
        if self._server is not None:
            return
        try:
            await self._listen(self.port)
        except OSError as error:
            if not anywhere or error.errno != errno.EADDRINUSE:
                raise
            await self._listen(0)

    async def _listen(self, wanted: int) -> None:
        if self._port_holder is None and sys.platform == "linux":
            # Bound but never listening: the port stays reserved while the listener is shut, and connections are
            # refused. Other systems allow no second socket on the port; there it may be lost.
            self._port_holder = _bind(self.host, wanted)
            wanted = self._port_holder.getsockname()[1]
        try:
            listener = _bind(self.host, wanted)
            self._server = await asyncio.get_running_loop().create_server(self.connection, sock=listener)
        except OSError:
            self._release_port()
            raise
        self.port = listener.getsockname()[1]

    async def shut(self) -> None:
        """Stop listening and close idle connections; answers under way continue."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self.hang_up()
        # One turn of the loop: only then has every kind of event loop closed its listening socket.
        await asyncio.sleep(0)

    def hang_up(self) -> int:
        """Close the idle connections, as an engine does after its timeout; return how many there were."""
        idle = [connection for connection in self.connections if connection.is_idle]
        for connection in idle:
            connection.close()
        return len(idle)

    async def close(self) -> None:
        """Stop listening, drop every connection, and wait until all are gone."""
        await self.shut()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in tuple(self.connections):
            connection.drop()
        await self._log.until(
            lambda: not self.connections, lambda: f"{len(self.connections)} connections still open", STOP_S
        )
        await asyncio.gather(*tasks, return_exceptions=True)
        self._release_port()

    def connection(self) -> Connection:
        """Return the protocol of a new connection; also for other listeners, such as a Unix socket."""
        return Connection(self._serve, self._log, self.connections, self._idle_s)

    def _release_port(self) -> None:
        if self._port_holder is not None:
            self._port_holder.close()
            self._port_holder = None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol number, else asyncio leaves Nagle's algorithm on, which delays tokens.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            # On Windows the option would let two servers share a port; elsewhere it only skips TIME_WAIT.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
