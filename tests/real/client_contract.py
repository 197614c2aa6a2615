"""What an application may rely on: the same promises hold at an engine directly, and through the gateway.

Each promise is a test of a subject (an API address) and the engine behind it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from node import PLAIN
from real.engines import Engine
from real.subject import Subject
from real.tiny_gguf import answer_of
from stopwatch import Stopwatch

Promise = Callable[[Subject, Engine], Awaitable[None]]
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who are you?"}]
FOR_EVER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "LOOP"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SLOT_IS_FREE_WITHIN_S = 1.0  # the engine itself needs 0.02 s; the rest is for a machine that has other work


async def the_model_is_listed(subject: Subject, engine: Engine) -> None:
    async with subject.client() as client:
        listed = [model.id async for model in client.models.list()]
    assert engine.model in listed


async def the_answer_names_the_model(subject: Subject, engine: Engine) -> None:
    async with subject.client() as client:
        answer = await client.chat.completions.create(model=subject.model, messages=HELLO)
    assert answer.choices[0].message.content == answer_of(engine.model)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


async def a_stream_comes_in_pieces_with_its_usage(subject: Subject, engine: Engine) -> None:
    async with subject.client() as client:
        stream = await client.chat.completions.create(
            model=subject.model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(pieces) == answer_of(engine.model)
    assert len(pieces) > 5, "the answer came in one lump"
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [len(pieces) + 1]
    assert chunks[-2].choices[0].finish_reason == "stop"


async def a_plain_completion_is_written(subject: Subject, engine: Engine) -> None:
    async with subject.client() as client:
        answer = await client.completions.create(model=subject.model, prompt="Who?\n", max_tokens=32)
    assert answer.choices[0].text == answer_of(engine.model)


async def embeddings_are_vectors_in_the_order_asked(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        both = await client.embeddings.create(
            model=subject.model, input=["aaaa", "bbbb"]
        )  # the client asks base64
        floats = await client.embeddings.create(model=subject.model, input="bbbb", encoding_format="float")
    first, second = both.data[0].embedding, both.data[1].embedding
    assert len(first) > 100
    assert first != second
    assert second == floats.data[0].embedding or _close(second, floats.data[0].embedding)


async def a_tool_is_called_and_its_result_answered(subject: Subject, engine: Engine) -> None:
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How is the weather in Seoul?"}]
    async with subject.client() as client:
        completion = await client.chat.completions.create(
            model=subject.model, messages=question, tools=[WEATHER]
        )
        calls = completion.choices[0].message.tool_calls
        assert completion.choices[0].finish_reason == "tool_calls"
        assert calls is not None
        assert calls[0].type == "function"
        assert calls[0].function.name == "get_weather"
        assert json.loads(calls[0].function.arguments) == {"city": "Seoul"}
        messages: list[ChatCompletionMessageParam] = [
            *question,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": calls[0].id,
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": calls[0].function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": calls[0].id, "content": "21 degrees"},
        ]
        answer = await client.chat.completions.create(model=subject.model, messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == answer_of(engine.model)


async def a_tool_call_can_be_streamed(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        stream = await client.chat.completions.create(
            model=subject.model, messages=HELLO, tools=[WEATHER], stream=True
        )
        deltas = [choice.delta async for chunk in stream for choice in chunk.choices]
    calls = [call.function for delta in deltas for call in delta.tool_calls or () if call.function]
    assert "".join(call.name or "" for call in calls) == "get_weather"
    assert json.loads("".join(call.arguments or "" for call in calls)) == {"city": "Seoul"}


async def a_bad_request_is_told_as_one(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            await client.chat.completions.create(
                model=subject.model, messages=HELLO, extra_body={"max_tokens": "many"}
            )


async def leaving_an_endless_stream_frees_its_slot(subject: Subject, engine: Engine) -> None:
    async with subject.client() as client:
        stream = await client.chat.completions.create(model=subject.model, messages=FOR_EVER, stream=True)
        pieces = 0
        async for _ in stream:
            pieces += 1
            if pieces == 20:
                break
        assert await _busy_slots(engine) == 1
        stopwatch = Stopwatch(engine.process.pid)
        await stream.close()
        await slots_become(engine, 0)
        assert stopwatch.elapsed_s < SLOT_IS_FREE_WITHIN_S


async def leaving_before_the_answer_stops_the_work(subject: Subject, engine: Engine) -> None:
    """Not streamed, so no byte ever comes.

    Here llama-server looks for departed clients only when no task of any kind gave a result for a second, and asking
    for /slots is such a task: its log is read instead.
    """
    length_before = len(engine.output())
    async with subject.client() as client:
        request = asyncio.create_task(client.chat.completions.create(model=subject.model, messages=FOR_EVER))
        await _log_says(engine, "processing task", length_before)
        request.cancel()
        await asyncio.wait([request])
        await _log_says(engine, "stop: cancel task", length_before)


async def some_text_is_answered(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        answer = await client.chat.completions.create(model=subject.model, messages=HELLO, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


async def a_stream_says_the_same_as_the_whole(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        complete = await client.chat.completions.create(
            model=subject.model, messages=HELLO, max_tokens=16, temperature=0
        )
        stream = await client.chat.completions.create(
            model=subject.model, messages=HELLO, max_tokens=16, temperature=0, stream=True
        )
        pieces = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
    assert len(pieces) > 5, "the answer came in one lump"
    assert "".join(pieces) == complete.choices[0].message.content


async def text_is_continued(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        answer = await client.completions.create(model=subject.model, prompt="the quick", max_tokens=8)
    assert answer.choices[0].text


async def a_field_for_tools_is_accepted(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        answer = await client.chat.completions.create(
            model=subject.model, messages=HELLO, tools=[WEATHER], max_tokens=4
        )
    assert answer.choices[0].message.content


async def a_wrong_limit_is_refused(subject: Subject, engine: Engine) -> None:
    del engine
    async with subject.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=subject.model, messages=HELLO, max_tokens=-5)
    assert "max_tokens" in str(refused.value.body)  # mlx_lm says {"error": "text"}, not an object


async def leaving_a_long_answer_leaves_the_engine_usable(subject: Subject, engine: Engine) -> None:
    async with subject.client() as client:
        stream = await client.chat.completions.create(
            model=subject.model, messages=HELLO, max_tokens=1500, stream=True
        )
        pieces = 0
        async for _ in stream:
            pieces += 1
            if pieces == 5:
                break
        await stream.close()
    await some_text_is_answered(subject, engine)


LLAMA: tuple[Promise, ...] = (
    the_model_is_listed,
    the_answer_names_the_model,
    a_stream_comes_in_pieces_with_its_usage,
    a_plain_completion_is_written,
    embeddings_are_vectors_in_the_order_asked,
    a_tool_is_called_and_its_result_answered,
    a_tool_call_can_be_streamed,
    a_bad_request_is_told_as_one,
    leaving_an_endless_stream_frees_its_slot,
    leaving_before_the_answer_stops_the_work,
)
MLX: tuple[Promise, ...] = (
    the_model_is_listed,
    some_text_is_answered,
    a_stream_says_the_same_as_the_whole,
    text_is_continued,
    a_field_for_tools_is_accepted,
    a_wrong_limit_is_refused,
    leaving_a_long_answer_leaves_the_engine_usable,
)


def name_of(promise: Promise) -> str:
    """Return the name of the promise, for the name of its test."""
    return getattr(promise, "__name__", "promise")


def _close(one: Iterable[float], other: Iterable[float]) -> bool:
    return all(abs(a - b) < 1e-5 for a, b in zip(one, other, strict=True))


async def _busy_slots(engine: Engine) -> int:
    """Ask llama-server itself, not the way the test took, how many requests it works on."""
    async with httpx.AsyncClient(verify=PLAIN, trust_env=False, timeout=5.0) as client:
        return await _busy(client, engine)


async def slots_become(engine: Engine, busy: int, timeout_s: float = 10.0) -> None:
    """Return as soon as llama-server works on `busy` requests; each look is an awaited round trip to it."""
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(verify=PLAIN, trust_env=False, timeout=5.0) as client,
    ):
        while await _busy(client, engine) != busy:
            pass


async def _busy(client: httpx.AsyncClient, engine: Engine) -> int:
    slots = (await client.get(f"{engine.url}/slots")).json()
    return sum(1 for slot in slots if slot["is_processing"])


async def _log_says(engine: Engine, words: str, start: int, timeout_s: float = 10.0) -> None:
    """Return as soon as the engine's log has `words` after `start`; each look waits for an answer of /health."""
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(verify=PLAIN, trust_env=False, timeout=5.0) as client,
    ):
        while words not in engine.output()[start:]:
            await client.get(f"{engine.url}/health")
