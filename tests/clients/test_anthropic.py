"""Anthropic's own client at a real llama-server: with its own Messages API, and translated to chat completions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from clients.subjects import Way, llama_behind
from node import WAIT_S, Node
from real.client_contract import slots_become
from real.engines import Engine
from real.tiny_gguf import answer_of
from stopwatch import Stopwatch

pytestmark = [pytest.mark.real, pytest.mark.parametrize("way", ["native", "translated"])]

MODEL = "tiny-a"
ASK: list[MessageParam] = [{"role": "user", "content": "Who are you?"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE: list[MessageParam] = [
    {
        "role": "user",
        "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "text", "text": "What is this?"},
        ],
    }
]
LEFT_WITHIN_S = 1.0


@pytest.fixture
async def client(node: Node, llama: Engine, way: Way) -> AsyncIterator[AsyncAnthropic]:
    async with (
        llama_behind(node, llama, way),
        AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S) as client,
    ):
        yield client


async def test_a_question_is_answered_with_its_usage(client: AsyncAnthropic) -> None:
    answer = await client.messages.create(model=MODEL, max_tokens=64, messages=ASK, system="Be short.")
    assert [block.text for block in answer.content if block.type == "text"] == [answer_of(MODEL)]
    assert (answer.model, answer.role, answer.stop_reason) == (MODEL, "assistant", "end_turn")
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) > 20
    assert answer.usage.output_tokens == 11


async def test_a_stream_has_the_events_that_the_client_knows(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model=MODEL, max_tokens=64, messages=ASK) as stream:
        events = [event.type async for event in stream if event.type != "text"]
        final = await stream.get_final_message()
        text = await stream.get_final_text()
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events.count("content_block_delta") > 5
    assert text == answer_of(MODEL)
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 11)


async def test_the_limit_and_a_stop_sequence_end_an_answer(client: AsyncAnthropic) -> None:
    cut = await client.messages.create(model=MODEL, max_tokens=3, messages=ASK)
    stopped = await client.messages.create(model=MODEL, max_tokens=64, messages=ASK, stop_sequences=["you"])
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    assert stopped.content[0].type == "text"
    assert stopped.content[0].text == "I am tiny-a and "


@pytest.mark.parametrize(
    "choice",
    [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "get_weather"}],
    ids=lambda choice: choice["type"],
)
async def test_a_tool_is_called_and_its_result_answered(client: AsyncAnthropic, choice: Any) -> None:
    asked = await client.messages.create(
        model=MODEL, max_tokens=64, messages=ASK, tools=[WEATHER], tool_choice=choice
    )
    (call,) = asked.content
    assert call.type == "tool_use"
    assert (asked.stop_reason, call.name, call.input) == ("tool_use", "get_weather", {"city": "Seoul"})
    told: list[MessageParam] = [
        *ASK,
        {"role": "assistant", "content": asked.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}],
        },
    ]
    answer = await client.messages.create(model=MODEL, max_tokens=64, messages=told, tools=[WEATHER])
    assert answer.content[0].type == "text"
    assert answer.content[0].text == answer_of(MODEL)


async def test_a_tool_call_can_be_streamed(client: AsyncAnthropic) -> None:
    async with client.messages.stream(
        model=MODEL, max_tokens=64, messages=ASK, tools=[WEATHER], tool_choice={"type": "any"}
    ) as stream:
        final = await stream.get_final_message()
    (call,) = final.content
    assert call.type == "tool_use"
    assert (final.stop_reason, call.input) == ("tool_use", {"city": "Seoul"})


async def test_the_tokens_of_a_request_are_counted(client: AsyncAnthropic) -> None:
    plain = await client.messages.count_tokens(model=MODEL, messages=ASK)
    more = await client.messages.count_tokens(model=MODEL, messages=ASK, tools=[WEATHER], system="Be short.")
    assert plain.input_tokens == 31
    assert more.input_tokens > 100


@pytest.mark.parametrize(
    "thinking",
    [{"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}, {"type": "adaptive"}],
    ids=lambda thinking: thinking["type"],
)
async def test_a_wish_to_think_is_no_error_where_the_model_can_not(
    client: AsyncAnthropic, thinking: Any
) -> None:
    answer = await client.messages.create(model=MODEL, max_tokens=2048, messages=ASK, thinking=thinking)
    assert [block.type for block in answer.content] == ["text"]


async def test_a_picture_for_a_model_without_eyes_is_refused_and_not_held_against_the_engine(
    client: AsyncAnthropic, node: Node
) -> None:
    for _ in range(4):
        with pytest.raises(anthropic.APIStatusError, match="image input is not supported"):
            await client.messages.create(model=MODEL, max_tokens=64, messages=PICTURE)
    (shown,) = (await node.http.get("/mesh/backends")).json()["backends"]
    assert shown["health"]["state"] == "healthy", shown["health"]


async def test_what_goes_wrong_is_the_error_class_of_its_cause(
    client: AsyncAnthropic, node: Node, llama: Engine
) -> None:
    with pytest.raises(anthropic.NotFoundError, match="No backend serves the model 'tiny-z'"):
        await client.messages.create(model="tiny-z", max_tokens=64, messages=ASK)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await client.messages.create(
            model=MODEL, max_tokens=64, messages=ASK, extra_body={"max_tokens": "many"}
        )
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 2048 maximum\."):
        await client.messages.create(
            model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "long " * 3000}]
        )
    with pytest.raises(anthropic.AuthenticationError) as refused:
        await client.with_options(api_key="sk-ant-of-somebody").messages.create(
            model=MODEL, max_tokens=64, messages=ASK
        )
    assert refused.value.type == "authentication_error"
    assert llama.process.poll() is None
    assert (await node.http.get("/mesh/snapshot")).json()["light"] == "green"


async def test_leaving_a_stream_frees_the_engine(client: AsyncAnthropic, llama: Engine) -> None:
    stream = await client.messages.create(
        model=MODEL, max_tokens=100_000, messages=[{"role": "user", "content": "LOOP"}], stream=True
    )
    deltas = 0
    async for event in stream:
        deltas += event.type == "content_block_delta"
        if deltas == 20:
            break
    stopwatch = Stopwatch(llama.process.pid)
    await stream.close()
    await slots_become(llama, 0)
    assert stopwatch.elapsed_s < LEFT_WITHIN_S


async def test_models_are_listed_in_the_shape_of_anthropics_api(client: AsyncAnthropic) -> None:
    listed = [model.id async for model in client.models.list()]
    one = await client.models.retrieve(MODEL)
    assert (listed, one.id, one.type) == ([MODEL], MODEL, "model")


async def test_twenty_at_once_are_all_answered(client: AsyncAnthropic) -> None:
    async def ask() -> str:
        async with client.messages.stream(model=MODEL, max_tokens=64, messages=ASK) as stream:
            return await stream.get_final_text()

    assert await asyncio.gather(*(ask() for _ in range(20))) == [answer_of(MODEL)] * 20
