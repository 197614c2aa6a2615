"""What a backend gives with an answer and wants back in the next turn, kept by the client without its knowing.

Gemini refuses a call of a tool that comes back without its thought signature (`extra_content`), OpenRouter wants
its `reasoning_details`. The protocols of Anthropic and Ollama have no field for either. So it travels in what every
client returns as it got it: the id of a call, which ties the call to its result. No state is kept here for it: a
conversation may rest for weeks, go on after a restart, or at another node. Other gateways do the same, so clients
are known to bear ids of some kilobytes; letters, digits, `_` and `-` are what Anthropic's API itself takes. What
belongs to the message as a whole goes with its thoughts, into their signature, or with the next call, or else into a
block `redacted_thinking`: signature and block are opaque to clients by Anthropic's rules.

The signature also marks thoughts as none of Anthropic's, whose API refuses those that it has not signed.

What is larger than `KEPT_MAX` is not kept. Clients of Ollama's API that return no ids lose it too: there Gemini's
documented stand-in takes its place.
"""

import base64
import re
import zlib
from typing import Any

import msgspec
from msgspec import Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.gateway.translation.chat import MessageDelta

KEPT_MAX = 64 << 10
"""Bytes that are kept in one place, before they are packed."""
SIGNATURE = "meshlight-"
"""Begins the signature of thoughts that nobody has signed."""
_CALL = "toolu_meshlight_"
_IN_JSON = re.compile(rb'(?<!\\)"toolu_meshlight_[A-Za-z0-9_-]+"')
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_RAW_DEFLATE = -15
_TEXTS = ("text", "summary", "data")
"""The parts of a reasoning detail that grow from piece to piece; the others are told once."""

_encode = msgspec.json.Encoder().encode


class Extras(Struct, frozen=True, omit_defaults=True):
    """What belongs to a message as a whole."""

    reasoning_details: tuple[dict[str, Any], ...] = ()
    extra_content: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.reasoning_details or self.extra_content)


class Kept(Struct, frozen=True, omit_defaults=True):
    """What is in one place: the backend's own id of a call, and what belongs to it and to the message."""

    id: str = ""
    call: Any = None
    message: Extras = Extras()


_decoder = msgspec.json.Decoder(Kept)


class Collected:
    """Gathers what belongs to a message while its pieces come; `take` gives it away once."""

    __slots__ = ("_details", "_extra", "_size")

    def __init__(self) -> None:
        self._details: list[dict[str, Any]] = []
        self._extra: dict[str, Any] = {}
        self._size = 0

    def hear(self, said: MessageDelta) -> None:
        """Take what a piece brings."""
        if isinstance(said.reasoning_details, list | tuple):
            for detail in said.reasoning_details:
                if isinstance(detail, dict) and self._size <= KEPT_MAX:
                    self._details.append(detail)
                    self._size += 32 + sum(len(value) for value in detail.values() if isinstance(value, str))
        if isinstance(said.extra_content, dict):
            self._extra = _merged(self._extra, said.extra_content)

    def add(self, extras: Extras) -> None:
        """Take what came back."""
        self._details.extend(extras.reasoning_details)
        self._extra = _merged(self._extra, extras.extra_content or {})

    def take(self) -> Extras:
        """Return what was gathered since the last time."""
        if not (self._details or self._extra):
            return _NOTHING
        found = Extras(joined(self._details), self._extra or None)
        self._details, self._extra, self._size = [], {}, 0
        return found


_NOTHING = Extras()


def joined(details: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return reasoning details with the pieces of each put together: those of one type and index that follow."""
    made: list[dict[str, Any]] = []
    pieces: dict[str, list[str]] = {}

    def close() -> None:
        for name, texts in pieces.items():
            made[-1][name] = "".join(texts)
        pieces.clear()

    for detail in details:
        last = made[-1] if made else {}
        index = detail.get("index")
        is_same = index is not None and (last.get("index"), last.get("type")) == (index, detail.get("type"))
        if not is_same or (last.get("id") and detail.get("id") and last["id"] != detail["id"]):
            close()
            made.append({})
        for name, value in detail.items():
            if name in _TEXTS and isinstance(value, str):
                pieces.setdefault(name, []).append(value)
            elif value is not None or name not in made[-1]:
                made[-1][name] = value
    if made:
        close()
    return tuple(made)


def call_id(given: str, extra: Any, extras: Extras) -> str:
    """Return the id by which a client knows a call: the backend's own, where there is nothing to keep."""
    if not extra and not extras:
        return given
    packed = _pack(Kept(given, extra or None, extras))
    if packed is None and extra and extras:
        packed = _pack(Kept(given, extra))
    return given if packed is None else _CALL + packed


def kept_in_id(told: str) -> Kept:
    """Return what the id of a call holds; its own `id` where it is none of ours."""
    if not told.startswith(_CALL):
        return Kept(told)
    return _unpack(told[len(_CALL) :]) or Kept(told)


def signature(extras: Extras) -> str:
    """Return what stands for a signature of thoughts."""
    packed = _pack(Kept(message=extras)) if extras else ""
    return SIGNATURE + (packed or "")


def kept_in_signature(told: object) -> Extras:
    """Return what a signature, or the data of redacted thoughts, holds."""
    if not isinstance(told, str) or len(told) <= len(SIGNATURE) or not told.startswith(SIGNATURE):
        return _NOTHING
    kept = _unpack(told[len(SIGNATURE) :])
    return _NOTHING if kept is None else kept.message


def with_own_ids(body: bytes) -> bytes:
    """Return a body as it goes to somebody who knows the ids of calls as they were given, or never gave them."""
    return _IN_JSON.sub(_own, body) if _CALL.encode() in body else body


def _own(match: re.Match[bytes]) -> bytes:
    told = match[0][1:-1].decode()
    given = _NOT_OF_AN_ID.sub("_", kept_in_id(told).id)
    return b'"%s"' % (given or "call_0").encode()


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return both, one level deep: `{"google": {…}}`. That a piece is a thought says nothing of the whole."""
    made = dict(old)
    for name, value in new.items():
        if isinstance(value, dict):
            before = made.get(name)
            inner = {**before, **value} if isinstance(before, dict) else dict(value)
            inner.pop("thought", None)
            if inner:
                made[name] = inner
        else:
            made[name] = value
    return made


def _pack(kept: Kept) -> str | None:
    """Return it in letters, digits, `_` and `-`; None where it is too large."""
    data = _encode(kept)
    if len(data) > KEPT_MAX:
        return None
    packer = zlib.compressobj(wbits=_RAW_DEFLATE)
    return base64.urlsafe_b64encode(packer.compress(data) + packer.flush()).rstrip(b"=").decode()


def _unpack(packed: str) -> Kept | None:
    """Read what `_pack` made; None where somebody has changed it."""
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj(wbits=_RAW_DEFLATE)
        found = unpacker.decompress(data, KEPT_MAX)
    except (ValueError, zlib.error):  # binascii's errors are ValueErrors
        return None
    return decode_or_none(found, _decoder) if unpacker.eof else None
