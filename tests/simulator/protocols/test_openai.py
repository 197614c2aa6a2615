"""Chat and completions as the openai package sees them, on every dialect."""

import json
from collections.abc import AsyncIterator
from typing import get_args

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from simulator.clients import OpenAIOf

DIALECTS = get_args(Dialect)
MODEL = "llama-3.2-3b"
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = [{"role": "user", "content": "What is the weather in Seoul?"}]
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["c", "f"]},
        "days": {"type": "integer"},
        "odd": True,
    },
}
TOOLS = [
    {"type": "function", "function": {"name": "send_mail", "parameters": {}}},
    {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}},
]


@pytest.fixture(params=DIALECTS)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(request.param) as engine:
        yield engine


async def test_a_chat_is_answered_whole(engine: SimulatedEngine, openai_of: OpenAIOf) -> None:
    reply = await openai_of(engine).chat.completions.create(model=MODEL, messages=HELLO)
    choice = reply.choices[0]
    assert reply.object == "chat.completion"
    assert reply.model == MODEL
    assert choice.finish_reason == "stop"
    assert engine.label in choice.message.content
    assert "한국어" in choice.message.content
    assert choice.message.content.endswith("as you listen.")
    assert reply.usage.completion_tokens == len(choice.message.content.split())
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_a_streamed_chat_says_the_same_as_a_whole_one(
    engine: SimulatedEngine, openai_of: OpenAIOf
) -> None:
    client = openai_of(engine)
    whole = await client.chat.completions.create(model=MODEL, messages=HELLO)
    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_comes_only_to_those_who_ask(engine: SimulatedEngine, openai_of: OpenAIOf) -> None:
    stream = await openai_of(engine).chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    assert all(chunk.usage is None for chunk in [chunk async for chunk in stream])


async def test_max_tokens_cuts_an_answer(engine: SimulatedEngine, openai_of: OpenAIOf) -> None:
    count = [{"role": "user", "content": [{"type": "text", "text": "COUNT please"}]}]
    reply = await openai_of(engine).chat.completions.create(model=MODEL, messages=count, max_tokens=5)
    assert reply.choices[0].message.content == "0 1 2 3 4"
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 5


async def test_a_tool_is_called_when_the_prompt_asks_for_it(
    engine: SimulatedEngine, openai_of: OpenAIOf
) -> None:
    reply = await openai_of(engine).chat.completions.create(model=MODEL, messages=WEATHER, tools=TOOLS)
    (call,) = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "send_mail"
    named = await openai_of(engine).chat.completions.create(
        model=MODEL,
        messages=HELLO,
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    (call,) = named.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Seoul", "unit": "c", "days": 1, "odd": "demo"}


async def test_a_streamed_tool_call_comes_in_pieces(engine: SimulatedEngine, openai_of: OpenAIOf) -> None:
    stream = await openai_of(engine).chat.completions.create(
        model=MODEL, messages=WEATHER, tools=TOOLS[1:], stream=True
    )
    chunks = [chunk async for chunk in stream]
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()]
    assert parts[0].function.name == "get_weather"
    assert parts[0].id
    assert len(parts) > 2
    assert json.loads("".join(part.function.arguments for part in parts))["city"] == "Seoul"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_no_tool_is_called_once_its_result_is_there(
    engine: SimulatedEngine, openai_of: OpenAIOf
) -> None:
    reply = [*WEATHER, {"role": "tool", "tool_call_id": "x", "content": "weather: sunny"}]
    reply = await openai_of(engine).chat.completions.create(model=MODEL, messages=reply, tools=TOOLS)
    assert reply.choices[0].finish_reason == "stop"


async def test_a_completion_is_answered_whole_and_streamed(
    engine: SimulatedEngine, openai_of: OpenAIOf
) -> None:
    client = openai_of(engine)
    whole = await client.completions.create(model=MODEL, prompt="Once upon", max_tokens=7)
    assert whole.object == "text_completion"
    assert whole.choices[0].finish_reason == "length"
    stream = await client.completions.create(
        model=MODEL, prompt=["Once upon"], max_tokens=7, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens == 7


async def test_a_chat_without_messages_is_refused_in_the_engines_own_words(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    reply = await http.post(engine.url + "/v1/chat/completions", json={"model": MODEL})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert "messages" in (error if engine.dialect == "mlx" else error["message"])
    reply = await http.post(engine.url + "/v1/completions", json={"model": MODEL})
    assert reply.status_code == 400


async def test_the_head_of_a_stream_waits_for_the_first_token_at_llamacpp_only(
    http: httpx.AsyncClient,
) -> None:
    async with SimulatedEngine("llamacpp") as eager, SimulatedEngine("vllm") as early:
        for engine in (eager, early):
            await engine.fault("hang-body", after_bytes=0)
            ask = {"model": MODEL, "messages": HELLO, "stream": True}
            async with http.stream("POST", engine.url + "/v1/chat/completions", json=ask) as reply:
                assert reply.status_code == 200
                assert reply.headers["content-type"] == "text/event-stream"


async def test_an_answer_of_no_tokens_still_has_its_frame(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("vllm") as engine:
        ask = {"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 0}
        reply = await http.post(engine.url + "/v1/chat/completions", json=ask)
    assert '"role":"assistant"' in reply.text
    assert reply.text.endswith("data: [DONE]\n\n")
