"""Pairing two nodes: one asks at the other's door, two people compare six digits, and each pins the other's key.

The side that asks sees in the TLS handshake whose key the door has; the asked side sees only a certificate in the
first frame, and takes it for proven once it has signed what both have seen, the door's certificate included.
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
    FRAME_LIMIT,
    READ_S,
    VERSION,
    Confirmed,
    Done,
    Frame,
    Hello,
    Offer,
    PairingAborted,
    PairingConnection,
    Refusal,
    Reveal,
    meaning,
)
from meshlight.peers.tls import Certificate, PrivateIdentity, pairing_client_context, presented_certificate


class LocalPeer(Struct, frozen=True, kw_only=True):
    """This node, as one side of a pairing."""

    identity: PrivateIdentity
    name: str
    port: int = LAN_PORT
    """Where it listens for its peers, or will."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    later: CallLater
    wall: Callable[[], float]
    """Unix seconds."""


class RemotePeer(Struct, frozen=True, kw_only=True):
    """The other side; its name is a stranger's text, cleaned."""

    name: str
    certificate: Certificate
    url: str


class Paired(Struct, frozen=True, kw_only=True):
    """What a pairing comes to: whom to keep, and what to pin."""

    peer: Peer
    certificate_pem: bytes


class PairingSession:
    """A pairing under way, on either side, from when there are digits to compare; it needs a running loop."""

    def __init__(
        self,
        here: LocalPeer,
        there: RemotePeer,
        wire: PairingConnection,
        transcript: Transcript,
        role: Role,
        ends_at: float,
    ) -> None:
        self._here = here
        self._there = there
        self._wire = wire
        self._transcript = transcript
        self._standing = PairingProgress(role=role, ends_at=ends_at).met(transcript.digits)
        self._is_done_told = False
        self._over = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever `state` has changed."""
        self._timer = here.later(max(0.0, ends_at - here.clock()), self._tick)
        self._listening = asyncio.create_task(self._listen())

    @property
    def role(self) -> Role:
        """Which side this is."""
        return self._standing.role

    @property
    def state(self) -> PairingState:
        """How far it has come."""
        return self._standing.state

    @property
    def digits(self) -> str:
        """What the two people compare."""
        return self._standing.digits

    @property
    def other_name(self) -> str:
        """What the other side calls itself."""
        return self._there.name

    @property
    def other_id(self) -> str:
        """The other side's node id; on the asked side nothing has proven it yet while this is `comparing`."""
        return self._there.certificate.node_id

    @property
    def left_s(self) -> float:
        """Seconds until it ends by itself."""
        return 0.0 if self._standing.is_over else max(0.0, self._standing.ends_at - self._here.clock())

    @property
    def ending(self) -> PairingEnding | None:
        """Why it is over without a pairing, as a word."""
        return self._standing.ending

    @property
    def why(self) -> str:
        """Why it is over without a pairing, in a sentence and the fix; else empty."""
        error = self._error()
        return "" if error is None else f"{error.title} {error.hint}"

    async def confirm(self) -> None:
        """Take the word of the person here that the digits are the same; PairingError if it is over."""
        self._put(self._standing.at(self._here.clock()))
        if self._standing.state == "comparing":
            statement = self._transcript.statement(self.role)
            self._wire.send(Confirmed(signature=self._here.identity.sign(statement)))
            self._put(self._standing.confirm())
        if error := self._error():
            raise error

    async def refuse(self) -> None:
        """End it for both, because the digits differ or nobody wants this; nothing happens if it is over."""
        self.stop("refused-here")

    def stop(self, ending: PairingEnding) -> None:
        """End it for both, for a reason of this side."""
        self._put(self._standing.end(ending))

    async def over(self) -> None:
        """Wait until it is over, in whichever way."""
        await self._over.wait()

    async def end(self) -> Paired:
        """Wait until the other side is paired; PairingError when it ended without."""
        await self._over.wait()
        if error := self._error():
            raise error
        peer = Peer(id=self.other_id, name=self.other_name, url=self._there.url, paired_at=self._here.wall())
        return Paired(peer=peer, certificate_pem=self._there.certificate.pem)

    def _error(self) -> PairingError | None:
        ending = self._standing.ending
        return None if ending is None else failure(ending, self.other_name)

    async def _listen(self) -> None:
        try:
            while not self._standing.is_over:
                self._hear(await self._wire.read())
        except PairingAborted as error:
            self._put(self._standing.end(error.ending))

    def _hear(self, frame: Frame) -> None:
        now = self._standing.at(self._here.clock())
        match frame:
            case Confirmed():
                statement = self._transcript.statement(other_role(self.role))
                is_good = self._there.certificate.signed(statement, frame.signature)
                self._put(now.confirmed_there() if is_good else now.end("signature"))
            case Done():
                self._put(now.done_there())
            case Refusal():
                # The reason of one who asks is its own to choose, and some reasons would cost it no try.
                self._put(now.end(meaning(frame) if self.role == "asking" else "refused-there"))
            case _:
                self._put(now.end("garbage"))

    def _tick(self) -> None:
        self._put(self._standing.at(self._here.clock()))

    def _put(self, standing: PairingProgress) -> None:
        """Go on from here: tell the other side what it has to know, and close when it is over."""
        if standing == self._standing:
            return
        self._standing = standing
        if standing.is_agreed and not self._is_done_told:
            self._is_done_told = True
            self._wire.send(Done())
        if standing.is_over:
            self._timer.cancel()
            self._wire.close(standing.ending)
            self._listening.cancel()
            self._over.set()
        self.on_change()


async def request_pairing(
    here: LocalPeer, host: str, port: int, expected_id: str | None = None
) -> PairingSession:
    """Ask at the door of another node, and return once both sides show the same digits.

    `expected_id` is the node id out of a link: a door with any other key is told nothing. It stands for no
    comparison, as a link may come from anybody, with the id of whoever made it. Raises PairingError.
    """
    ends_at = here.clock() + LIMIT_S
    name = clean_name(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    try:
        async with asyncio.timeout(READ_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=pairing_client_context(), limit=FRAME_LIMIT
            )
    except (OSError, TimeoutError, ValueError) as error:
        raise failure("unreachable", name) from error
    wire = PairingConnection(reader, writer)
    try:
        transcript, there = await _exchange(here, wire, writer, expected_id)
    except PairingAborted as error:
        wire.close(error.ending)
        raise failure(error.ending, name) from None
    except BaseException:
        wire.abort()
        raise
    return PairingSession(here, there, wire, transcript, "asking", ends_at)


async def _exchange(
    here: LocalPeer, wire: PairingConnection, writer: asyncio.StreamWriter, expected_id: str | None
) -> tuple[Transcript, RemotePeer]:
    """Do the asking side's part up to the digits; raises Ended."""
    session = writer.get_extra_info("ssl_object")
    shown = None if session is None else presented_certificate(session)
    if shown is None:
        raise PairingAborted("certificate")
    if expected_id is not None and shown.node_id != expected_id:
        raise PairingAborted("other-key")
    if shown.node_id == here.identity.node_id:
        raise PairingAborted("own-key")
    own, nonce = here.identity.certificate_der, secrets.token_bytes(NONCE_BYTES)
    promised = commitment(nonce, own)
    wire.send(
        Hello(v=VERSION, name=clean_name(here.name), certificate=own, commitment=promised, port=here.port)
    )
    offer = await wire.expect(Offer)
    if offer.certificate != shown.der:
        raise PairingAborted("signature")
    wire.send(Reveal(nonce=nonce))
    transcript = Transcript(
        asking_certificate=own,
        asked_certificate=shown.der,
        asking_nonce=nonce,
        asked_nonce=offer.nonce,
    )
    url = url_of(writer.get_extra_info("peername")[0], offer.port)
    return transcript, RemotePeer(name=clean_name(offer.name), certificate=shown, url=url)


def url_of(host: str, port: int) -> str:
    """Return where a node listens for its peers, from its address as a connection shows it.

    Empty for a link-local IPv6 address: no URL can say through which interface it is reached.
    """
    address = ip_address(host)
    if address.version == 6 and address.is_link_local:
        return ""
    mapped = getattr(address, "ipv4_mapped", None) or address
    return f"https://{mapped}:{port}" if mapped.version == 4 else f"https://[{mapped}]:{port}"
