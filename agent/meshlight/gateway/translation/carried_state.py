"""State that a backend wants back in the next turn, carried by the client inside ids and signatures.

Gemini refuses a tool call that comes back without its thought signature (`extra_content`); OpenRouter wants its
`reasoning_details`. The protocols of Anthropic and Ollama have no field for either, so the state travels in what
every client returns unchanged: the id of a call, which ties the call to its result. Nothing is stored here: a
conversation may rest for weeks, go on after a restart, or at another node. Other gateways do the same, so clients
are known to accept ids of some kilobytes; the id uses only letters, digits, `_` and `-`, as Anthropic's API demands.

State of the message as a whole goes into the signature of its thoughts, else into the id of the next call, else into
a block `redacted_thinking`: clients must treat signature and block as opaque by Anthropic's rules. The signature also
marks thoughts as not Anthropic's, whose API refuses thoughts that it has not signed.

State above `STATE_MAX` is dropped. Clients of Ollama's API that return no ids lose it too; for Gemini, its documented
placeholder is sent instead.
"""

import base64
import re
import zlib
from typing import Any, Final

import msgspec

from meshlight.domain.decoding import decode_or_none
from meshlight.gateway.translation.carried_schema import CarriedState, MessageExtras
from meshlight.gateway.translation.chat_schema import MessageDelta

STATE_MAX: Final = 64 << 10
"""Bytes of JSON that one id or signature may hold, before compression; also what is collected of one message."""
UNPACKED_MAX: Final = 8 << 20
"""Bytes of JSON that are unpacked for one request: 64 KB fit into an id of 100 characters, a body holds many ids."""
UNPACKED_VALUES_MAX: Final = 400_000
"""The same in values, roughly counted: a value costs more as an object than as text."""
SIGNATURE: Final = "meshlight-"
"""The prefix of signatures of thoughts that no provider has signed."""
_CALL: Final = "toolu_meshlight_"
_IN_JSON: Final = re.compile(rb'(?<!\\)"toolu_meshlight_[A-Za-z0-9_-]+"')
_NOT_OF_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_RAW_DEFLATE: Final = -15
_TEXTS: Final = ("text", "summary", "data")
"""The fields of a reasoning detail that grow from piece to piece; the others are sent once."""

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(CarriedState)
_NOTHING: Final = MessageExtras()


class ExtrasCollector:
    """Collects the state of a message from its pieces; `take` returns it and starts anew.

    What would exceed STATE_MAX bytes of JSON is left out. A piece costs time by its own size, whatever came before.
    """

    __slots__ = ("_details", "_details_size", "_extra", "_extra_size", "_extra_sizes")

    def __init__(self) -> None:
        self._details: list[dict[str, Any]] = []
        self._details_size = 0
        self._extra: dict[str, Any] = {}
        self._extra_size = 0
        self._extra_sizes: dict[tuple[str, str], int] = {}
        """Bytes of each value in `_extra`, by its two names; `_extra_size` is their sum."""

    def add_delta(self, delta: MessageDelta) -> None:
        """Add the state in a piece of an answer."""
        if isinstance(delta.reasoning_details, list | tuple):
            self._add_details(delta.reasoning_details)
        if isinstance(delta.extra_content, dict):
            self._merge(delta.extra_content)

    def add(self, extras: MessageExtras) -> None:
        """Add state that a client has returned."""
        self._add_details(extras.reasoning_details)
        if extras.extra_content:
            self._merge(extras.extra_content)

    def take(self) -> MessageExtras:
        """Return what was collected since the last call."""
        if not (self._details or self._extra):
            return _NOTHING
        found = MessageExtras(join_details(self._details), self._extra or None)
        self._details, self._details_size = [], 0
        self._extra, self._extra_size, self._extra_sizes = {}, 0, {}
        return found

    def _add_details(self, details: list[Any] | tuple[Any, ...]) -> None:
        for detail in details:
            if self._details_size > STATE_MAX:
                return
            if isinstance(detail, dict):
                self._details.append(detail)
                self._details_size += len(_encode(detail))

    def _merge(self, extra: dict[str, Any]) -> None:
        """Merge two levels deep: `{"google": {…}}`."""
        for name, value in extra.items():
            if not isinstance(value, dict):
                if self._has_room(name, "", value):
                    self._extra[name] = value
                continue
            before = self._extra.get(name)
            merged = before if isinstance(before, dict) else {}
            for inner, found in value.items():
                # That a piece is a thought does not make the whole message one.
                if inner != "thought" and self._has_room(name, inner, found):
                    merged[inner] = found
            if merged:
                self._extra[name] = merged

    def _has_room(self, name: str, inner: str, value: Any) -> bool:
        """Whether a value still fits, in place of an earlier one of the same names; counts it if so."""
        size = len(_encode(value)) + len(name) + len(inner)
        total = self._extra_size - self._extra_sizes.get((name, inner), 0) + size
        if total > STATE_MAX:
            return False
        self._extra_sizes[name, inner], self._extra_size = size, total
        return True


def join_details(details: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return reasoning details with their pieces joined: consecutive ones of the same type and index."""
    joined: list[dict[str, Any]] = []
    pieces: dict[str, list[str]] = {}

    def close() -> None:
        for name, texts in pieces.items():
            joined[-1][name] = "".join(texts)
        pieces.clear()

    for detail in details:
        last = joined[-1] if joined else {}
        index = detail.get("index")
        is_same = index is not None and (last.get("index"), last.get("type")) == (index, detail.get("type"))
        if not is_same or (last.get("id") and detail.get("id") and last["id"] != detail["id"]):
            close()
            joined.append({})
        for name, value in detail.items():
            if name in _TEXTS and isinstance(value, str):
                pieces.setdefault(name, []).append(value)
            elif value is not None or name not in joined[-1]:
                joined[-1][name] = value
    if joined:
        close()
    return tuple(joined)


def call_id(own_id: str, extra: Any, extras: MessageExtras) -> str:
    """Return the id of a call for the client: with its state, or the backend's own id where there is none."""
    if not extra and not extras:
        return own_id
    packed = _pack(CarriedState(own_id, extra or None, extras))
    if packed is None and extra and extras:
        packed = _pack(CarriedState(own_id, extra))
    return own_id if packed is None else _CALL + packed


def signature(extras: MessageExtras) -> str:
    """Return the signature of thoughts for the client, with the message's state."""
    packed = _pack(CarriedState(message=extras)) if extras else ""
    return SIGNATURE + (packed or "")


class StateReader:
    """Unpacks the ids and signatures of one request, up to UNPACKED_MAX and UNPACKED_VALUES_MAX in all.

    Beyond that, an id is passed on as it is, and its state is lost.
    """

    __slots__ = ("_bytes_left", "_own_ids", "_values_left")

    def __init__(self) -> None:
        self._bytes_left = UNPACKED_MAX
        self._values_left = UNPACKED_VALUES_MAX
        self._own_ids: dict[str, str] = {}
        """The backend's own id by the client's: a result has the id of its call, and costs nothing more."""

    def read_call_id(self, client_id: str) -> CarriedState:
        """Return the content of a call's id; the id itself as `id` where it was not made here."""
        if not client_id.startswith(_CALL):
            return CarriedState(client_id)
        state = self._unpack(client_id[len(_CALL) :]) or CarriedState(self._own_ids.get(client_id, client_id))
        self._own_ids[client_id] = state.id
        return state

    def own_id(self, client_id: str) -> str:
        """Return the backend's own id of a call."""
        return self._own_ids.get(client_id) or self.read_call_id(client_id).id

    def read_signature(self, text: object) -> MessageExtras:
        """Return the content of a signature, or of the data of redacted thoughts; empty if not made here."""
        if not isinstance(text, str) or len(text) <= len(SIGNATURE) or not text.startswith(SIGNATURE):
            return _NOTHING
        state = self._unpack(text[len(SIGNATURE) :])
        return _NOTHING if state is None else state.message

    def _unpack(self, packed: str) -> CarriedState | None:
        """Decode what `_pack` returned; None if it was changed, or the budget is spent."""
        if self._bytes_left <= 0 or self._values_left <= 0:
            return None
        try:
            data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
            unpacker = zlib.decompressobj(wbits=_RAW_DEFLATE)
            found = unpacker.decompress(data, STATE_MAX)
        except (ValueError, zlib.error):  # binascii's errors are ValueErrors
            self._bytes_left -= STATE_MAX  # how much was unpacked before the fault is not known
            return None
        self._bytes_left -= len(found)
        self._values_left -= sum(map(found.count, (b",", b"[", b"{")))
        return decode_or_none(found, _decoder) if unpacker.eof else None


def restore_call_ids(body: bytes) -> bytes:
    """Return a body with the backends' own ids of calls, for a backend that is sent it untranslated."""
    if _CALL.encode() not in body:
        return body
    reader = StateReader()

    def own(match: re.Match[bytes]) -> bytes:
        own_id = _NOT_OF_AN_ID.sub("_", reader.own_id(match[0][1:-1].decode()))
        return b'"%s"' % (own_id or "call_0").encode()

    return _IN_JSON.sub(own, body)


def _pack(state: CarriedState) -> str | None:
    """Return the state in letters, digits, `_` and `-`; None if it is too large."""
    data = _encode(state)
    if len(data) > STATE_MAX:
        return None
    packer = zlib.compressobj(wbits=_RAW_DEFLATE)
    return base64.urlsafe_b64encode(packer.compress(data) + packer.flush()).rstrip(b"=").decode()
