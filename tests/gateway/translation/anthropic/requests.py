"""What the tests of the Messages translation share: bodies, upstream streams, and what a client makes of events."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.anthropic.api import translate_messages
from meshlight.gateway.translation.base import ResponseTranslator

EVENTS = b"text/event-stream"
JSON = b"application/json"
Json = dict[str, Any]


def ask(**fields: Any) -> bytes:
    """Return a body of `messages`."""
    body: Json = {"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(body | fields).encode()


def chat(**fields: Any) -> Json:
    """Return what the backend is asked for a body of `messages`."""
    found: Json = json.loads(translate_messages(ask(**fields), "tiny").body)
    return found


def history(*turns: Json, **fields: Any) -> list[Json]:
    """Return the messages that the backend gets for these turns."""
    messages: list[Json] = chat(messages=turns, **fields)["messages"]
    return messages


def back(**fields: Any) -> ResponseTranslator:
    """Return the way back of a request."""
    return translate_messages(ask(**fields), "tiny").back


def chunk(delta: Json | None = None, finish: str | None = None, **fields: Any) -> Json:
    """Return one chunk of a stream."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]} | fields


def call(index: int | str | None = 0, arguments: object = "", **fields: Any) -> Json:
    """Return what a chunk adds to a call of a tool."""
    function = {"arguments": arguments} | ({"name": fields.pop("name")} if "name" in fields else {})
    numbered = {} if index is None else {"index": index}
    return {"tool_calls": [numbered | {"function": function} | fields]}


def stream(*chunks: Json, done: bool = True) -> bytes:
    """Return chunks as an upstream sends them."""
    lines = [b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in chunks]
    return b"".join((*lines, b"data: [DONE]\n\n" if done else b""))


def completion(message: Json, finish: str = "stop", **fields: Any) -> bytes:
    """Return a whole answer."""
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    return json.dumps(
        {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]} | fields
    ).encode()


def output_of(way: ResponseTranslator, *pieces: bytes, content_type: bytes = EVENTS) -> bytes:
    """Return what the client gets when the upstream sends these pieces, whatever becomes of them."""
    way.begin(content_type)
    out: list[bytes] = []
    try:
        out.extend(way.feed(piece) for piece in pieces)
        out.append(way.end())
    except TranslationFailed as fault:
        out.append(way.broken(fault.title) or b"(cut)")
    return b"".join(out)


def events(data: bytes) -> list[Json]:
    """Return the events of a stream, each of which has its name twice."""
    found: list[Json] = []
    for block in data.decode().split("\n\n")[:-1]:
        name, line = block.split("\n")
        event = json.loads(line.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def types(found: Iterable[Json]) -> list[str]:
    """Return the events' types, without the prefix that most share."""
    return [event["type"].removeprefix("content_block_") for event in found]


def blocks(found: Sequence[Json]) -> list[Json]:
    """Return the blocks that a client puts together from a stream, after the protocol's own rules."""
    made: dict[int, Json] = {}
    arguments: dict[int, str] = {}
    ended: set[int] = set()
    for event in found:
        if event["type"] == "content_block_start":
            assert event["index"] == len(made)
            made[event["index"]] = dict(event["content_block"])
        elif event["type"] == "content_block_delta":
            index, delta = event["index"], event["delta"]
            assert index not in ended
            if delta["type"] == "input_json_delta":
                arguments[index] = arguments.get(index, "") + delta["partial_json"]
            else:
                kind = delta["type"].removesuffix("_delta")
                made[index][kind] += delta[kind]
        elif event["type"] == "content_block_stop":
            ended.add(event["index"])
            if event["index"] in arguments:
                made[event["index"]]["input"] = json.loads(arguments[event["index"]])
    assert ended == set(made)
    return [made[index] for index in sorted(made)]
