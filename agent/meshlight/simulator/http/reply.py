"""One answer of a simulated server before it is encoded: status, headers, and a body or a stream."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from msgspec import Struct

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"
DONE = b"data: [DONE]\n\n"


class Reply(Struct, frozen=True, kw_only=True):
    """An answer; `stream`, if set, replaces `body`."""

    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    stream: AsyncGenerator[bytes, None] | None = None


def json_reply(value: Any, status: int = 200, *headers: tuple[str, str]) -> Reply:
    """Answer with `value` as JSON."""
    return Reply(status=status, body=msgspec.json.encode(value), headers=headers)


def text_reply(text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Reply:
    """Answer with plain text."""
    return Reply(status=status, body=text.encode(), content_type=content_type)


def event_stream(stream: AsyncGenerator[bytes, None]) -> Reply:
    """Answer with server-sent events."""
    return Reply(content_type=EVENT_STREAM, headers=(("cache-control", "no-cache"),), stream=stream)


def data_event(value: Any) -> bytes:
    """Return one JSON value as a server-sent event, as in OpenAI's streams."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """Return one JSON value as a server-sent event with a name, as in the streams of `/v1/responses`."""
    return f"event: {name}\n".encode() + data_event(value)


def json_line(value: Any) -> bytes:
    """Return one JSON value as a line, as in Ollama's streams."""
    return msgspec.json.encode(value) + b"\n"
