"""OpenAI's own client at simulated clouds, a router and a cluster, through the gateway."""

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from clients.rig import openai_at
from clients.stand_ins import Played, joined, playing
from meshlight.simulator.clouds.base import KEY, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from node import Node

KINDS = ["openai", "anthropic", "gemini", "continuum", "cluster"]
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
VECTORS = {"openai": "text-embedding-3-small", "gemini": "gemini-embedding-001"}
"""The model for embeddings, if it is not the chat model."""

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
async def played(node: Node, kind: str) -> AsyncIterator[Played]:
    async with playing(kind) as played:
        await joined(node, kind, played)
        yield played


@pytest.fixture
async def client(node: Node) -> AsyncIterator[AsyncOpenAI]:
    async with openai_at(node) as client:
        yield client


@every_kind
async def test_its_models_are_listed(client: AsyncOpenAI, played: Played, kind: str) -> None:
    listed = {model.id: model.owned_by async for model in client.models.list()}
    assert listed[played.model] == kind
    assert (await client.models.retrieve(f"{kind}/{played.model}")).id == f"{kind}/{played.model}"
    if kind == "cluster":
        assert "cluster/chat" in listed


@every_kind
async def test_a_question_is_answered_whole_and_in_pieces(
    client: AsyncOpenAI, played: Played, kind: str
) -> None:
    names = [played.model, f"{kind}/{played.model}", *(["cluster/chat"] if kind == "cluster" else [])]
    for name in names:
        whole = await client.chat.completions.create(model=name, messages=ASK)
        assert played.model in (whole.choices[0].message.content or "")
        stream = await client.chat.completions.create(
            model=name, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
        assert "".join(pieces) == whole.choices[0].message.content
        assert len(pieces) > 10
        assert [chunk.usage.completion_tokens > 0 for chunk in chunks if chunk.usage] == [True]


@every_kind
async def test_vectors_are_made_or_it_is_said_who_can_not(
    client: AsyncOpenAI, played: Played, kind: str
) -> None:
    model = VECTORS.get(kind, played.model)
    if kind == "anthropic":
        with pytest.raises(openai.NotFoundError, match=r"Anthropic has no /v1/embeddings"):
            await client.embeddings.create(model=model, input="a")
        return
    made = await client.embeddings.create(model=model, input=["a", "b"])
    assert [len(vector.embedding) > 10 for vector in made.data] == [True, True]
    assert made.data[0].embedding != made.data[1].embedding


@every_kind
async def test_what_goes_wrong_is_the_error_class_of_its_cause(
    client: AsyncOpenAI, node: Node, played: Played
) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean") as missing:
        await client.chat.completions.create(model=f"{played.model}x", messages=ASK)
    assert missing.value.code == "model_not_found"
    async with openai_at(node, "nobody's key") as stranger:
        with pytest.raises(openai.AuthenticationError, match="local key is wrong"):
            await stranger.chat.completions.create(model=played.model, messages=ASK)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model=played.model, messages=ASK, extra_body={"messages": 7})


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "continuum"])
async def test_a_rate_limit_is_one_and_says_when_to_come_back(
    client: AsyncOpenAI, node: Node, played: Played, kind: str
) -> None:
    server = played.server
    if isinstance(server, SimulatedCloud):
        server.trouble = "rate-limit"
    else:
        assert isinstance(server, SimulatedEngine)
        await server.fault("status", status=429, retry_after_s=7, scope="inference")
    with pytest.raises(openai.RateLimitError) as limited:
        await client.chat.completions.create(model=played.model, messages=ASK)
    if kind != "gemini":  # it tells in its body alone how long to wait
        assert limited.value.response.headers["retry-after"] == "7"
    assert KEY not in str(limited.value)
    health = (await node.backend(kind))["health"]
    assert (health["state"], health["reason"]) == ("unhealthy", "rate-limited")
