"""The door at which others ask to be paired: open only while the user lets this machine be seen."""

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
    FRAME_LIMIT,
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
    """Takes one pairing at a time, and hands it to `on_request` when there are digits to compare.

    Whoever says nothing for `hello_s` seconds is cut, and earlier if others come: the eldest first. `tries` are
    those that failed at the door before this one.
    """

    def __init__(
        self,
        here: LocalPeer,
        on_request: Callable[[PairingSession], None],
        *,
        hello_s: float = READ_S,
        tries: FailedTries | None = None,
    ) -> None:
        self._here = here
        self._on_request = on_request
        self._hello_s = hello_s
        self._tries = tries or FailedTries()
        self._is_taken = False
        self._pairing: PairingSession | None = None
        self._sockets: tuple[socket.socket, ...] = ()
        self._accepting: list[asyncio.Task[None]] = []
        self._meeting: set[asyncio.Task[None]] = set()
        self._unheard: dict[asyncio.Task[None], None] = {}
        """Those who have not said who they are yet, the eldest first."""

    @property
    def pairing(self) -> PairingSession | None:
        """The pairing under way, if there are digits to compare."""
        return self._pairing

    @property
    def tries(self) -> FailedTries:
        """What has failed so far."""
        return self._tries

    @property
    def is_shut(self) -> bool:
        """Whether nobody is taken now because too many tries have failed."""
        return self._tries.is_shut(self._here.clock())

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Open the door on sockets that listen and do not block; they are closed with it."""
        tls = pairing_server_context(self._here.identity)
        self._sockets = (*self._sockets, *sockets)
        self._accepting += [asyncio.create_task(self._accept(sock, tls)) for sock in sockets]

    async def close(self) -> None:
        """Close the door, and end a pairing under way for both. What has failed is remembered for `start`."""
        if self._pairing is not None:
            self._pairing.stop("closed")
        # One after the other, so that whoever came last is in the hands of its task.
        await _end(self._accepting)
        await _end(tuple(self._meeting))
        for sock in self._sockets:
            sock.close()
        self._accepting, self._sockets = [], ()

    async def _accept(self, sock: socket.socket, tls: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(sock)
            except OSError as error:
                log.warning("The pairing door can't take a connection: %s.", error.strerror or error)
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._meeting) >= CONNECTIONS_MAX:
                if not self._unheard:
                    connection.close()
                    continue
                eldest = next(iter(self._unheard))
                self._forget(eldest)
                eldest.cancel()
            task = asyncio.create_task(self._meet(connection, tls))
            self._meeting.add(task)
            self._unheard[task] = None
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)  # it has to begin before it may be cut, or its connection stays open

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._meeting.discard(task)
        self._unheard.pop(task, None)

    async def _meet(self, connection: socket.socket, tls: ssl.SSLContext) -> None:
        """Hear somebody out; nothing it does is an error of ours."""
        try:
            async with asyncio.timeout(self._hello_s):
                wire, host = await _opened(connection, tls, self._hello_s)
        except (OSError, TimeoutError):
            return
        ending: PairingEnding | None = None
        try:
            hello = await wire.expect(Hello, self._hello_s)
            self._unheard.pop(asyncio.current_task(), None)  # type: ignore[arg-type]  # this is one
            ending = await self._pair(hello, wire, host)
        except PairingAborted as error:
            ending = error.ending
        except BaseException:
            wire.abort()
            raise
        wire.close(ending)

    async def _pair(self, hello: Hello, wire: PairingConnection, host: str) -> PairingEnding | None:
        """Do the asked side's part; returns how it ended, None for well. Raises Ended before the digits."""
        there = self._checked(hello, host)
        self._is_taken = True
        ending: PairingEnding | None = None
        try:
            transcript, ends_at = await self._exchange(hello, wire)
            self._pairing = PairingSession(self._here, there, wire, transcript, "asked", ends_at)
            self._on_request(self._pairing)
            await self._pairing.over()
            ending = self._pairing.ending
        except PairingAborted as error:
            ending = error.ending if error.ending in {"commitment", "garbage"} else "lost"
            raise
        finally:
            if self._pairing is not None:
                self._pairing.stop("closed")
            self._is_taken, self._pairing = False, None
            if ending is not None:
                self._tries = self._tries.after(ending, self._here.clock())
        return None  # the pairing has told the other side itself

    def _checked(self, hello: Hello, host: str) -> RemotePeer:
        """Return who asks; raises Ended for one who can't be taken."""
        if hello.v != VERSION:
            raise PairingAborted("version")
        if self.is_shut:
            raise PairingAborted("shut")
        if self._is_taken:
            raise PairingAborted("busy")
        try:
            certificate = read_certificate(hello.certificate)
        except ValueError:
            raise PairingAborted("certificate") from None
        if certificate.node_id == self._here.identity.node_id:
            raise PairingAborted("own-key")
        return RemotePeer(name=clean_name(hello.name), certificate=certificate, url=url_of(host, hello.port))

    async def _exchange(self, hello: Hello, wire: PairingConnection) -> tuple[Transcript, float]:
        """Return what both sides have seen, and when the time is up."""
        here, nonce = self._here, secrets.token_bytes(NONCE_BYTES)
        ends_at = here.clock() + LIMIT_S
        own = here.identity.certificate_der
        wire.send(Offer(name=clean_name(here.name), certificate=own, nonce=nonce, port=here.port))
        reveal = await wire.expect(Reveal, self._hello_s)
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


async def _opened(
    connection: socket.socket, tls: ssl.SSLContext, limit_s: float
) -> tuple[PairingConnection, str]:
    """Do the TLS handshake of a connection; returns also the address of the other side. Raises OSError.

    The connection is the loop's from here on: closed here too, its number could be another one's by the time that
    the loop lets go of it.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=FRAME_LIMIT, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, connection, ssl=tls, ssl_handshake_timeout=limit_s, ssl_shutdown_timeout=limit_s
    )
    peername = transport.get_extra_info("peername")
    if peername is None:
        transport.abort()
        raise OSError("It has gone.")
    return PairingConnection(reader, asyncio.StreamWriter(transport, protocol, reader, loop)), peername[0]
