"""Calls of tools as a backend gets them back: with its own ids, and with what it wants to see again."""

import hashlib
from typing import Any

from msgspec import Struct

from meshlight.gateway.translation.carried_state import ExtrasCollector, unpack_call_id

PLACEHOLDER = "skip_thought_signature_validator"
"""What Gemini takes in place of a signature that there is none of (ai.google.dev, "Thought signatures")."""
_ID_MAX = 40
"""Characters that OpenAI takes as the id of a call."""


class BackendTraits(Struct, frozen=True):
    """Who is asked, as far as it matters for the history of a conversation."""

    extensions: bool = True
    """Whether it takes fields that are not OpenAI's."""
    signs: bool = False
    """Whether it signs thoughts, and demands its signatures back: Gemini."""


def sent_call(
    told: str, name: str, arguments: str, asked: BackendTraits, kept: ExtrasCollector, *, is_first: bool
) -> dict[str, Any]:
    """Return a call of an earlier turn; what its id holds of the message goes to `kept`."""
    found = unpack_call_id(told)
    kept.add(found.message)
    function = {"name": name, "arguments": arguments}
    call: dict[str, Any] = {"id": _sent_id(found.id, asked), "type": "function", "function": function}
    extra = found.call if asked.extensions or asked.signs else None
    if asked.signs and is_first and not _has_signature(extra):
        extra = _with_stand_in(extra)
    if extra:
        call["extra_content"] = extra
    return call


def result_id(told: str, asked: BackendTraits) -> str:
    """Return the id of the call to which a result belongs."""
    return _sent_id(unpack_call_id(told).id, asked)


def message_extras(kept: ExtrasCollector, asked: BackendTraits) -> dict[str, Any]:
    """Return what belongs to the message as a whole, as far as this backend has a place for it."""
    extras = kept.take()
    made: dict[str, Any] = {}
    if extras.reasoning_details and asked.extensions:
        made["reasoning_details"] = extras.reasoning_details
    if extras.extra_content and (asked.extensions or asked.signs):
        made["extra_content"] = extras.extra_content
    return made


def _sent_id(given: str, asked: BackendTraits) -> str:
    if asked.extensions or len(given) <= _ID_MAX:
        return given
    return f"call_{hashlib.blake2b(given.encode('utf-8', 'replace'), digest_size=12).hexdigest()}"


def _has_signature(extra: Any) -> bool:
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and bool(google.get("thought_signature"))


def _with_stand_in(extra: Any) -> dict[str, Any]:
    found = dict(extra) if isinstance(extra, dict) else {}
    google = found.get("google")
    return {
        **found,
        "google": {
            **(google if isinstance(google, dict) else {}),
            "thought_signature": PLACEHOLDER,
        },
    }
