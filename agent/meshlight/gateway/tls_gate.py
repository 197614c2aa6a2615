"""Takes connections and does their TLS handshakes; however many strangers knock, a few at a time get in the way.

The loop's own listener sets no bound to the handshakes under way: each would hold a file until its time is up.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

HANDSHAKE_S = 5.0
"""How long a stranger may take for its handshake."""
HANDSHAKES_MAX = 128
"""Handshakes under way; with more, the eldest is cut: an honest one takes some milliseconds."""
_SHUTDOWN_S = 1.0
_PAUSE_S = 1.0
"""How long to wait when the system has no more connections to give."""

log = logging.getLogger(__name__)


class TlsGate:
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
