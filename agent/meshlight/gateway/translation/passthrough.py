"""Removes what only this gateway understands from a conversation that is passed on untranslated.

A conversation may have been answered by one backend and continue at another that speaks the client's protocol itself.
Anthropic's API refuses thoughts that it has not signed (400, and again each time, since the client resends them), so
those are removed, and with them a turn that has nothing else. What it has signed stays unchanged, byte for byte,
since it checks that too. The ids of calls become the original ones of their backends.
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.backend import Kind
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.bounds import VALUES_MAX, has_more_values
from meshlight.gateway.translation.carried_state import SIGNATURE, restore_call_ids

_OPERATIONS = frozenset[Operation]({"messages", "messages/count_tokens", "api/chat"})
"""The operations whose requests may contain translated answers."""
_TYPES = (b"thinking", b"redacted_thinking")
_FAKE_SIGNATURE = re.compile(rb'"(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?"')
"""What engines send as a signature: nothing, or a random number (vLLM)."""

_body = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


def without_own_state(operation: Operation, body: bytes, kind: Kind) -> bytes:
    """Return the body for a backend of this kind; the same object if it contains nothing of this gateway."""
    if operation not in _OPERATIONS:
        return body
    body = restore_call_ids(body)
    if kind != "anthropic" or b"thinking" not in body or has_more_values(body, VALUES_MAX):
        return body
    try:
        return _without_unsigned(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # the backend reports what is wrong with it


def _without_unsigned(body: bytes) -> bytes:
    fields = _body.decode(body)
    turns = _list.decode(fields.get("messages", b"[]"))
    kept = [made for turn in turns if (made := _turn(turn)) is not None]
    if all(new is old for new, old in zip(kept, turns, strict=False)) and len(kept) == len(turns):
        return body
    return _encode(fields | {"messages": kept})


def _turn(turn: Raw) -> Any:
    """Return a turn without unsigned thoughts: the same object if it has none, None if nothing is left."""
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
    signature = bytes(fields.get("data" if kind == _TYPES[1] else "signature", Raw(b'""'))).strip()
    return (
        signature.startswith(b'"' + SIGNATURE.encode())
        or signature == b"null"
        or bool(_FAKE_SIGNATURE.fullmatch(signature))
    )
