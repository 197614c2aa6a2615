"""The real clients of Anthropic and Ollama use a tool at strict servers and at sloppy ones."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from clients.rig import added
from clients.test_ollama import client_of
from meshlight.simulator.clouds.base import KEY, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from node import WAIT_S, Node

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: ToolParam = {"name": "get_weather", "description": "The weather in a city", "input_schema": SCHEMA}
ASK: list[MessageParam] = [{"role": "user", "content": "The weather?"}]


@pytest.fixture(params=["groq", "mistral", "azure", "gemini", "sloppy"])
async def model(request: pytest.FixtureRequest, node: Node) -> AsyncIterator[str]:
    if request.param == "gemini":
        async with SimulatedCloud("gemini", habit="gemini") as cloud:
            await added(node, "gemini", cloud.url, api_key=KEY)
            await node.refresh()
            yield cloud.models[0]
        return
    async with SimulatedEngine("openai", models=("tiny",), habit=request.param) as engine:
        await added(node, "openai-compatible", engine.url)
        yield "tiny"


async def test_anthropics_client_has_a_tool_called_and_tells_its_result(node: Node, model: str) -> None:
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": 2_000,
        "tools": [WEATHER],
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
    }
    async with AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S) as client:
        async with client.messages.stream(messages=ASK, **asked) as stream:
            first = await stream.get_final_message()
        (call,) = (block for block in first.content if block.type == "tool_use")
        assert (first.stop_reason, call.input) == ("tool_use", {"city": "Seoul"})
        result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
        turns: Any = [
            *ASK,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
        answer = await client.messages.create(messages=turns, **asked)
        assert answer.stop_reason == "end_turn"
        assert answer.content[0].type == "text"


async def test_ollamas_client_has_a_tool_called_and_tells_its_result(node: Node, model: str) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    options = {"top_k": 40, "num_predict": 100}
    messages: list[Any] = [*ASK]
    async with client_of(node) as client:
        first = await client.chat(model, messages, tools=tools, think=True, options=options)
        (call,) = list(first.message.tool_calls or ())
        assert call.function.arguments == {"city": "Seoul"}
        messages += [first.message, {"role": "tool", "content": "21 degrees", "tool_name": "get_weather"}]
        pieces = [
            piece.message.content or ""
            async for piece in await client.chat(model, messages, tools=tools, options=options, stream=True)
        ]
        assert "".join(pieces)
