"""A Responses request for a backend that has the API itself, where it speaks of what was made here.

Such a backend knows neither our responses nor our thoughts: a conversation that began on a model that was translated
is sent to it whole, and thoughts go as text, or stay behind where the backend takes only its own.
"""

from typing import Any

import msgspec
from msgspec import Raw

from meshlight.gateway.translation.responses_history import thoughts_of
from meshlight.gateway.translation.responses_memory import PREFIX, StoredResponses
from meshlight.gateway.translation.responses_request import input_items
from meshlight.gateway.translation.responses_schema import Item, ItemType, ResponsesRequest
from meshlight.gateway.translation.responses_stream_builder import REASONING
from meshlight.gateway.translation.well_formed import decode

_MARKS = (b'"' + PREFIX.encode(), b'"' + REASONING.encode())
_keys = msgspec.json.Decoder(dict[str, Raw])
_decoder = msgspec.json.Decoder(ResponsesRequest)
_type = msgspec.json.Decoder(ItemType)
_item = msgspec.json.Decoder(Item)


def for_native(body: bytes, stored: StoredResponses, *, takes_text: bool) -> bytes:
    """Return the body with what was made here put in words that the backend knows; mostly the very same bytes.

    `takes_text` says that it takes thoughts as text.
    """
    if not any(mark in body for mark in _MARKS):
        return body
    try:
        fields = decode(body, _keys)
        request = decode(body, _decoder)
        items = input_items(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # whatever is wrong with it, the backend will say
    previous = request.previous_response_id
    made: dict[str, Any] = dict(fields)
    if previous and stored.knows(previous):
        items = (*stored.history(previous), *items)
        del made["previous_response_id"]
    made["input"] = [kept for item in items if (kept := _known(item, takes_text=takes_text)) is not None]
    return msgspec.json.encode(made)


def _known(raw: Raw, *, takes_text: bool) -> Any:
    try:
        if _type.decode(raw).type != "reasoning":
            return raw
        item = _item.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return raw
    if not (item.id or "").startswith(REASONING):
        return raw
    if not takes_text:
        return None
    part = {"type": "reasoning_text", "text": thoughts_of(item)}
    return {"type": "reasoning", "id": item.id, "summary": [], "content": [part]}
