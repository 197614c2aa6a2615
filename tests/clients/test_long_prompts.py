"""A prompt of 200,000 tokens: it goes to the one place that holds it, or each client raises its own error for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import ollama
import openai
import pytest
from anthropic import AsyncAnthropic

from clients.rig import openai_at
from meshlight.simulator.engine import SimulatedEngine
from node import WAIT_S, Node

MODEL = "m"
LONG = "word " * 280_000
"""More than 131,072 tokens, whatever the tokenizer."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    small, large = (SimulatedEngine("llamacpp", name, [MODEL]) for name in ("small", "large"))
    small.facts.context, large.facts.context = 32_768, 131_072
    async with small, large, Node(tmp_path, [small, large]) as node:
        yield node
        assert not small.calls()
        assert not large.calls()


async def test_no_place_holds_it_and_each_client_raises_its_own_error(node: Node) -> None:
    async with openai_at(node) as client:
        for making, param in (
            (
                client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": LONG}]),
                "messages",
            ),
            (client.responses.create(model=MODEL, input=LONG), "input"),
            (client.completions.create(model=MODEL, prompt=LONG), "prompt"),
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                await making
            assert (caught.value.code, caught.value.param) == ("context_length_exceeded", param)
            assert "This model's maximum context length is 131072 tokens" in caught.value.message
            assert "m at large holds 131,072 tokens, the most of all that serve it" in caught.value.message
    async with AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S) as claude:
        with pytest.raises(
            anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 131072 maximum"
        ):
            await claude.messages.create(
                model=MODEL, max_tokens=64, messages=[{"role": "user", "content": LONG}]
            )
    headers = {"authorization": f"Bearer {node.key}"}
    async with ollama.AsyncClient(node.url, headers=headers, trust_env=False) as native:
        with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length") as long:
            await native.chat(model=MODEL, messages=[{"role": "user", "content": LONG}])
        assert long.value.status_code == 400


async def test_the_one_place_that_holds_it_answers_and_says_why(node: Node) -> None:
    async with SimulatedEngine("llamacpp", "huge", [MODEL], speed=5_000) as huge, openai_at(node) as client:
        huge.facts.context = 262_144
        added = {"kind": "llamacpp", "name": "huge", "url": huge.url}
        assert (await node.http.post("/mesh/backends", json=added)).is_success
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": LONG}], max_tokens=8
        )
        assert (raw.headers["x-meshlight-backend"], raw.headers["x-meshlight-why"]) == (
            "huge",
            "only one with 256k context",
        )
        assert len(huge.calls()) == 1
