"""OpenAI's text APIs: chat/completions, completions and responses, each complete or streamed."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from meshlight.simulator.habits import THOUGHT_SIGNATURE, sloppy_answer, sloppy_stream
from meshlight.simulator.http.reply import DONE, Reply, data_event, event_stream, json_reply, named_event
from meshlight.simulator.profile import BadEngineRequest, EngineRequest, new_id
from meshlight.simulator.protocols.text import Call, Script, call_for, prompt_of, write_script

ARGUMENTS_PIECE = 12
"""Characters of a call's arguments in each piece of a stream."""


async def chat(request: EngineRequest) -> Reply:
    """Answer `POST /v1/chat/completions`; raises BadEngineRequest."""
    messages = request.body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadEngineRequest("'messages' is required")
    prompt = prompt_of(messages[-1])
    script = write_script(
        request.facts.speaker(request.model), prompt, request.limit, request.facts.speech.length
    )
    stamp = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": request.model}
    call = call_for(request.body, prompt)
    if request.is_stream:
        shape = stamp | {"object": "chat.completion.chunk"} | request.facts.profile.extra
        stream = sloppy_stream if request.facts.habit == "sloppy" else _chat_stream
        return event_stream(stream(request, script, call, shape))
    message: dict[str, Any] = {"role": "assistant", "content": await _say_whole(request, script, call)}
    if call is not None:
        function = {"name": call.name, "arguments": call.text}
        function_call = {"id": call.id, "type": "function", "function": function}
        message["tool_calls"] = [function_call | _extra(request, call)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else script.finish}
    complete = {"object": "chat.completion", "choices": [choice], "usage": usage(script)}
    answer = stamp | complete | request.facts.profile.extra
    return json_reply(sloppy_answer(answer) if request.facts.habit == "sloppy" else answer)


async def completion(request: EngineRequest) -> Reply:
    """Answer `POST /v1/completions`; raises BadEngineRequest."""
    if "prompt" not in request.body:
        raise BadEngineRequest("'prompt' is required")
    prompt = prompt_of(request.body["prompt"])
    script = write_script(
        request.facts.speaker(request.model), prompt, request.limit, request.facts.speech.length
    )
    shape = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
    }
    shape |= request.facts.profile.extra
    if request.is_stream:
        return event_stream(_completion_stream(request, script, shape))
    text = await _say_whole(request, script, None) or ""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": script.finish}
    return json_reply(shape | {"choices": [choice], "usage": usage(script)})


def usage(script: Script) -> dict[str, Any]:
    """Return OpenAI's `usage` of an answer."""
    return {
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.total,
        "total_tokens": script.prompt_tokens + script.total,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def wants_usage(body: dict[str, Any]) -> bool:
    """Whether the client requested a last chunk with the usage."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


async def _say_whole(request: EngineRequest, script: Script, call: Call | None) -> str | None:
    if call is not None:
        await request.facts.speech.beat(0)
        return None
    words = []
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        words.append(word)
    return "".join(words)


async def _chat_stream(
    request: EngineRequest, script: Script, call: Call | None, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    profile = request.facts.profile
    if profile.comment:
        yield profile.comment
    lead = b"" if profile.first_delta is None else _chunk(shape, profile.first_delta)
    deltas = (
        ({"content": word} for word in script) if call is None else _call_deltas(call, _extra(request, call))
    )
    for index, delta in enumerate(deltas):
        await request.facts.speech.beat(index)
        piece = _chunk(shape, profile.delta | delta)
        if lead and profile.head_waits:
            piece = lead + piece
        elif lead:
            yield lead
        lead = b""
        yield piece
    if lead:
        yield lead
    yield _chunk(shape, dict(profile.delta), "tool_calls" if call else script.finish)
    if wants_usage(request.body):
        yield data_event(shape | {"choices": [], "usage": usage(script)})
    yield DONE


async def _completion_stream(
    request: EngineRequest, script: Script, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    if request.facts.profile.comment:
        yield request.facts.profile.comment
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        yield data_event(shape | {"choices": [_text_choice(word, None)]})
    yield data_event(shape | {"choices": [_text_choice("", script.finish)]})
    if wants_usage(request.body):
        yield data_event(shape | {"choices": [], "usage": usage(script)})
    yield DONE


def _chunk(shape: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    return data_event(shape | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _text_choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}


def _extra(request: EngineRequest, call: Call) -> dict[str, Any]:
    """Return what Gemini gives with a call and wants back."""
    if request.facts.habit != "gemini":
        return {}
    return {"extra_content": {"google": {"thought_signature": f"{THOUGHT_SIGNATURE}{call.id}"}}}


def _call_deltas(call: Call, extra: dict[str, Any]) -> list[dict[str, Any]]:
    function = {"name": call.name, "arguments": ""}
    head = {"index": 0, "id": call.id, "type": "function", "function": function} | extra
    text = call.text
    pieces = [text[start : start + ARGUMENTS_PIECE] for start in range(0, len(text), ARGUMENTS_PIECE)]
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return [{"tool_calls": [part]} for part in (head, *rest)]


async def responses(request: EngineRequest) -> Reply:
    """Answer `POST /v1/responses`; raises BadEngineRequest."""
    if "input" not in request.body:
        raise BadEngineRequest("'input' is required")
    script = write_script(
        request.facts.speaker(request.model),
        prompt_of(request.body["input"]),
        request.limit,
        request.facts.speech.length,
    )
    shape: dict[str, Any] = {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": request.model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
    }
    if request.is_stream:
        return event_stream(_stream(request, script, shape))
    words = []
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        words.append(word)
    return json_reply(_finished(shape, new_id("msg"), "".join(words), script))


async def _stream(
    request: EngineRequest, script: Script, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    item_id = new_id("msg")
    where = {"item_id": item_id, "output_index": 0, "content_index": 0}
    item = _message(item_id, None)
    yield _event("response.created", 0, response=shape)
    yield _event("response.in_progress", 1, response=shape)
    yield _event("response.output_item.added", 2, output_index=0, item=item)
    yield _event("response.content_part.added", 3, **where, part=_part(""))
    words = []
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        words.append(word)
        yield _event("response.output_text.delta", 4 + index, **where, delta=word, logprobs=[])
    number, text = 4 + len(words), "".join(words)
    yield _event("response.output_text.done", number, **where, text=text, logprobs=[])
    yield _event("response.content_part.done", number + 1, **where, part=_part(text))
    yield _event("response.output_item.done", number + 2, output_index=0, item=_message(item_id, text))
    end = "incomplete" if script.is_cut else "completed"
    yield _event(f"response.{end}", number + 3, response=_finished(shape, item_id, text, script))


def _event(name: str, number: int, **fields: Any) -> bytes:
    return named_event(name, {"type": name, "sequence_number": number} | fields)


def _finished(shape: dict[str, Any], item_id: str, text: str, script: Script) -> dict[str, Any]:
    return shape | {
        "status": "incomplete" if script.is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if script.is_cut else None,
        "output": [_message(item_id, text)],
        "usage": {
            "input_tokens": script.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": script.total,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": script.prompt_tokens + script.total,
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
