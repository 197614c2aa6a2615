"""Adapts a Responses request for a backend that has the API itself, but may not know what the request refers to.

Such a backend knows neither the responses nor the thoughts that were made here, and often does not store its own: a
conversation whose beginning is stored here is sent completely, and thoughts are sent as text, or left out for a
backend that accepts only its own.
"""

from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.errors import BadRequest
from meshlight.gateway.translation.bounds import VALUES_MAX, has_more_values
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.gateway.translation.responses.recording import RecordedRequest
from meshlight.gateway.translation.responses.request import input_items, thoughts_of
from meshlight.gateway.translation.responses.schema import Item, ItemType, ResponsesRequest
from meshlight.gateway.translation.responses.stream_builder import REASONING

_PREVIOUS = b'"previous_response_id"'
_OWN_THOUGHTS = b'"' + REASONING.encode()


_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError, BadRequest)
_keys = msgspec.json.Decoder(dict[str, Raw])
_decoder = msgspec.json.Decoder(ResponsesRequest)
_type = msgspec.json.Decoder(ItemType)
_item = msgspec.json.Decoder(Item)


def asked_to_keep(body: bytes, stored: StoredResponses) -> RecordedRequest | None:
    """Return what is to be stored with the answer to this body.

    None if `store` is false, the response that it continues is not stored here, or it has too many values.
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


def for_native(body: bytes, stored: StoredResponses, *, takes_text: bool) -> bytes:
    """Return the body without references that only this gateway can resolve; usually the same object.

    `takes_text` says that the backend accepts thoughts as text.
    """
    if (_PREVIOUS not in body and _OWN_THOUGHTS not in body) or has_more_values(body, VALUES_MAX):
        return body
    try:
        fields = decode_repaired(body, _keys)
        request = decode_repaired(body, _decoder)
        items = input_items(request)
    except _UNREADABLE:
        return body  # the backend reports what is wrong with it
    sent: dict[str, Any] = dict(fields)
    history: tuple[Raw, ...] = ()
    previous = request.previous_response_id
    if previous and stored.knows(previous):
        history = stored.history(previous)
        del sent["previous_response_id"]
    elif _OWN_THOUGHTS not in body:
        return body
    # A cloud does not accept the thoughts of an engine, not even those in the stored history.
    before = [_sent_item(item, takes_text=takes_text, prefix="") for item in history]
    now = [_sent_item(item, takes_text=takes_text, prefix=REASONING) for item in items]
    sent["input"] = [item for item in (*before, *now) if item is not None]
    return msgspec.json.encode(sent)


def _sent_item(raw: Raw, *, takes_text: bool, prefix: str) -> Any:
    """Return an item for the backend; None for thoughts with the id prefix `prefix` that it does not accept."""
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
