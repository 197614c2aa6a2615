"""A server of chat completions with scripted answers; other protocols get a 404."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from faults.raw import RawBackend, Responder, chunked, complete, responds
from servers.byte_server import Request

CHAT = "/v1/chat/completions"
Json = dict[str, Any]
Delta = Json
"""One delta of the answer: `{"content": …}` or `{"tool_calls": …}`."""


def chats(*pieces: bytes) -> Responder:
    """Answer chat completions with these pieces, everything else with 404."""
    lost, found = responds(complete(b"{}", status=b"404 Not Found")), responds(*pieces)

    async def respond(writer: asyncio.StreamWriter, asked: Request) -> None:
        await (found if asked.target == CHAT else lost)(writer, asked)

    return respond


def scripted(name: str, model: str, script: Callable[[Json], list[Delta]]) -> RawBackend:
    """Return a server that answers each request with these deltas, as a stream or complete."""

    async def respond(writer: asyncio.StreamWriter, asked: Request) -> None:
        if asked.target != CHAT:
            await responds(complete(b"{}", status=b"404 Not Found"))(writer, asked)
            return
        body = json.loads(asked.body)
        await chats(*_pieces(script(body), is_stream=body.get("stream") is True))(writer, asked)

    return RawBackend(name, (model,), respond)


def questions(backend: RawBackend) -> list[Json]:
    """Return the bodies of the chat requests that a server received."""
    return [json.loads(asked.body) for asked in backend.posts if asked.target == CHAT]


def call(index: int, name: str, arguments: Json) -> Delta:
    """Return a tool call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "tool_calls": [
            {"index": index, "id": f"call_{name}_{index}", "type": "function", "function": function}
        ]
    }


def stream_of(deltas: list[Delta]) -> list[bytes]:
    """Return the pieces of an answer with these deltas, as a stream."""
    return _pieces(deltas, is_stream=True)


def _pieces(deltas: list[Delta], *, is_stream: bool) -> list[bytes]:
    finish = "tool_calls" if any("tool_calls" in delta for delta in deltas) else "stop"
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    if not is_stream:
        message: Json = {
            "role": "assistant",
            "content": "".join(delta.get("content", "") for delta in deltas),
        }
        if calls := [made for delta in deltas for made in delta.get("tool_calls", ())]:
            message["tool_calls"] = calls
        choices = [{"index": 0, "message": message, "finish_reason": finish}]
        body = json.dumps({"id": "chatcmpl-1", "choices": choices, "usage": usage}).encode()
        return [complete(body, b"content-type: application/json")]
    chunks: list[Json] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": usage})
    events = [b"data: %b\n\n" % json.dumps({"id": "chatcmpl-1", **chunk}).encode() for chunk in chunks]
    return chunked(*events, b"data: [DONE]\n\n")
