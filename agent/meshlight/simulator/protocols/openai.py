"""OpenAI's chat/completions and completions: whole or streamed, words or a tool call."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from meshlight.demo import sloppy
from meshlight.demo.habits import THOUGHT_SIGNATURE
from meshlight.demo.manner import Ask, BadAsk, new_id
from meshlight.demo.reply import DONE, Reply, data_event, event_stream, json_reply
from meshlight.demo.tokens import Script, prompt_of, script
from meshlight.demo.tools import Call, call_for

ARGUMENTS_PIECE = 12
"""Characters of a call's arguments in each piece of a stream."""


async def chat(ask: Ask) -> Reply:
    """Answer `POST /v1/chat/completions`; raises BadAsk."""
    messages = ask.body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadAsk("'messages' is required")
    prompt = prompt_of(messages[-1])
    said = script(ask.facts.who(ask.model), prompt, ask.limit, ask.facts.speech.length)
    said_by = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": ask.model}
    call = call_for(ask.body, prompt)
    if ask.is_stream:
        shape = said_by | {"object": "chat.completion.chunk"} | ask.facts.manner.extra
        stream = sloppy.chat_stream if ask.facts.habit == "sloppy" else _chat_stream
        return event_stream(stream(ask, said, call, shape))
    message: dict[str, Any] = {"role": "assistant", "content": await _say_whole(ask, said, call)}
    if call is not None:
        function = {"name": call.name, "arguments": call.text}
        made = {"id": call.id, "type": "function", "function": function}
        message["tool_calls"] = [made | _extra(ask, call)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else said.finish}
    whole = {"object": "chat.completion", "choices": [choice], "usage": usage(said)}
    answer = said_by | whole | ask.facts.manner.extra
    return json_reply(sloppy.whole(answer) if ask.facts.habit == "sloppy" else answer)


async def completion(ask: Ask) -> Reply:
    """Answer `POST /v1/completions`; raises BadAsk."""
    if "prompt" not in ask.body:
        raise BadAsk("'prompt' is required")
    prompt = prompt_of(ask.body["prompt"])
    said = script(ask.facts.who(ask.model), prompt, ask.limit, ask.facts.speech.length)
    shape = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": ask.model,
    }
    shape |= ask.facts.manner.extra
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


async def _say_whole(ask: Ask, said: Script, call: Call | None) -> str | None:
    if call is not None:
        await ask.facts.speech.beat(0)
        return None
    words = []
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        words.append(word)
    return "".join(words)


async def _chat_stream(
    ask: Ask, said: Script, call: Call | None, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    manner = ask.facts.manner
    if manner.comment:
        yield manner.comment
    lead = b"" if manner.first_delta is None else _chunk(shape, manner.first_delta)
    deltas = ({"content": word} for word in said) if call is None else _call_deltas(call, _extra(ask, call))
    for index, delta in enumerate(deltas):
        await ask.facts.speech.beat(index)
        piece = _chunk(shape, manner.delta | delta)
        if lead and manner.head_waits:
            piece = lead + piece
        elif lead:
            yield lead
        lead = b""
        yield piece
    if lead:
        yield lead
    yield _chunk(shape, dict(manner.delta), "tool_calls" if call else said.finish)
    if wants_usage(ask.body):
        yield data_event(shape | {"choices": [], "usage": usage(said)})
    yield DONE


async def _completion_stream(ask: Ask, said: Script, shape: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    if ask.facts.manner.comment:
        yield ask.facts.manner.comment
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


def _extra(ask: Ask, call: Call) -> dict[str, Any]:
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
