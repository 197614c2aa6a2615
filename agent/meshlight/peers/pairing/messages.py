"""What two nodes say to each other while they are paired: one JSON object a line, at most 16 kB."""

import asyncio
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from meshlight.domain.pairing import NONCE_BYTES, PairingEnding

VERSION = 1
FRAME_LIMIT = 16_384
READ_S = 10.0
"""How long the other program, not its person, may take for a word."""

Name = Annotated[str, Meta(max_length=1024)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Der = Annotated[bytes, Meta(max_length=4096)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
RefusalWord = Literal["busy", "shut", "closed", "refused", "late", "broken", "version"]


class Hello(Struct, frozen=True, kw_only=True, tag="hello", tag_field="t"):
    """The first word of the side that asks."""

    v: int
    name: Name
    certificate: Der
    commitment: Annotated[bytes, Meta(min_length=32, max_length=32)]
    port: Port
    """Where it listens for its peers."""


class Offer(Struct, frozen=True, kw_only=True, tag="offer", tag_field="t"):
    """The answer of the asked side."""

    name: Name
    certificate: Der
    nonce: Nonce
    port: Port


class Reveal(Struct, frozen=True, kw_only=True, tag="reveal", tag_field="t"):
    """The nonce that the side that asks had committed itself to."""

    nonce: Nonce


class Confirmed(Struct, frozen=True, kw_only=True, tag="confirmed", tag_field="t"):
    """The person on this side has confirmed."""

    signature: Annotated[bytes, Meta(max_length=256)]


class Done(Struct, frozen=True, kw_only=True, tag="done", tag_field="t"):
    """Both have confirmed, as this side knows."""


class Refusal(Struct, frozen=True, kw_only=True, tag="no", tag_field="t"):
    """It is over, for a reason out of a list: nobody's sentences are shown here but our own."""

    why: RefusalWord


Frame = Hello | Offer | Reveal | Confirmed | Done | Refusal
F = TypeVar("F", bound=Struct)

_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
_REASONS: dict[PairingEnding, RefusalWord | None] = {
    "busy": "busy",
    "shut": "shut",
    "closed": "closed",
    "refused-here": "refused",
    "late": "late",
    "version": "version",
    "lost": None,
    "unreachable": None,
    "refused-there": None,
}
"""What the other side is told of an ending; of those not named here, that something broke."""
_MEANINGS: dict[RefusalWord, PairingEnding] = {
    "busy": "busy",
    "shut": "shut",
    "closed": "closed",
    "refused": "refused-there",
    "late": "late",
    "broken": "broken-there",
    "version": "version",
}


class PairingAborted(Exception):
    """The exchange is over, for the reason that `ending` names."""

    def __init__(self, ending: PairingEnding) -> None:
        super().__init__(ending)
        self.ending: PairingEnding = ending


class PairingConnection:
    """Frames over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def expect(self, kind: type[F], limit_s: float = READ_S) -> F:
        """Read a frame of one kind within `limit_s` seconds; raises Ended for whatever else comes, or nothing."""
        try:
            async with asyncio.timeout(limit_s):
                frame = await self.read()
        except TimeoutError:
            raise PairingAborted("lost") from None
        if isinstance(frame, Refusal):
            raise PairingAborted(meaning(frame))
        if not isinstance(frame, kind):
            raise PairingAborted("garbage")
        return frame

    async def read(self) -> Frame:
        """Read the next frame, however long it takes; raises Ended (lost, garbage)."""
        try:
            return _decoder.decode(await self._reader.readuntil(b"\n"))
        except asyncio.LimitOverrunError:
            raise PairingAborted("garbage") from None
        except (OSError, EOFError):
            raise PairingAborted("lost") from None
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise PairingAborted("garbage") from None

    def send(self, frame: Frame) -> None:
        """Send a frame. Frames are few and small, so nothing waits until it has gone."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(frame) + b"\n")

    def close(self, ending: PairingEnding | None = None) -> None:
        """Close the connection once what was sent has gone, after telling the other side why."""
        told = None if ending is None else _REASONS.get(ending, "broken")
        if told is not None:
            self.send(Refusal(why=told))
        self._writer.close()

    def abort(self) -> None:
        """Cut the connection, unless it is being closed already."""
        if not self._writer.is_closing():
            self._writer.transport.abort()


def meaning(refusal: Refusal) -> PairingEnding:
    """Return what the other side's refusal means here."""
    return _MEANINGS[refusal.why]
