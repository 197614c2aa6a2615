"""OpenAI's `/v1/responses`, whole or as named events."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from meshlight.demo.manner import Ask, BadAsk, new_id
from meshlight.demo.reply import Reply, event_stream, json_reply, named_event
from meshlight.demo.tokens import Script, prompt_of, script


async def responses(ask: Ask) -> Reply:
    """Answer `POST /v1/responses`; raises BadAsk."""
    if "input" not in ask.body:
        raise BadAsk("'input' is required")
    said = script(ask.facts.who(ask.model), prompt_of(ask.body["input"]), ask.limit, ask.facts.speech.length)
    shape: dict[str, Any] = {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
    }
    if ask.is_stream:
        return event_stream(_stream(ask, said, shape))
    words = []
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        words.append(word)
    return json_reply(_finished(shape, new_id("msg"), "".join(words), said))


async def _stream(ask: Ask, said: Script, shape: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    item_id = new_id("msg")
    where = {"item_id": item_id, "output_index": 0, "content_index": 0}
    item = _message(item_id, None)
    yield _event("response.created", 0, response=shape)
    yield _event("response.in_progress", 1, response=shape)
    yield _event("response.output_item.added", 2, output_index=0, item=item)
    yield _event("response.content_part.added", 3, **where, part=_part(""))
    words = []
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        words.append(word)
        yield _event("response.output_text.delta", 4 + index, **where, delta=word, logprobs=[])
    number, text = 4 + len(words), "".join(words)
    yield _event("response.output_text.done", number, **where, text=text, logprobs=[])
    yield _event("response.content_part.done", number + 1, **where, part=_part(text))
    yield _event("response.output_item.done", number + 2, output_index=0, item=_message(item_id, text))
    end = "incomplete" if said.is_cut else "completed"
    yield _event(f"response.{end}", number + 3, response=_finished(shape, item_id, text, said))


def _event(name: str, number: int, **fields: Any) -> bytes:
    return named_event(name, {"type": name, "sequence_number": number} | fields)


def _finished(shape: dict[str, Any], item_id: str, text: str, said: Script) -> dict[str, Any]:
    return shape | {
        "status": "incomplete" if said.is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if said.is_cut else None,
        "output": [_message(item_id, text)],
        "usage": {
            "input_tokens": said.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said.total,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": said.prompt_tokens + said.total,
        },
    }


def _message(item_id: str, text: str | None) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "in_progress" if text is None else "completed",
        "content": [] if text is None else [_part(text)],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
