"""The clients of Anthropic and Ollama are answered by servers that are strict, and by servers that are sloppy."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from clients.rig import added
from meshlight.simulator.clouds.base import KEY, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.habits import SIGNATURE
from meshlight.simulator.profile import Habit
from node import Node

STRICT: tuple[Habit, ...] = ("groq", "mistral", "azure")
MODEL = "m"
Json = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
ASK = {"role": "user", "content": "The weather?"}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE}
CODE: Json = {
    "model": MODEL,
    "max_tokens": 1000,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
    "messages": [ASK],
    "tools": [{"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}],
    "metadata": {"user_id": "user_x"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "temperature": 1,
}
"""As Claude Code asks."""
CHAT: Json = {
    "model": MODEL,
    "messages": [ASK],
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
    "think": True,
    "options": {"top_k": 40, "min_p": 0.1, "num_predict": 1000, "repeat_penalty": 1.1, "seed": 3},
}
"""As Ollama's clients ask."""


class Talk:
    """A conversation with a tool, in one of two protocols."""

    def __init__(
        self, node: Node, operation: Literal["messages", "chat"], *, is_stream: bool, model: str = MODEL
    ) -> None:
        self.node = node
        self.is_messages = operation == "messages"
        self.body = (CODE if self.is_messages else CHAT) | {"model": model, "stream": is_stream}
        self.is_stream = is_stream

    async def ask(self) -> tuple[str, list[Json]]:
        """Say what there is to say, and return the answer's text and its calls."""
        answer = await self.node.http.post(
            "/v1/messages" if self.is_messages else "/api/chat", json=self.body
        )
        assert answer.status_code == 200, answer.text
        message = (self._message if self.is_messages else self._chat)(answer.text)
        self.body = self.body | {"messages": [*self.body["messages"], message]}
        if self.is_messages:
            text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
            return text, [block for block in message["content"] if block["type"] == "tool_use"]
        return message["content"], message.get("tool_calls", [])

    def answer(self, call: Json) -> None:
        """Add the result of a call."""
        response: Json = {"role": "tool", "content": "21 degrees", "tool_name": "get_weather"}
        if self.is_messages:
            result = {"type": "tool_result", "tool_use_id": call["id"], "content": "21 degrees"}
            response = {"role": "user", "content": [result]}
        self.body = self.body | {"messages": [*self.body["messages"], response]}

    def _chat(self, text: str) -> Json:
        lines = [json.loads(line) for line in text.splitlines()]
        message: Json = {
            "role": "assistant",
            "content": "".join(line["message"]["content"] for line in lines),
        }
        calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
        assert lines[-1]["done_reason"] == "stop"
        return message | ({"tool_calls": calls} if calls else {})

    def _message(self, text: str) -> Json:
        if not self.is_stream:
            return {"role": "assistant", "content": json.loads(text)["content"]}
        blocks: list[Json] = []
        for line in text.splitlines():
            event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            match event.get("type"):
                case "content_block_start":
                    blocks.append(event["content_block"] | {"partial": ""})
                case "content_block_delta":
                    blocks[-1]["partial"] += next(v for k, v in event["delta"].items() if k != "type")
                case "error":
                    raise AssertionError(text)
        for block in blocks:
            whole = block.pop("partial")
            if block["type"] == "tool_use":
                block["input"] = json.loads(whole or "{}")
            else:
                block["text"] = whole
        return {"role": "assistant", "content": blocks}


async def talk(talk: Talk) -> None:
    """Ask, have the tool called, tell its result, and ask once more."""
    _, (call,) = await talk.ask()
    given = call["input"] if talk.is_messages else call["function"]["arguments"]
    assert given == {"city": "Seoul"}
    talk.answer(call)
    text, calls = await talk.ask()
    assert text
    assert calls == []
    talk.body = talk.body | {"messages": [*talk.body["messages"], ASK]}
    assert (await talk.ask())[1]


@pytest.fixture(params=["messages", "chat"])
def operation(request: pytest.FixtureRequest) -> Literal["messages", "chat"]:
    found: Literal["messages", "chat"] = request.param
    return found


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def is_stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def gemini(tmp_path: Path) -> AsyncIterator[tuple[Node, SimulatedCloud]]:
    async with SimulatedCloud("gemini", habit="gemini") as cloud, Node(tmp_path) as node:
        await added(node, "gemini", cloud.url, api_key=KEY)
        await node.refresh()
        yield node, cloud


@pytest.mark.parametrize("habit", [*STRICT, "sloppy", None])
async def test_an_agent_works_with_any_server(
    tmp_path: Path, operation: Literal["messages", "chat"], is_stream: bool, habit: Habit | None
) -> None:
    async with (
        SimulatedEngine("openai", "a", (MODEL,), habit=habit) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        await talk(Talk(node, operation, is_stream=is_stream))
        shown = await node.backend("a")
        assert shown["health"]["state"] == "healthy"
        assert shown["requests"]["failed"] == 0


async def test_an_agent_works_with_gemini(
    gemini: tuple[Node, SimulatedCloud], operation: Literal["messages", "chat"], is_stream: bool
) -> None:
    node, cloud = gemini
    await talk(Talk(node, operation, is_stream=is_stream, model=cloud.models[0]))


async def test_a_conversation_begun_elsewhere_goes_on_at_gemini(
    gemini: tuple[Node, SimulatedCloud], operation: Literal["messages", "chat"]
) -> None:
    node, cloud = gemini
    begun = Talk(node, operation, is_stream=False, model=cloud.models[0])
    call: Json = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    text: Json = {"role": "assistant", "content": [call]}
    if operation == "chat":
        call = {"function": {"name": "get_weather", "arguments": {}}}
        text = {"role": "assistant", "content": "", "tool_calls": [call]}
    begun.body = begun.body | {"messages": [ASK, text]}
    begun.answer(call)
    assert (await begun.ask())[0]


@pytest.mark.parametrize("habit", STRICT)
async def test_what_a_server_does_not_take_is_learnt_once_and_shown(tmp_path: Path, habit: Habit) -> None:
    async with (
        SimulatedEngine("openai", "a", (MODEL,), habit=habit) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        first = await node.http.post("/v1/messages", json=CODE)
        request = len(engine.calls())
        assert (first.status_code, first.headers["x-meshlight-attempts"]) == (200, str(request)), (
            first.text,
            [c.body for c in engine.calls()],
        )
        assert request > 1
        second = await node.http.post("/v1/messages", json=CODE)
        assert second.status_code == 200
        assert len(engine.calls()) == request + 1
        if habit != "azure":
            assert "chat_template_kwargs" in second.headers["x-meshlight-dropped"]
        shown = (await node.backend("a"))["about"]
        assert ("max_tokens" if habit == "azure" else "chat_template_kwargs") in json.dumps(shown)


@pytest.mark.parametrize("habit", STRICT)
async def test_what_the_client_itself_sent_on_a_passed_request_is_refused_as_it_was(
    tmp_path: Path, habit: Habit
) -> None:
    async with (
        SimulatedEngine("openai", "a", (MODEL,), habit=habit) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        body = {"model": MODEL, "messages": [ASK], "max_tokens": 5, "chat_template_kwargs": {}}
        answer = await node.http.post("/v1/chat/completions", json=body)
        assert answer.status_code in {400, 422}
        assert len(engine.calls()) == 1


async def test_a_refusal_for_another_reason_comes_through_at_the_first_try(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("openai", "a", (MODEL,), habit="groq") as engine,
        Node(tmp_path, [engine]) as node,
    ):
        answer = await node.http.post(
            "/v1/messages", json={"model": MODEL, "max_tokens": -2, "messages": [ASK]}
        )
        assert answer.status_code == 400
        assert "non-negative" in answer.json()["error"]["message"]
        assert len(engine.calls("/v1/chat")) == 1
        assert "x-meshlight-dropped" not in answer.headers


@pytest.mark.parametrize(
    "block", [THOUGHT | {"signature": ""}, {"type": "redacted_thinking", "data": "meshlight-"}]
)
async def test_a_conversation_begun_with_a_local_model_goes_on_at_anthropic(
    tmp_path: Path, block: Json
) -> None:
    async with SimulatedCloud("anthropic", habit="anthropic") as cloud, Node(tmp_path) as node:
        await added(node, "anthropic", cloud.url, api_key=KEY)
        await node.refresh()
        text = [block, THOUGHT, {"type": "text", "text": "Yes."}]
        turns = [
            ASK,
            {"role": "assistant", "content": text},
            ASK,
            {"role": "assistant", "content": [block]},
            ASK,
        ]
        body = {"model": cloud.models[0], "max_tokens": 50, "messages": turns}
        answer = await node.http.post("/v1/messages", json=body)
        assert answer.status_code == 200, answer.text
        sent = json.loads(cloud.calls()[-1].body)["messages"]
        assert sent == [ASK, {"role": "assistant", "content": text[1:]}, ASK, ASK]


async def test_a_new_field_of_claude_code_is_left_out_and_named(tmp_path: Path) -> None:
    async with SimulatedEngine("openai", "a", (MODEL,)) as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post("/v1/messages", json=CODE | {"brand_new": 1})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-meshlight-dropped"] == "brand_new"
        assert b"brand_new" not in engine.calls()[-1].body
