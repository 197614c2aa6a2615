"""Which conversation a request belongs to, so that it can go where the conversation's prompt is in the cache.

Clients that have an id for it say so: Claude Code in `metadata.user_id`, OpenAI's in `prompt_cache_key` or
`conversation`, others in a header. Of the others, the beginning of the conversation is its mark: the system prompt
and the first turn of the user, which are the same in every request that continues it. Only a hash leaves this module.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Raw

from meshlight.domain.conversation_body import ConversationBody, Turn
from meshlight.domain.decoding import decode_or_none

ID_HEADERS: Final = (
    b"x-session-id",
    b"session_id",
    b"session-id",
    b"conversation_id",
    b"x-conversation-id",
    b"thread-id",
)
"""Headers by which clients name a session or conversation; the first one counts."""
_ID_HEADERS: Final = frozenset(ID_HEADERS)
ID_MAX: Final = 1_000
"""Characters of an id that are looked at."""
BEGINNING_MAX: Final = 1 << 20
"""Bytes of the beginning that make the mark."""


_bodies = msgspec.json.Decoder(ConversationBody)
_items = msgspec.json.Decoder(list[Raw])
_turns = msgspec.json.Decoder(Turn)


def conversation_of(model: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes | None:
    """Return the mark of the conversation that a request continues or begins; None if nothing shows it."""
    found = decode_or_none(body, _bodies)
    if found is None:
        return None
    values = dict(headers)
    named = ""
    if not _ID_HEADERS.isdisjoint(values):
        named = next(values[name].decode("latin-1") for name in ID_HEADERS if name in values)
    if not named and (found.conversation is not None or found.prompt_cache_key is not None):
        named = _id(found.conversation) or _id(found.prompt_cache_key)
    if not named and found.metadata is not None:
        named = _id(found.metadata, "user_id")
    if named:
        return _hash(model, b"id", named[:ID_MAX].encode("utf-8", "replace"))
    beginning = _beginning(found)
    if not beginning:
        return None
    user = _id(found.user)[:ID_MAX].encode("utf-8", "replace")
    return _hash(model, b"beginning", values.get(b"user-agent", b""), user, *beginning)


def _id(value: Any, key: str = "id") -> str:
    """Return a text, or the one in an object."""
    if isinstance(value, dict):
        value = value.get(key)
    return value if isinstance(value, str) else ""


def _beginning(body: ConversationBody) -> list[bytes]:
    """Return what comes before the first answer: system prompt, and the turns up to the first one of the user."""
    parts = [
        text for part in (body.system, body.instructions, body.systemInstruction) if (text := bytes(part))
    ]
    turns = bytes(body.messages) or bytes(body.input) or bytes(body.contents)
    if not turns:
        prompt = bytes(body.prompt)
        return [*parts, prompt] if prompt else []
    items = decode_or_none(turns, _items)
    if items is None:  # a text alone, as `input` may be
        return [*parts, turns]
    size = 0
    for item in items:
        parts.append(bytes(item))
        size += len(parts[-1])
        turn = decode_or_none(item, _turns)
        if size > BEGINNING_MAX or (turn is not None and turn.role == "user"):
            return parts
    return []


def _hash(model: str, *parts: bytes) -> bytes:
    sizes = b"%d " * len(parts) % tuple(map(len, parts))
    return blake2b(b"".join((sizes, *parts, model.encode("utf-8", "replace"))), digest_size=16).digest()
