"""OpenAI's chat/completions and completions: whole or streamed, words or a tool call.

OpenAI's `/v1/responses`, whole or as named events.
"""

import time
from collections.abc import AsyncGenerator
from typing import Any

from meshlight.simulator import sloppy
from meshlight.simulator.habits import THOUGHT_SIGNATURE
from meshlight.simulator.http.reply import DONE, Reply, data_event, event_stream, json_reply, named_event
from meshlight.simulator.profile import BadEngineRequest, EngineRequest, new_id
from meshlight.simulator.protocols.text import Call, Script, call_for, prompt_of, script

ARGUMENTS_PIECE = 12
"""Characters of a call's arguments in each piece of a stream."""


async def chat(ask: EngineRequest) -> Reply:
    """Answer `POST /v1/chat/completions`; raises BadAsk."""
    messages = ask.body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadEngineRequest("'messages' is required")
    prompt = prompt_of(messages[-1])
    said = script(ask.facts.who(ask.model), prompt, ask.limit, ask.facts.speech.length)
    said_by = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": ask.model}
    call = call_for(ask.body, prompt)
    if ask.is_stream:
        shape = said_by | {"object": "chat.completion.chunk"} | ask.facts.profile.extra
        stream = sloppy.chat_stream if ask.facts.habit == "sloppy" else _chat_stream
        return event_stream(stream(ask, said, call, shape))
    message: dict[str, Any] = {"role": "assistant", "content": await _say_whole(ask, said, call)}
    if call is not None:
        function = {"name": call.name, "arguments": call.text}
        made = {"id": call.id, "type": "function", "function": function}
        message["tool_calls"] = [made | _extra(ask, call)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else said.finish}
    whole = {"object": "chat.completion", "choices": [choice], "usage": usage(said)}
    answer = said_by | whole | ask.facts.profile.extra
    return json_reply(sloppy.whole(answer) if ask.facts.habit == "sloppy" else answer)


async def completion(ask: EngineRequest) -> Reply:
    """Answer `POST /v1/completions`; raises BadAsk."""
    if "prompt" not in ask.body:
        raise BadEngineRequest("'prompt' is required")
    prompt = prompt_of(ask.body["prompt"])
    said = script(ask.facts.who(ask.model), prompt, ask.limit, ask.facts.speech.length)
    shape = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": ask.model,
    }
    shape |= ask.facts.profile.extra
    if ask.is_stream:
        return event_stream(_completion_stream(ask, said, shape))
    text = await _say_whole(ask, said, None) or ""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": said.finish}
    return json_reply(shape | {"choices": [choice], "usage": usage(said)})


def usage(said: Script) -> dict[str, Any]:
    """Count the tokens of an answer in OpenAI's words."""
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.total,
        "total_tokens": said.prompt_tokens + said.total,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def wants_usage(body: dict[str, Any]) -> bool:
    """Whether the client asked for a last piece with the count."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


async def _say_whole(ask: EngineRequest, said: Script, call: Call | None) -> str | None:
    if call is not None:
        await ask.facts.speech.beat(0)
        return None
    words = []
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        words.append(word)
    return "".join(words)


async def _chat_stream(
    ask: EngineRequest, said: Script, call: Call | None, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    profile = ask.facts.profile
    if profile.comment:
        yield profile.comment
    lead = b"" if profile.first_delta is None else _chunk(shape, profile.first_delta)
    deltas = ({"content": word} for word in said) if call is None else _call_deltas(call, _extra(ask, call))
    for index, delta in enumerate(deltas):
        await ask.facts.speech.beat(index)
        piece = _chunk(shape, profile.delta | delta)
        if lead and profile.head_waits:
            piece = lead + piece
        elif lead:
            yield lead
        lead = b""
        yield piece
    if lead:
        yield lead
    yield _chunk(shape, dict(profile.delta), "tool_calls" if call else said.finish)
    if wants_usage(ask.body):
        yield data_event(shape | {"choices": [], "usage": usage(said)})
    yield DONE


async def _completion_stream(
    ask: EngineRequest, said: Script, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    if ask.facts.profile.comment:
        yield ask.facts.profile.comment
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        yield data_event(shape | {"choices": [_text_choice(word, None)]})
    yield data_event(shape | {"choices": [_text_choice("", said.finish)]})
    if wants_usage(ask.body):
        yield data_event(shape | {"choices": [], "usage": usage(said)})
    yield DONE


def _chunk(shape: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    return data_event(shape | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _text_choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}


def _extra(ask: EngineRequest, call: Call) -> dict[str, Any]:
    """Return what Gemini gives with a call and wants back."""
    if ask.facts.habit != "gemini":
        return {}
    return {"extra_content": {"google": {"thought_signature": f"{THOUGHT_SIGNATURE}{call.id}"}}}


def _call_deltas(call: Call, extra: dict[str, Any]) -> list[dict[str, Any]]:
    function = {"name": call.name, "arguments": ""}
    head = {"index": 0, "id": call.id, "type": "function", "function": function} | extra
    text = call.text
    pieces = [text[start : start + ARGUMENTS_PIECE] for start in range(0, len(text), ARGUMENTS_PIECE)]
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return [{"tool_calls": [part]} for part in (head, *rest)]


async def responses(ask: EngineRequest) -> Reply:
    """Answer `POST /v1/responses`; raises BadAsk."""
    if "input" not in ask.body:
        raise BadEngineRequest("'input' is required")
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


async def _stream(ask: EngineRequest, said: Script, shape: dict[str, Any]) -> AsyncGenerator[bytes, None]:
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
