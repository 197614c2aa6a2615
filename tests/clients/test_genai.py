"""Google's own client at a simulated Gemini, through the gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from google.genai import Client, errors, types
from google.genai.client import AsyncClient

from clients.rig import added
from meshlight.simulator.clouds.base import KEY, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from node import Node

MODEL, VECTORS = "gemini-3-flash", "gemini-embedding-001"
TEXTS: list[types.ContentUnion] = ["a", "b"]
VERSIONS = ["v1beta", None]
"""None is the client's own choice, which is `v1` as soon as it is given an address."""


@pytest.fixture
async def cloud(node: Node) -> AsyncIterator[SimulatedCloud]:
    async with SimulatedCloud("gemini") as cloud:
        await added(node, "gemini", cloud.url, api_key=KEY)
        yield cloud


@asynccontextmanager
async def asking(node: Node, version: str | None = "v1beta", key: str = "") -> AsyncIterator[AsyncClient]:
    options = types.HttpOptions(
        base_url=node.url, api_version=version, async_client_args={"trust_env": False}
    )
    client = Client(api_key=key or node.key, http_options=options, vertexai=False)
    try:
        yield client.aio
    finally:
        await client.aio.aclose()
        client.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_question_is_answered_whole_and_in_pieces(
    node: Node, cloud: SimulatedCloud, version: str | None
) -> None:
    config = types.GenerateContentConfig(system_instruction="Be short.", max_output_tokens=5)
    async with asking(node, version) as client:
        whole = await client.models.generate_content(model=MODEL, contents="hello")
        cut = await client.models.generate_content(model=f"models/{MODEL}", contents="hello", config=config)
        stream = await client.models.generate_content_stream(model=MODEL, contents="hello")
        parts = [part.text or "" async for part in stream]
    assert MODEL in (whole.text or "")
    assert cut.candidates is not None
    assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert "".join(parts) == whole.text
    assert len(parts) > 10
    asked = cloud.calls("/v1beta/models/")
    assert len(asked) == 3, "below /v1, Gemini knows no system instructions"
    assert asked[1].json()["systemInstruction"]
    assert {seen.header("x-goog-api-key") for seen in asked} == {KEY}


@pytest.mark.parametrize("version", VERSIONS)
async def test_tokens_are_counted_and_vectors_made(
    node: Node, cloud: SimulatedCloud, version: str | None
) -> None:
    async with asking(node, version) as client:
        counted = await client.models.count_tokens(model=MODEL, contents="hello")
        made = await client.models.embed_content(model=VECTORS, contents=TEXTS)
    assert counted.total_tokens
    assert made.embeddings is not None
    assert [bool(vector.values) for vector in made.embeddings] == [True, True]
    assert cloud.requests[-1].path.startswith("/v1beta/")


@pytest.mark.parametrize("version", VERSIONS)
async def test_its_list_has_the_models_that_it_can_ask(
    node: Node, cloud: SimulatedCloud, version: str | None
) -> None:
    async with SimulatedEngine("vllm", models=("qwen3-8b",)) as engine, asking(node, version) as client:
        await added(node, "vllm", engine.url)
        listed = [model.name async for model in await client.models.list()]
        one = await client.models.get(model=MODEL)
    assert listed == [f"models/{model}" for model in cloud.models]
    assert one.input_token_limit


@pytest.mark.usefixtures("cloud")
async def test_a_model_that_is_not_geminis_is_asked_for_elsewhere(node: Node) -> None:
    async with SimulatedEngine("vllm", models=("qwen3-8b",)) as engine, asking(node) as client:
        await added(node, "vllm", engine.url)
        for asked in (
            client.models.generate_content(model="qwen3-8b", contents="hello"),
            client.models.count_tokens(model="qwen3-8b", contents="hello"),
            client.models.get(model="qwen3-8b"),
        ):
            with pytest.raises(errors.ClientError, match="Ask for it at /v1/chat/completions") as refused:
                await asked
            assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")


async def test_what_goes_wrong_is_told_in_googles_shape(node: Node, cloud: SimulatedCloud) -> None:
    async with asking(node) as client:
        with pytest.raises(errors.ClientError, match="Did you mean gemini-3-flash") as missing:
            await client.models.generate_content(model="gemini-3-flush", contents="hello")
        assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
        cloud.trouble = "rate-limit"
        with pytest.raises(errors.ClientError, match="Resource has been exhausted") as limited:
            await client.models.generate_content(model=MODEL, contents="hello")
        assert (limited.value.code, limited.value.status) == (429, "RESOURCE_EXHAUSTED")
    async with asking(node, key="nobody's key") as stranger:
        with pytest.raises(errors.ClientError, match="local key is wrong") as refused:
            await stranger.models.generate_content(model=MODEL, contents="hello")
    assert (refused.value.code, refused.value.status) == (401, "UNAUTHENTICATED")
    assert KEY not in str(refused.value)
