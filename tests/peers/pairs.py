"""Two nodes at a real pairing port, and a caller who sends the protocol's messages one by one, or malformed ones."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec

from fake_clock import Clock
from meshlight.domain.pairing import Role, Transcript, commitment
from meshlight.peers.pairing.messages import VERSION, Confirmed, Hello, Offer, Reveal
from meshlight.peers.pairing.server import PairingServer
from meshlight.peers.pairing.session import LocalPeer, PairingSession
from meshlight.peers.tls import PrivateIdentity, pairing_client_context, pairing_server_context
from peers.node_identities import node

ANNA = node()
BEN = node()
MALLORY = node()
WALL = 1_700_000_000.0


def side(identity: PrivateIdentity, name: str, clock: Clock, port: int = 6375) -> LocalPeer:
    return LocalPeer(
        identity=identity, name=name, port=port, clock=clock, later=clock.later, wall=lambda: WALL
    )


class Ben:
    """The asked node: its pairing server, and the requests that it has received."""

    def __init__(self, clock: Clock, hello_s: float = 10.0) -> None:
        self.clock = clock
        self.requests: asyncio.Queue[PairingSession] = asyncio.Queue()
        self.server = PairingServer(side(BEN, "Ben's PC", clock), self.requests.put_nowait, hello_s=hello_s)
        self.port = 0

    async def open(self) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        self.port = sock.getsockname()[1]
        await self.server.start([sock])

    async def free(self) -> None:
        """Wait until the server has noticed that the caller has gone."""
        while self.server._is_busy:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0)


@asynccontextmanager
async def ben(clock: Clock, hello_s: float = 10.0) -> AsyncIterator[Ben]:
    found = Ben(clock, hello_s)
    await found.open()
    try:
        yield found
    finally:
        await found.server.close()


class Caller:
    """A caller at a pairing port who sends what a test wants, and reads what comes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, identity: PrivateIdentity
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.identity = identity
        self.nonce = secrets.token_bytes(32)
        self.offer: Offer | None = None

    @classmethod
    async def at(cls, port: int, identity: PrivateIdentity = MALLORY) -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pairing_client_context())
        return cls(reader, writer, identity)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    def send(self, frame: msgspec.Struct) -> None:
        self.send_bytes(msgspec.json.encode(frame) + b"\n")

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self) -> dict[str, Any]:
        """Return the next frame; empty when the other side has hung up."""
        try:
            line = await self._reader.readline()
        except OSError:
            return {}
        return dict(msgspec.json.decode(line)) if line else {}

    def hello(self, **fields: object) -> Hello:
        given = {
            "v": VERSION,
            "name": "Mallory",
            "certificate": self.identity.certificate_der,
            "commitment": commitment(self.nonce, self.identity.certificate_der),
            "port": 6375,
        } | fields
        return Hello(**given)  # type: ignore[arg-type]

    async def greet(self, **fields: object) -> Offer:
        """Say hello and return the offer."""
        self.send(self.hello(**fields))
        self.offer = msgspec.convert(await self.read(), Offer, builtin_types=())
        return self.offer

    async def meet(self) -> Transcript:
        """Go on until there are digits."""
        offer = await self.greet()
        self.send(Reveal(nonce=self.nonce))
        return Transcript(
            asking_certificate=self.identity.certificate_der,
            asked_certificate=offer.certificate,
            asking_nonce=self.nonce,
            asked_nonce=offer.nonce,
        )

    def confirm(
        self, transcript: Transcript, role: Role = "asking", by: PrivateIdentity | None = None
    ) -> None:
        self.send(Confirmed(signature=(by or self.identity).sign(transcript.statement(role))))


@asynccontextmanager
async def false_door(identity: PrivateIdentity, calls: "asyncio.Queue[Caller]") -> AsyncIterator[int]:
    """A door of somebody who answers with what a test wants: its connections come into `calls`."""

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.put_nowait(Caller(reader, writer, identity))

    server = await asyncio.start_server(called, "127.0.0.1", 0, ssl=pairing_server_context(identity))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
