"""Claude Code's requests at a real llama-server: with its own Messages API, and translated to chat completions."""

import json
from typing import Any

import pytest

from clients import claude_code
from clients.subjects import Way, llama_behind
from node import Node
from real.engines import Engine
from real.tiny_gguf import answer_of

pytestmark = [pytest.mark.real, pytest.mark.parametrize("way", ["native", "translated"])]

MODEL = "tiny-a"
COUNT = "/v1/messages/count_tokens"


async def send(node: Node, body: dict[str, Any], path: str = "/v1/messages") -> Any:
    """Send a request as Claude Code does; return the events of its stream, or the complete answer."""
    headers = claude_code.HEADERS | {"x-api-key": node.key}
    node.http.headers.pop("authorization", None)
    answer = await node.http.post(f"{path}?beta=true", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    if not body.get("stream"):
        return answer.json()
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def pieces(events: list[Any], kind: str, key: str) -> str:
    """Return the text of all deltas of a kind."""
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta[key] for delta in deltas if delta["type"] == kind)


async def test_a_turn_with_a_call_of_a_tool_and_the_turn_after_it_are_answered(
    node: Node, llama: Engine, way: Way
) -> None:
    async with llama_behind(node, llama, way):
        events = await send(node, claude_code.turn(MODEL, [claude_code.FIRST]))
        assert [event["type"] for event in events][:2] == ["message_start", "content_block_start"]
        call = events[1]["content_block"]
        assert (call["type"], call["name"]) == ("tool_use", "get_weather")
        call["input"] = json.loads(pieces(events, "input_json_delta", "partial_json"))
        assert call["input"] == {"city": "Seoul"}
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
        assert events[-2]["usage"]["output_tokens"] > 0

        after = await send(node, claude_code.turn(MODEL, claude_code.answered(call)))
        assert pieces(after, "text_delta", "text") == answer_of(MODEL)
        assert [event["type"] for event in after][-2:] == ["message_delta", "message_stop"]


async def test_its_smaller_requests_are_answered(node: Node, llama: Engine, way: Way) -> None:
    async with llama_behind(node, llama, way):
        named = await send(node, claude_code.title(MODEL))
        assert named[-1]["type"] == "message_stop"
        asked = {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
        quota = await send(node, asked | {"metadata": {"user_id": "{}"}})
        assert quota["stop_reason"] == "max_tokens"
        counted = {
            key: value
            for key, value in claude_code.turn(MODEL, [claude_code.FIRST]).items()
            if key in {"model", "messages", "system", "tools", "thinking"}
        }
        assert (await send(node, counted, "/v1/messages/count_tokens"))["input_tokens"] > 500


async def test_where_it_is_translated_the_accounting_line_is_no_part_of_the_prompt(
    node: Node, llama: Engine, way: Way
) -> None:
    async with llama_behind(node, llama, way):
        body = claude_code.turn(MODEL, [claude_code.FIRST]) | {"stream": False}
        known = await send(node, {key: body[key] for key in ("model", "messages", "system")}, COUNT)
        bare = [block for block in claude_code.SYSTEM if block["text"] != claude_code.BILLING]
        short = await send(node, {"model": MODEL, "messages": body["messages"], "system": bare}, COUNT)
        assert (known["input_tokens"] == short["input_tokens"]) is (way == "translated")
