"""A Responses request for a backend that has the API itself, where it speaks of what it may not know.

Such a backend knows neither our responses nor our thoughts, and often not even its own once they are told: a
conversation of which the beginning is kept here is sent whole, and thoughts go as text, or stay behind where the
backend takes only its own.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import BadRequest
from meshlight.gateway.translation.bounds import VALUES_MAX, has_more_values
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.gateway.translation.responses.request import input_items, thoughts_of
from meshlight.gateway.translation.responses.schema import Item, ItemType, ResponsesRequest
from meshlight.gateway.translation.responses.stream_builder import REASONING

_PREVIOUS = b'"previous_response_id"'
_OWN_THOUGHTS = b'"' + REASONING.encode()
_ENDS = (b'"response.completed"', b'"response.incomplete"')


class _Last(Struct):
    """The last event of a stream."""

    response: Raw


class _Final(Struct):
    """What a response must have to be gone on from."""

    id: str
    output: tuple[Raw, ...]
    status: str = ""


_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError, BadRequest)
_keys = msgspec.json.Decoder(dict[str, Raw])
_decoder = msgspec.json.Decoder(ResponsesRequest)
_type = msgspec.json.Decoder(ItemType)
_item = msgspec.json.Decoder(Item)
_last = msgspec.json.Decoder(_Last)
_final = msgspec.json.Decoder(_Final)


class RecordedRequest(Struct, frozen=True):
    """A request whose answer is to be kept."""

    stored: StoredResponses
    previous: str | None
    items: tuple[Raw, ...]

    def keep(self, response_id: str, response: bytes) -> None:
        """Keep the answer."""
        self.stored.keep(response_id, self.previous, self.items, response)


def asked_to_keep(body: bytes, stored: StoredResponses) -> RecordedRequest | None:
    """Return what is to be kept with the answer to this body.

    None where `store` is false, the response that it goes on from is not kept here, or it has too many values.
    """
    if has_more_values(body, VALUES_MAX):
        return None
    try:
        request = decode_repaired(body, _decoder)
        items = input_items(request)
    except _UNREADABLE:
        return None
    previous = request.previous_response_id or None
    if request.store is False or (previous is not None and not stored.knows(previous)):
        return None
    return RecordedRequest(stored, previous, items)


def final_response(answer: bytes) -> tuple[str, bytes] | None:
    """Return the id and the text of the response that an answer ends with, whole or as events; None where none is."""
    found = answer.strip()
    if not found.startswith(b"{"):
        lines = (line for line in reversed(found.splitlines()) if line.startswith(b"data:"))
        found = next((line[5:].strip() for line in lines if any(end in line for end in _ENDS)), b"")
        if not found:
            return None
        try:
            found = bytes(_last.decode(found).response)
        except _UNREADABLE:
            return None
    try:
        final = _final.decode(found)
    except _UNREADABLE:
        return None
    return (final.id, found) if final.id and final.status in {"completed", "incomplete"} else None


def for_native(body: bytes, stored: StoredResponses, *, takes_text: bool) -> bytes:
    """Return the body with what is known here alone put in words that the backend knows; mostly the very same bytes.

    `takes_text` says that it takes thoughts as text.
    """
    if (_PREVIOUS not in body and _OWN_THOUGHTS not in body) or has_more_values(body, VALUES_MAX):
        return body
    try:
        fields = decode_repaired(body, _keys)
        request = decode_repaired(body, _decoder)
        items = input_items(request)
    except _UNREADABLE:
        return body  # whatever is wrong with it, the backend will say
    made: dict[str, Any] = dict(fields)
    history: tuple[Raw, ...] = ()
    previous = request.previous_response_id
    if previous and stored.knows(previous):
        history = stored.history(previous)
        del made["previous_response_id"]
    elif _OWN_THOUGHTS not in body:
        return body
    # What an engine here has thought, a cloud does not take back from anybody.
    before = [told for item in history if (told := _told(item, takes_text=takes_text, prefix="")) is not None]
    now = [
        told for item in items if (told := _told(item, takes_text=takes_text, prefix=REASONING)) is not None
    ]
    made["input"] = [*before, *now]
    return msgspec.json.encode(made)


def _told(raw: Raw, *, takes_text: bool, prefix: str) -> Any:
    """Return an item as the backend takes it; thoughts whose ids begin with `prefix` may have to stay behind."""
    try:
        if _type.decode(raw).type != "reasoning":
            return raw
        item = _item.decode(raw)
    except _UNREADABLE:
        return raw
    if not (item.id or "").startswith(prefix):
        return raw
    if not takes_text:
        return None
    part = {"type": "reasoning_text", "text": thoughts_of(item)}
    return {"type": "reasoning", "id": item.id, "summary": [], "content": [part]}
