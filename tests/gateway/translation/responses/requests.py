"""What the tests of the Responses translation share: bodies, and what a client makes of events."""

import json
from collections.abc import Sequence
from typing import Any

from gateway.translation.anthropic.requests import Json
from meshlight.gateway.translation.base import ResponseTranslator, TranslatedRequest
from meshlight.gateway.translation.responses.api import translate_responses
from meshlight.gateway.translation.responses.memory import StoredResponses

NOW = 1_700_000_000


def ask(**fields: Any) -> bytes:
    """Return a body of `responses`."""
    return json.dumps({"model": "gpt", "input": "Hi"} | fields).encode()


def translated(
    *, extensions: bool = True, stored: StoredResponses | None = None, **fields: Any
) -> TranslatedRequest:
    """Return a request translated at a fixed time, with fixed ids."""
    return translate_responses(
        ask(**fields), "tiny", extensions=extensions, stored=stored, clock=lambda: NOW, number="1"
    )


def chat(*, extensions: bool = True, **fields: Any) -> Json:
    """Return what the backend is asked."""
    found: Json = json.loads(translated(extensions=extensions, **fields).body)
    return found


def messages(*items: Json, **fields: Any) -> list[Json]:
    """Return the messages that the backend gets for these items."""
    found: list[Json] = chat(input=items, **fields)["messages"]
    return found


def back(**fields: Any) -> ResponseTranslator:
    """Return the way back of a request."""
    return translated(**fields).back


def user(*content: Json | str) -> Json:
    """Return a message of the user's."""
    parts = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in content]
    return {"type": "message", "role": "user", "content": parts}


def types(found: Sequence[Json]) -> list[str]:
    """Return the events' types, without the prefix that they share; deltas in a row count once."""
    named = [event["type"].removeprefix("response.") for event in found]
    return [name for place, name in enumerate(named) if not place or name != named[place - 1]]


def output(found: Sequence[Json]) -> list[Json]:
    """Return the items that a client puts together from a stream, after the protocol's own rules."""
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    items: dict[int, Json] = {}
    texts: dict[tuple[int, str], str] = {}
    ended: set[int] = set()
    for event in found:
        kind, index = event["type"], event.get("output_index")
        if kind == "response.output_item.added":
            assert index == len(items)
            items[index] = event["item"]
            continue
        if index is None:
            continue
        assert index not in ended, "something came after an item's end"
        if kind == "response.output_item.done":
            assert event["item"]["id"] == items[index]["id"]
            items[index] = event["item"]
            ended.add(index)
            continue
        assert event["item_id"] == items[index]["id"]
        stem, _, verb = kind.rpartition(".")
        if verb == "delta":
            texts[index, stem] = texts.get((index, stem), "") + event["delta"]
        elif verb == "done" and not stem.endswith("part"):
            message = next(event[key] for key in ("text", "arguments", "input", "refusal") if key in event)
            assert texts.pop((index, stem), "") == message
    assert not texts
    assert ended == set(items)
    return [items[index] for index in sorted(items)]
