"""Embeddings and rerank."""

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import BadEngineRequest
from meshlight.simulator.protocols.vectors import DIMENSIONS, inputs, vector_of
from simulator.clients import OpenAIOf

MODEL = "llama-3.2-3b"


async def test_embeddings_come_as_floats_and_as_base64_with_the_same_numbers(openai_of: OpenAIOf) -> None:
    async with SimulatedEngine("llamacpp") as engine:
        client = openai_of(engine)
        packed = await client.embeddings.create(model=MODEL, input=["hello", "world"])
        plain = await client.embeddings.create(model=MODEL, input=["hello", "world"], encoding_format="float")
        assert engine.requests[0].json()["encoding_format"] == "base64"
    assert len(plain.data) == 2
    assert len(plain.data[0].embedding) == DIMENSIONS
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert plain.data[0].embedding != plain.data[1].embedding
    assert packed.usage.total_tokens > 0


def test_equal_texts_have_equal_vectors_of_length_one() -> None:
    assert vector_of("x") == vector_of("x")
    assert sum(value * value for value in vector_of("x")) == pytest.approx(1, abs=1e-4)


def test_inputs_may_be_texts_or_token_ids() -> None:
    assert inputs("a") == ["a"]
    assert inputs(["a", "b"]) == ["a", "b"]
    assert inputs([1, 2]) == ["1 2"]
    assert inputs([[1, 2], [3]]) == ["1 2", "3"]
    with pytest.raises(BadEngineRequest):
        inputs([])


async def test_rerank_puts_the_best_document_first(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("vllm") as engine:
        ask = {"model": MODEL, "query": "red fox", "documents": ["blue whale", {"text": "a red fox"}, "fox"]}
        reply = (await http.post(engine.url + "/v1/rerank", json=ask)).json()
        best = (await http.post(engine.url + "/v1/rerank", json=ask | {"top_n": 1})).json()
        bad = await http.post(engine.url + "/v1/rerank", json={"model": MODEL, "query": "x"})
    assert [result["index"] for result in reply["results"]] == [1, 2, 0]
    assert reply["results"][0]["relevance_score"] == 1.0
    assert len(best["results"]) == 1
    assert bad.status_code == 400
