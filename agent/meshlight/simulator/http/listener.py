"""A listening port with the connections that came through it."""

import asyncio
import errno
import socket
import sys

from meshlight.simulator.http.connection import Connection, Serve
from meshlight.simulator.request_log import RequestLog

STOP_S = 5.0


class Listener:
    """Can be shut and opened again on the same port, which nobody else can take in between (on Linux)."""

    def __init__(
        self, host: str, serve: Serve, request_log: RequestLog, idle_s: float = float("inf")
    ) -> None:
        self.host = host
        self.port = 0
        self.guests: set[Connection] = set()
        self._serve = serve
        self._journal = request_log
        self._idle_s = idle_s
        self._server: asyncio.Server | None = None
        self._keeper: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether it listens now."""
        return self._server is not None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def open(self, *, anywhere: bool = False) -> None:
        """Listen on its port, or on a free one where it has none yet.

        Where the port is taken, it raises OSError, or with `anywhere` takes a free one.
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
        if self._keeper is None and sys.platform == "linux":
            # Bound but never listening: the port stays ours while the door is shut, and who connects to it
            # is refused. Elsewhere a second socket on the port is not allowed, and the port is only hoped for.
            self._keeper = _bind(self.host, wanted)
            wanted = self._keeper.getsockname()[1]
        try:
            listener = _bind(self.host, wanted)
            self._server = await asyncio.get_running_loop().create_server(self.connection, sock=listener)
        except OSError:
            self._let_port_go()
            raise
        self.port = listener.getsockname()[1]

    async def shut(self) -> None:
        """Stop listening and end idle connections; answers under way go on."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self.hang_up()
        # One turn of the loop: only then has every event loop closed its listening socket.
        await asyncio.sleep(0)

    def hang_up(self) -> int:
        """End the idle connections as an engine does that finds them too old; returns how many there were."""
        idle = [guest for guest in self.guests if guest.is_idle]
        for guest in idle:
            guest.close()
        return len(idle)

    async def close(self) -> None:
        """Stop listening, end every connection at once, wait until nothing of it is left."""
        await self.shut()
        tasks = [guest.task for guest in self.guests if guest.task is not None]
        for guest in tuple(self.guests):
            guest.drop()
        await self._journal.until(
            lambda: not self.guests, lambda: f"{len(self.guests)} connections still open", STOP_S
        )
        await asyncio.gather(*tasks, return_exceptions=True)
        self._let_port_go()

    def connection(self) -> Connection:
        """Return what serves one more guest, through whichever door it came."""
        return Connection(self._serve, self._journal, self.guests, self._idle_s)

    def _let_port_go(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by its number: without it asyncio leaves Nagle's algorithm on, which holds tokens back.
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
