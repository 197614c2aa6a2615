"""Strict servers refuse as the real ones do, and a sloppy one says less than it should."""

from typing import Any

import httpx
import pytest

from meshlight.simulator.clouds.base import KEY, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.habits import PLACEHOLDER, SIGNATURE
from meshlight.simulator.profile import Habit
from simulator.clients import Json

MODEL = "llama-3.2-3b"
ASK = {"role": "user", "content": "The weather?"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"city": {}}}}}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "1"}


def chat(**fields: Any) -> Json:
    return {"model": MODEL, "messages": [ASK]} | fields


async def text(http: httpx.AsyncClient, habit: Habit | None, body: Json) -> httpx.Response:
    async with SimulatedEngine("openai", habit=habit) as engine:
        return await http.post(engine.url + "/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    ("habit", "fields", "status", "words"),
    [
        ("groq", {"top_k": 1}, 400, "property 'top_k' is unsupported"),
        ("groq", {"messages": [ASK | {"reasoning_content": "x"}]}, 400, "'messages.0' : for 'role:user'"),
        ("mistral", {"user": "me"}, 422, '"loc":["body","user"]'),
        (
            "mistral",
            {"messages": [{"role": "assistant", "tool_calls": [CALL]}, RESULT]},
            400,
            "with a length of 9",
        ),
        ("azure", {"max_tokens": 1}, 400, "Use 'max_completion_tokens' instead"),
        ("azure", {"top_k": 1, "min_p": 1}, 400, "arguments supplied: min_p, top_k"),
        ("azure", {"messages": [RESULT | {"tool_call_id": "x" * 41}]}, 400, "maximum length 40"),
        ("gemini", {"top_k": 1}, 400, 'Unknown name \\"top_k\\"'),
        (
            "gemini",
            {"messages": [{"role": "assistant", "tool_calls": [CALL]}, RESULT]},
            400,
            "thought_signature",
        ),
    ],
)
async def test_a_strict_server_refuses_what_it_does_not_know(
    http: httpx.AsyncClient, habit: Habit, fields: Json, status: int, words: str
) -> None:
    reply = await text(http, habit, chat(**fields))
    assert (reply.status_code, words in reply.text) == (status, True), reply.text
    assert (await text(http, None, chat(**fields))).status_code == 200
    assert (await text(http, habit, chat())).status_code == 200


async def test_gemini_takes_its_signature_back_and_the_documented_stand_in(http: httpx.AsyncClient) -> None:
    reply = await text(http, "gemini", chat(tools=[TOOL]))
    message = reply.json()["choices"][0]["message"]
    (call,) = message["tool_calls"]
    stand_in = CALL | {"extra_content": {"google": {"thought_signature": PLACEHOLDER}}}
    for given in (message, {"role": "assistant", "tool_calls": [stand_in]}):
        answered = RESULT | {"tool_call_id": call["id"]}
        assert (await text(http, "gemini", chat(messages=[ASK, given, answered]))).status_code == 200


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "x", "signature": "y"},
        {"type": "redacted_thinking", "data": "y"},
        {"type": "tool_use", "id": "a b", "name": "f", "input": {}},
    ],
)
async def test_anthropic_takes_no_thoughts_that_it_has_not_signed(
    http: httpx.AsyncClient, block: Json
) -> None:
    good = {"type": "thinking", "thinking": "x", "signature": SIGNATURE}
    async with SimulatedCloud("anthropic", habit="anthropic") as cloud:
        for content, status in (([block], 400), ([good], 200), ([], 400)):
            turns = [ASK, {"role": "assistant", "content": content}, ASK]
            body = {"model": cloud.models[0], "max_tokens": 5, "messages": turns}
            headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
            reply = await http.post(cloud.url + "/v1/messages", json=body, headers=headers)
            assert reply.status_code == status, reply.text


async def test_a_sloppy_server_never_says_why_it_ends(http: httpx.AsyncClient) -> None:
    whole = (await text(http, "sloppy", chat())).json()
    assert (whole["id"], whole["choices"][0].keys()) == (123, {"index", "message"})
    streamed = (await text(http, "sloppy", chat(stream=True, tools=[TOOL]))).text
    assert streamed.endswith("data: [DONE] \n\n")
    assert '"finish_reason":null' in streamed
    assert '"arguments":"{}"' in streamed
