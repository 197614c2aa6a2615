"""The pairing port, at which other nodes ask to be paired: open only while this machine is visible."""

import asyncio
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence

from meshlight.domain.pairing import (
    LIMIT_S,
    NONCE_BYTES,
    FailedTries,
    PairingEnding,
    Transcript,
    clean_name,
    matches_commitment,
)
from meshlight.peers.pairing.messages import (
    MESSAGE_LIMIT,
    READ_S,
    VERSION,
    Hello,
    Offer,
    PairingAborted,
    PairingConnection,
    Reveal,
)
from meshlight.peers.pairing.session import LocalPeer, PairingSession, RemotePeer, url_of
from meshlight.peers.tls import pairing_server_context, read_certificate

CONNECTIONS_MAX = 8
_PAUSE_S = 1.0
"""How long to wait when the system has no more connections to give."""

log = logging.getLogger(__name__)


class PairingServer:
    """Accepts one pairing at a time, and passes it to `on_request` when there are digits to compare.

    A connection that sends nothing for `hello_s` seconds is cut, or earlier if others come: the oldest first. `tries`
    are those that failed before, at a server that was closed. `on_change` is called when a pairing's state changes.
    """

    def __init__(
        self,
        local: LocalPeer,
        on_request: Callable[[PairingSession], None],
        *,
        on_change: Callable[[], None] = lambda: None,
        hello_s: float = READ_S,
        tries: FailedTries | None = None,
    ) -> None:
        self._local = local
        self._on_request = on_request
        self._on_change = on_change
        self._hello_s = hello_s
        self._tries = tries or FailedTries()
        self._is_busy = False
        self._session: PairingSession | None = None
        self._sockets: tuple[socket.socket, ...] = ()
        self._accepting: list[asyncio.Task[None]] = []
        self._callers: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], None] = {}
        """Connections that have not sent their first message yet, the oldest first."""

    @property
    def pairing(self) -> PairingSession | None:
        """The pairing under way, if there are digits to compare."""
        return self._session

    @property
    def tries(self) -> FailedTries:
        """The tries that have failed so far."""
        return self._tries

    @property
    def is_locked(self) -> bool:
        """Whether every request is refused now because too many tries have failed."""
        return self._tries.is_shut(self._local.clock())

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on sockets that listen and do not block; `close` closes them too."""
        tls = pairing_server_context(self._local.identity)
        self._sockets = (*self._sockets, *sockets)
        self._accepting += [asyncio.create_task(self._accept(sock, tls)) for sock in sockets]

    async def close(self) -> None:
        """Stop serving, and end a pairing under way on both sides; `tries` stays readable for the next server."""
        if self._session is not None:
            self._session.stop("closed")
        # In this order, so that a connection that was accepted last belongs to a task that is ended here.
        await _end(self._accepting)
        await _end(tuple(self._callers))
        for sock in self._sockets:
            sock.close()
        self._accepting, self._sockets = [], ()

    async def _accept(self, sock: socket.socket, tls: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(sock)
            except OSError as error:
                log.warning("The pairing port can't accept a connection: %s.", error.strerror or error)
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._callers) >= CONNECTIONS_MAX:
                if not self._silent:
                    accepted.close()
                    continue
                oldest = next(iter(self._silent))
                self._forget(oldest)
                oldest.cancel()
            task = asyncio.create_task(self._handle(accepted, tls))
            self._callers.add(task)
            self._silent[task] = None
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)  # a task that is cancelled before it begins would leave its socket open

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._callers.discard(task)
        self._silent.pop(task, None)

    async def _handle(self, accepted: socket.socket, tls: ssl.SSLContext) -> None:
        """Serve one connection; whatever the other side does, no error leaves this."""
        try:
            async with asyncio.timeout(self._hello_s):
                connection, host = await _handshake(accepted, tls, self._hello_s)
        except (OSError, TimeoutError):
            return
        ending: PairingEnding | None = None
        try:
            hello = await connection.expect(Hello, self._hello_s)
            self._silent.pop(asyncio.current_task(), None)  # type: ignore[arg-type]  # this is one
            ending = await self._pair(hello, connection, host)
        except PairingAborted as error:
            ending = error.ending
        except BaseException:
            connection.abort()
            raise
        connection.close(ending)

    async def _pair(self, hello: Hello, connection: PairingConnection, host: str) -> PairingEnding | None:
        """Do the asked side's part; returns how it failed, None if it didn't, or if the session has said so itself.

        Raises PairingAborted when it ends before there are digits.
        """
        remote = self._checked(hello, host)
        self._is_busy = True
        ending: PairingEnding | None = None
        try:
            transcript, ends_at = await self._exchange(hello, connection)
            self._session = PairingSession(
                self._local, remote, connection, transcript, "asked", ends_at, self._on_change
            )
            self._on_request(self._session)
            await self._session.over()
            ending = self._session.ending
        except PairingAborted as error:
            ending = error.ending if error.ending in {"commitment", "garbage"} else "lost"
            raise
        finally:
            if self._session is not None:
                self._session.stop("closed")
            self._is_busy, self._session = False, None
            if ending is not None:
                self._tries = self._tries.after(ending, self._local.clock())
        return None  # the session has told the other side why it ended

    def _checked(self, hello: Hello, host: str) -> RemotePeer:
        """Return the asking node; raises PairingAborted for one that can't be paired."""
        if hello.v != VERSION:
            raise PairingAborted("version")
        if self.is_locked:
            raise PairingAborted("shut")
        if self._is_busy:
            raise PairingAborted("busy")
        try:
            certificate = read_certificate(hello.certificate)
        except ValueError:
            raise PairingAborted("certificate") from None
        if certificate.node_id == self._local.identity.node_id:
            raise PairingAborted("own-key")
        return RemotePeer(name=clean_name(hello.name), certificate=certificate, url=url_of(host, hello.port))

    async def _exchange(self, hello: Hello, connection: PairingConnection) -> tuple[Transcript, float]:
        """Exchange nonces; returns what both sides now have in common, and when the time is up."""
        local, nonce = self._local, secrets.token_bytes(NONCE_BYTES)
        ends_at = local.clock() + LIMIT_S
        own = local.identity.certificate_der
        connection.send(Offer(name=clean_name(local.name), certificate=own, nonce=nonce, port=local.port))
        reveal = await connection.expect(Reveal, self._hello_s)
        if not matches_commitment(hello.commitment, reveal.nonce, hello.certificate):
            raise PairingAborted("commitment")
        transcript = Transcript(
            asking_certificate=hello.certificate,
            asked_certificate=own,
            asking_nonce=reveal.nonce,
            asked_nonce=nonce,
        )
        return transcript, ends_at


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _handshake(
    accepted: socket.socket, tls: ssl.SSLContext, limit_s: float
) -> tuple[PairingConnection, str]:
    """Do the TLS handshake of an accepted connection; returns also the address of the other side. Raises OSError.

    The loop owns the socket from here on, so it is not closed here: its file descriptor could belong to another
    connection by the time the loop closes it.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MESSAGE_LIMIT, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, accepted, ssl=tls, ssl_handshake_timeout=limit_s, ssl_shutdown_timeout=limit_s
    )
    peername = transport.get_extra_info("peername")
    if peername is None:
        transport.abort()
        raise OSError("It has gone.")
    return PairingConnection(reader, asyncio.StreamWriter(transport, protocol, reader, loop)), peername[0]
