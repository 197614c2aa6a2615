"""One pairing, on either side, and how the asking side begins it.

The asking side connects to the other's pairing port, both show six digits, two people compare them, and each node
then trusts the other's certificate. The asking side gets the other's certificate from the TLS handshake. The asked
side gets the asking one's in the first message; it counts as proven once its key has signed the transcript, which
both certificates are part of.
"""

import asyncio
import secrets
from collections.abc import Callable
from ipaddress import ip_address

from msgspec import Struct

from meshlight.domain.clock import CallLater
from meshlight.domain.errors import PairingError
from meshlight.domain.pairing import (
    LIMIT_S,
    NONCE_BYTES,
    PairingEnding,
    PairingProgress,
    Role,
    Transcript,
    clean_name,
    commitment,
    failure,
    other_role,
)
from meshlight.domain.peers import LAN_PORT, PairingState, Peer
from meshlight.peers.pairing.messages import (
    MESSAGE_LIMIT,
    READ_S,
    VERSION,
    Confirmed,
    Done,
    Hello,
    Message,
    Offer,
    PairingAborted,
    PairingConnection,
    Refusal,
    Reveal,
    ending_of,
)
from meshlight.peers.tls import Certificate, PrivateIdentity, pairing_client_context, presented_certificate


class LocalPeer(Struct, frozen=True, kw_only=True):
    """This node, as one side of a pairing."""

    identity: PrivateIdentity
    name: str
    port: int = LAN_PORT
    """Where it listens for its peers, or will listen."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    later: CallLater
    wall: Callable[[], float]
    """Unix seconds."""


class RemotePeer(Struct, frozen=True, kw_only=True):
    """The other side, as it describes itself; `name` is sanitized."""

    name: str
    certificate: Certificate
    url: str


class Paired(Struct, frozen=True, kw_only=True):
    """The result of a pairing: the peer to save, and its certificate to pin."""

    peer: Peer
    certificate_pem: bytes


class PairingSession:
    """A pairing from when there are digits to compare; made inside the event loop.

    `ends_at` is when it is given up, by the clock of `local`; `on_change` is called when `state` has changed.
    """

    def __init__(
        self,
        local: LocalPeer,
        remote: RemotePeer,
        connection: PairingConnection,
        transcript: Transcript,
        role: Role,
        ends_at: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._local = local
        self._remote = remote
        self._connection = connection
        self._transcript = transcript
        self._progress = PairingProgress(role=role, ends_at=ends_at).met(transcript.digits)
        self._is_done_sent = False
        self._over = asyncio.Event()
        self._on_change = on_change
        self._timer = local.later(max(0.0, ends_at - local.clock()), self._tick)
        self._receiver = asyncio.create_task(self._receive_all())

    @property
    def role(self) -> Role:
        """Which side this is."""
        return self._progress.role

    @property
    def state(self) -> PairingState:
        """How far it is."""
        return self._progress.state

    @property
    def digits(self) -> str:
        """The six digits that the two people compare."""
        return self._progress.digits

    @property
    def other_name(self) -> str:
        """What the other side calls itself."""
        return self._remote.name

    @property
    def other_id(self) -> str:
        """The other side's node id; on the asked side it is not proven while `state` is `comparing`."""
        return self._remote.certificate.node_id

    @property
    def left_s(self) -> float:
        """Seconds until it ends by itself."""
        return 0.0 if self._progress.is_over else max(0.0, self._progress.ends_at - self._local.clock())

    @property
    def ending(self) -> PairingEnding | None:
        """Why it ended without a pairing, as a code; None while it runs and when it succeeded."""
        return self._progress.ending

    @property
    def why(self) -> str:
        """Why it ended without a pairing and what to do, in sentences; else empty."""
        error = self._error()
        return "" if error is None else f"{error.title} {error.hint}"

    async def confirm(self) -> None:
        """Confirm, for the person here, that the digits are the same; PairingError if it is over."""
        self._advance(self._progress.at(self._local.clock()))
        if self._progress.state == "comparing":
            statement = self._transcript.statement(self.role)
            self._connection.send(Confirmed(signature=self._local.identity.sign(statement)))
            self._advance(self._progress.confirm())
        if error := self._error():
            raise error

    async def refuse(self) -> None:
        """End it on both sides, because the digits differ or nobody wants it; does nothing if it is over."""
        self.stop("refused-here")

    def stop(self, ending: PairingEnding) -> None:
        """End it on both sides, for a reason of this side."""
        self._advance(self._progress.end(ending))

    async def over(self) -> None:
        """Wait until it is over, successful or not."""
        await self._over.wait()

    async def end(self) -> Paired:
        """Wait for the result; PairingError when it ended without a pairing."""
        await self._over.wait()
        if error := self._error():
            raise error
        peer = Peer(
            id=self.other_id, name=self.other_name, url=self._remote.url, paired_at=self._local.wall()
        )
        return Paired(peer=peer, certificate_pem=self._remote.certificate.pem)

    def _error(self) -> PairingError | None:
        ending = self._progress.ending
        return None if ending is None else failure(ending, self.other_name)

    async def _receive_all(self) -> None:
        try:
            while not self._progress.is_over:
                self._receive(await self._connection.read())
        except PairingAborted as error:
            self._advance(self._progress.end(error.ending))

    def _receive(self, message: Message) -> None:
        now = self._progress.at(self._local.clock())
        match message:
            case Confirmed():
                statement = self._transcript.statement(other_role(self.role))
                is_good = self._remote.certificate.signed(statement, message.signature)
                self._advance(now.confirmed_there() if is_good else now.end("signature"))
            case Done():
                self._advance(now.done_there())
            case Refusal():
                # The asking side could choose a reason that does not count as a failed try.
                # So it is always counted as refused.
                self._advance(now.end(ending_of(message) if self.role == "asking" else "refused-there"))
            case _:
                self._advance(now.end("garbage"))

    def _tick(self) -> None:
        self._advance(self._progress.at(self._local.clock()))

    def _advance(self, progress: PairingProgress) -> None:
        """Take over new progress: send the other side what it must know, and close when it is over."""
        if progress == self._progress:
            return
        self._progress = progress
        if progress.is_agreed and not self._is_done_sent:
            self._is_done_sent = True
            self._connection.send(Done())
        if progress.is_over:
            self._timer.cancel()
            self._connection.close(progress.ending)
            self._receiver.cancel()
            self._over.set()
        self._on_change()


async def request_pairing(
    local: LocalPeer,
    host: str,
    port: int,
    expected_id: str | None = None,
    on_change: Callable[[], None] = lambda: None,
) -> PairingSession:
    """Ask the node at an address to pair; returns once both sides show the same digits. Raises PairingError.

    `expected_id` is the node id from a link: nothing is sent to a node with any other key. People still have to
    compare the digits, since anybody can make a link, with their own id in it.
    """
    ends_at = local.clock() + LIMIT_S
    name = clean_name(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    try:
        async with asyncio.timeout(READ_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=pairing_client_context(), limit=MESSAGE_LIMIT
            )
    except (OSError, TimeoutError, ValueError) as error:
        raise failure("unreachable", name) from error
    connection = PairingConnection(reader, writer)
    try:
        transcript, remote = await _exchange(local, connection, writer, expected_id)
    except PairingAborted as error:
        connection.close(error.ending)
        raise failure(error.ending, name) from None
    except BaseException:
        connection.abort()
        raise
    return PairingSession(local, remote, connection, transcript, "asking", ends_at, on_change)


async def _exchange(
    local: LocalPeer, connection: PairingConnection, writer: asyncio.StreamWriter, expected_id: str | None
) -> tuple[Transcript, RemotePeer]:
    """Do the asking side's part up to the digits; raises PairingAborted."""
    session = writer.get_extra_info("ssl_object")
    presented = None if session is None else presented_certificate(session)
    if presented is None:
        raise PairingAborted("certificate")
    if expected_id is not None and presented.node_id != expected_id:
        raise PairingAborted("other-key")
    if presented.node_id == local.identity.node_id:
        raise PairingAborted("own-key")
    own, nonce = local.identity.certificate_der, secrets.token_bytes(NONCE_BYTES)
    committed = commitment(nonce, own)
    connection.send(
        Hello(v=VERSION, name=clean_name(local.name), certificate=own, commitment=committed, port=local.port)
    )
    offer = await connection.expect(Offer)
    if offer.certificate != presented.der:
        raise PairingAborted("signature")
    connection.send(Reveal(nonce=nonce))
    transcript = Transcript(
        asking_certificate=own,
        asked_certificate=presented.der,
        asking_nonce=nonce,
        asked_nonce=offer.nonce,
    )
    url = url_of(writer.get_extra_info("peername")[0], offer.port)
    return transcript, RemotePeer(name=clean_name(offer.name), certificate=presented, url=url)


def url_of(host: str, port: int) -> str:
    """Return the URL at which a node serves its peers, from the address of a connection.

    Empty for a link-local IPv6 address: a URL can't name the interface through which it is reached.
    """
    address = ip_address(host)
    if address.version == 6 and address.is_link_local:
        return ""
    mapped = getattr(address, "ipv4_mapped", None) or address
    return f"https://{mapped}:{port}" if mapped.version == 4 else f"https://[{mapped}]:{port}"
