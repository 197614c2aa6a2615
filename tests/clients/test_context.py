"""Prompts that are too long for a real llama-server: the real clients raise their own errors for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import ollama
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from clients.rig import add, added, openai_at
from node import WAIT_S, Node
from real.engines import Engine, running_llama
from real.tiny_gguf import write_gguf

pytestmark = pytest.mark.real

MODEL = "tiny-a"
LONG = "long " * 3_000
"""Certainly more than the engine's 2,048 tokens."""
NEAR = "long " * 2_500
"""More too, but only the engine knows that."""


@pytest.fixture
async def small(node: Node, llama: Engine) -> Node:
    await added(node, "llamacpp", llama.url)
    return node


@pytest.fixture
async def client(small: Node) -> AsyncIterator[AsyncOpenAI]:
    async with openai_at(small) as client:
        yield client


@pytest.mark.parametrize("text", [LONG, NEAR], ids=["certain", "refused"])
@pytest.mark.parametrize("stream", [False, True])
async def test_openais_client_reads_the_code_and_the_sentence_that_it_knows(
    client: AsyncOpenAI, small: Node, text: str, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], stream=stream
        )
    error = caught.value
    assert (error.code, error.type, error.param) == (
        "context_length_exceeded",
        "invalid_request_error",
        "messages",
    )
    sentence = "This model's maximum context length is 2048 tokens. However, your messages resulted in "
    assert str(error.body["message"]).startswith(sentence)  # type: ignore[index]
    assert "tiny-a at llamacpp" in error.message
    (shown,) = (await small.http.get("/mesh/backends")).json()["backends"]
    assert shown["health"]["state"] == "healthy"


async def test_responses_and_completions_say_it_too(client: AsyncOpenAI) -> None:
    for making, param in (
        (client.responses.create(model=MODEL, input=LONG), "input"),
        (client.completions.create(model=MODEL, prompt=LONG), "prompt"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await making
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", param)


@pytest.mark.parametrize("text", [LONG, NEAR], ids=["certain", "refused"])
async def test_the_other_clients_read_what_their_own_apis_say(small: Node, text: str) -> None:
    async with AsyncAnthropic(base_url=small.url, api_key=small.key, max_retries=0, timeout=WAIT_S) as claude:
        with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 2048 maximum"):
            await claude.messages.create(
                model=MODEL, max_tokens=64, messages=[{"role": "user", "content": text}]
            )
    headers = {"authorization": f"Bearer {small.key}"}
    async with ollama.AsyncClient(small.url, headers=headers, trust_env=False) as native:
        with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length") as long:
            await native.chat(model=MODEL, messages=[{"role": "user", "content": text}])
        assert long.value.status_code == 400


async def test_what_the_small_engine_refuses_goes_to_the_large_one(
    client: AsyncOpenAI, small: Node, tmp_path: Path
) -> None:
    rules = {"routing": {"rules": [{"model": MODEL, "prefer": ["llamacpp"]}]}}
    model_file = write_gguf(tmp_path / "tiny-a.gguf", MODEL)
    with running_llama(model_file, MODEL, slots=1, threads=1, context=4096) as large:
        changed = await small.http.patch("/mesh/settings", json=rules)
        assert changed.is_success, changed.text
        await add(small, "llamacpp", large.url, name="large")
        for text, place, attempts in (("Hi", "llamacpp", "1"), ("long " * 500, "large", "2")):
            raw = await client.chat.completions.with_raw_response.create(
                model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=8
            )
            assert (raw.headers["x-meshlight-backend"], raw.headers["x-meshlight-attempts"]) == (
                place,
                attempts,
            )
        shown = (await small.http.get("/mesh/backends")).json()["backends"]
        assert [each["health"]["state"] for each in shown] == ["healthy", "healthy"]
