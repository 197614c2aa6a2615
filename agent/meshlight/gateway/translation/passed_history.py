"""A conversation that is passed on as it came, freed of what only this node understands.

A conversation may have been answered by one backend and go on at another that speaks the client's protocol itself.
Anthropic's API refuses thoughts that it has not signed (400, for good: the client sends them again each time), so
those stay behind, and with them a turn that consists of nothing else. What it has signed goes untouched, byte for
byte, for it checks that too. Ids of calls become again what the backend that made them called them.
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.backend import Kind
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.bounds import VALUES_MAX, has_more_values
from meshlight.gateway.translation.keepsake import SIGNATURE, with_own_ids

_FACES = frozenset[Operation]({"messages", "messages/count_tokens", "api/chat"})
"""The faces to which translated conversations come back."""
_TYPES = (b"thinking", b"redacted_thinking")
_MADE_UP = re.compile(rb'"(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?"')
"""What engines write where a signature belongs: nothing, or a random number (vLLM)."""

_body = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


def for_passing(operation: Operation, body: bytes, kind: Kind) -> bytes:
    """Return the body for a backend of this kind; the very same bytes where nothing of ours is in it."""
    if operation not in _FACES:
        return body
    body = with_own_ids(body)
    if kind != "anthropic" or b"thinking" not in body or has_more_values(body, VALUES_MAX):
        return body
    try:
        return _without_unsigned(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # it is for the backend to say what is wrong with it


def _without_unsigned(body: bytes) -> bytes:
    fields = _body.decode(body)
    turns = _list.decode(fields.get("messages", b"[]"))
    kept = [made for turn in turns if (made := _turn(turn)) is not None]
    if all(new is old for new, old in zip(kept, turns, strict=False)) and len(kept) == len(turns):
        return body
    return _encode(fields | {"messages": kept})


def _turn(turn: Raw) -> Any:
    """Return a turn without unsigned thoughts, the very same where it has none; None where nothing is left."""
    if b"thinking" not in bytes(turn):
        return turn
    fields = _body.decode(turn)
    content = fields.get("content", Raw())
    if not bytes(content).lstrip().startswith(b"["):
        return turn
    blocks = _list.decode(content)
    kept = [block for block in blocks if not _is_unsigned(block)]
    if len(kept) == len(blocks):
        return turn
    return {**fields, "content": kept} if kept else None


def _is_unsigned(block: Raw) -> bool:
    if b"thinking" not in bytes(block):
        return False
    fields = _body.decode(block)
    kind = bytes(fields.get("type", Raw())).strip(b' "')
    if kind not in _TYPES:
        return False
    sign = bytes(fields.get("data" if kind == _TYPES[1] else "signature", Raw(b'""'))).strip()
    return sign.startswith(b'"' + SIGNATURE.encode()) or sign == b"null" or bool(_MADE_UP.fullmatch(sign))
