"""The messages of a pairing, and the connection that carries them: one JSON object per line, at most 16 kB."""

import asyncio
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from meshlight.domain.pairing import NONCE_BYTES, PairingEnding

VERSION = 1
MESSAGE_LIMIT = 16_384
READ_S = 10.0
"""How long the other node may take for a message that needs no person."""

Name = Annotated[str, Meta(max_length=1024)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Der = Annotated[bytes, Meta(max_length=4096)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
RefusalCode = Literal["busy", "shut", "closed", "refused", "late", "broken", "version"]


class Hello(Struct, frozen=True, kw_only=True, tag="hello", tag_field="t"):
    """The first message of the asking side."""

    v: int
    name: Name
    certificate: Der
    commitment: Annotated[bytes, Meta(min_length=32, max_length=32)]
    port: Port
    """Where it listens for its peers."""


class Offer(Struct, frozen=True, kw_only=True, tag="offer", tag_field="t"):
    """The first message of the asked side."""

    name: Name
    certificate: Der
    nonce: Nonce
    port: Port


class Reveal(Struct, frozen=True, kw_only=True, tag="reveal", tag_field="t"):
    """The nonce that the asking side had committed itself to."""

    nonce: Nonce


class Confirmed(Struct, frozen=True, kw_only=True, tag="confirmed", tag_field="t"):
    """The person on this side has confirmed."""

    signature: Annotated[bytes, Meta(max_length=256)]


class Done(Struct, frozen=True, kw_only=True, tag="done", tag_field="t"):
    """This side knows that both have confirmed."""


class Refusal(Struct, frozen=True, kw_only=True, tag="no", tag_field="t"):
    """The pairing is over, for a reason from a fixed list, so no text of the other side is ever shown."""

    why: RefusalCode


Message = Hello | Offer | Reveal | Confirmed | Done | Refusal
M = TypeVar("M", bound=Struct)

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_CODES: dict[PairingEnding, RefusalCode | None] = {
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
"""What is sent to the other side for an ending: None nothing, and `broken` for those not listed."""
_ENDINGS: dict[RefusalCode, PairingEnding] = {
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
    """Sends and receives messages over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def expect(self, kind: type[M], limit_s: float = READ_S) -> M:
        """Read a message of one type within `limit_s` seconds; PairingAborted for any other, or none."""
        try:
            async with asyncio.timeout(limit_s):
                message = await self.read()
        except TimeoutError:
            raise PairingAborted("lost") from None
        if isinstance(message, Refusal):
            raise PairingAborted(ending_of(message))
        if not isinstance(message, kind):
            raise PairingAborted("garbage")
        return message

    async def read(self) -> Message:
        """Read the next message, however long it takes; raises PairingAborted (lost, garbage)."""
        try:
            return _decoder.decode(await self._reader.readuntil(b"\n"))
        except asyncio.LimitOverrunError:
            raise PairingAborted("garbage") from None
        except (OSError, EOFError):
            raise PairingAborted("lost") from None
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise PairingAborted("garbage") from None

    def send(self, message: Message) -> None:
        """Send a message. Messages are few and small, so this does not wait until it was sent."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    def close(self, ending: PairingEnding | None = None) -> None:
        """Tell the other side why, and close the connection once everything was sent."""
        code = None if ending is None else _CODES.get(ending, "broken")
        if code is not None:
            self.send(Refusal(why=code))
        self._writer.close()

    def abort(self) -> None:
        """Cut the connection, unless it is being closed already."""
        if not self._writer.is_closing():
            self._writer.transport.abort()


def ending_of(refusal: Refusal) -> PairingEnding:
    """Return the ending that the other side's refusal stands for."""
    return _ENDINGS[refusal.why]
