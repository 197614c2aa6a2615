"""Ollama's own client at a real llama-server, translated to OpenAI's API: the mesh looks like one Ollama."""

import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
from ollama import AsyncClient

from clients.subjects import Way, llama_behind
from clients.test_anthropic import LEFT_WITHIN_S, PIXEL
from node import Node
from real.client_contract import WEATHER, slots_become
from real.engines import Engine
from real.tiny_gguf import answer_of
from stopwatch import Stopwatch

pytestmark = [pytest.mark.real, pytest.mark.parametrize("way", ["native", "translated"])]

MODEL = "tiny-a"
ASK = [{"role": "user", "content": "Who are you?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture
async def client(node: Node, llama: Engine, way: Way) -> AsyncIterator[AsyncClient]:
    """`native` is llama.cpp itself, with details of its models; `translated` a server without."""
    async with llama_behind(node, llama, way), client_of(node) as client:
        yield client


def client_of(node: Node, key: str = "") -> AsyncClient:
    headers = {"authorization": f"Bearer {key or node.key}"}
    return AsyncClient(host=node.url, headers=headers, trust_env=False)


async def test_models_are_listed_shown_and_known_with_and_without_a_tag(
    client: AsyncClient, way: Way
) -> None:
    listed = await client.list()
    assert [model.model for model in listed.models] == [MODEL]
    for name in (MODEL, f"{MODEL}:latest"):
        shown = await client.show(name)
        assert shown.details is not None
        if way == "native":
            assert shown.capabilities == ["completion", "tools"]
            assert shown.details.quantization_level == "F16"
    if way == "native":
        assert [model.context_length for model in (await client.ps()).models] == [2048]


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}:latest"])
async def test_a_question_is_answered_by_the_name_it_was_asked_by(client: AsyncClient, name: str) -> None:
    answer = await client.chat(model=name, messages=ASK)
    assert answer.message.content == answer_of(MODEL)
    assert (answer.model, answer.done, answer.done_reason, answer.eval_count) == (name, True, "stop", 11)
    assert answer.prompt_eval_count == 31
    assert answer.total_duration


async def test_a_stream_comes_line_by_line(client: AsyncClient) -> None:
    parts = [part async for part in await client.chat(model=MODEL, messages=ASK, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == answer_of(MODEL)
    assert len(parts) > 5
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("stop", 11)


async def test_a_text_is_generated_whole_and_in_pieces(client: AsyncClient) -> None:
    whole = await client.generate(model=MODEL, prompt="Who?", system="Be short.")
    parts = [part async for part in await client.generate(model=MODEL, prompt="Who?", stream=True)]
    assert whole.response == "".join(part.response or "" for part in parts) == answer_of(MODEL)
    assert len(parts) > 5
    assert (await client.generate(model=MODEL)).done_reason == "load"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_is_called_and_its_result_answered(client: AsyncClient, stream: bool) -> None:
    if stream:
        parts = [
            part async for part in await client.chat(model=MODEL, messages=ASK, tools=[WEATHER], stream=True)
        ]
        calls = [call for part in parts for call in part.message.tool_calls or ()]
    else:
        answer = await client.chat(model=MODEL, messages=ASK, tools=[WEATHER])
        calls = list(answer.message.tool_calls or ())
    ((name, arguments),) = [(call.function.name, call.function.arguments) for call in calls]
    assert (name, arguments) == ("get_weather", {"city": "Seoul"})
    told: list[dict[str, Any]] = [
        *ASK,
        {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]},
        {"role": "tool", "tool_name": name, "content": "21 degrees"},
    ]
    after = await client.chat(model=MODEL, messages=told, tools=[WEATHER])
    assert after.message.content == answer_of(MODEL)


async def test_vectors_are_made_of_texts(client: AsyncClient) -> None:
    both = await client.embed(model=MODEL, input=["aaaa", "bbbb"])
    alone = await client.embed(model=f"{MODEL}:latest", input="bbbb")
    older = await client.embeddings(model=MODEL, prompt="bbbb")
    assert len(both.embeddings) == 2
    assert both.embeddings[0] != both.embeddings[1]
    assert list(both.embeddings[1]) == pytest.approx(list(alone.embeddings[0]), abs=1e-5)
    assert list(older.embedding) == pytest.approx(list(alone.embeddings[0]), abs=1e-5)


async def test_an_answer_keeps_to_a_schema_and_to_options(client: AsyncClient) -> None:
    answer = await client.chat(model=MODEL, messages=ASK, format=SCHEMA)
    assert isinstance(json.loads(answer.message.content or "")["a"], int)
    loose = await client.chat(model=MODEL, messages=ASK, format="json", options={"num_predict": 20})
    assert (loose.message.content or "").lstrip().startswith("{")
    cut = await client.chat(
        model=MODEL, messages=ASK, options={"num_predict": 3, "temperature": 0, "seed": 1}, keep_alive="5m"
    )
    assert (cut.message.content, cut.done_reason) == ("I am tiny-a", "length")


async def test_what_goes_wrong_is_told_as_ollama_tells_it(
    client: AsyncClient, node: Node, llama: Engine
) -> None:
    for asked in (
        client.chat(model="tiny-z", messages=ASK),
        client.generate(model="tiny-z", prompt="a"),
        client.embed(model="tiny-z", input="a"),
        client.show("tiny-z"),
    ):
        with pytest.raises(ollama.ResponseError, match=r"model 'tiny-z' not found\.") as missing:
            await asked
        assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="pull the model on the machine that shall run it"):
        await client.pull("tiny-z")
    with pytest.raises(ollama.ResponseError, match="input length exceeds the context length") as long:
        await client.chat(model=MODEL, messages=[{"role": "user", "content": "long " * 3000}])
    assert long.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="image input is not supported"):
        await client.chat(model=MODEL, messages=[{"role": "user", "content": "a", "images": [PIXEL]}])
    with pytest.raises(ollama.ResponseError, match="Only Ollama can be asked to unload a model"):
        await client.chat(model=MODEL, messages=[], keep_alive=0)
    async with client_of(node, "nobody's key") as stranger:
        with pytest.raises(ollama.ResponseError, match="local key is wrong") as refused:
            await stranger.chat(model=MODEL, messages=ASK)
    assert refused.value.status_code == 401
    assert llama.process.poll() is None


async def test_leaving_a_stream_frees_the_engine(client: AsyncClient, llama: Engine) -> None:
    stream = await client.chat(model=MODEL, messages=[{"role": "user", "content": "LOOP"}], stream=True)
    for _ in range(20):
        assert not (await anext(stream)).done
    stopwatch = Stopwatch(llama.process.pid)
    await stream.aclose()  # type: ignore[attr-defined]  # the client's iterator is a generator
    await slots_become(llama, 0)
    assert stopwatch.elapsed_s < LEFT_WITHIN_S
