"""Ollama's own API."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from simulator.clients import Json

MODELS = ("llama3.2:latest", "gemma3:4b")
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("ollama", models=MODELS) as engine:
        yield engine


async def test_it_is_running(engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
    assert (await http.get(engine.url)).text == "Ollama is running"
    assert (await http.head(engine.url)).status_code == 200
    assert "version" in (await http.get(engine.url + "/api/version")).json()


async def test_all_models_are_on_disk_and_those_that_answered_are_in_memory(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    tags = (await http.get(engine.url + "/api/tags")).json()["models"]
    assert [model["name"] for model in tags] == list(MODELS)
    assert tags[0]["details"]["parameter_size"] == "3.2B"
    assert len(tags[0]["digest"]) == 64
    before = (await http.get(engine.url + "/api/ps")).json()["models"]
    assert [model["name"] for model in before] == ["llama3.2:latest"]
    await http.post(engine.url + "/api/generate", json={"model": "gemma3:4b", "prompt": "x", "stream": False})
    after = (await http.get(engine.url + "/api/ps")).json()["models"]
    assert [model["name"] for model in after] == list(MODELS)


async def test_looking_at_a_model_tells_what_it_can_do_and_loads_nothing(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    shown = (await http.post(engine.url + "/api/show", json={"model": "gemma3:4b"})).json()
    assert shown["capabilities"] == ["completion", "vision"]
    assert shown["details"]["parameter_size"] == "4.0B"
    running = (await http.get(engine.url + "/api/ps")).json()["models"]
    assert [model["name"] for model in running] == ["llama3.2:latest"]


@pytest.mark.parametrize(("path", "ask"), [("chat", {"messages": HELLO}), ("generate", {"prompt": "hello"})])
async def test_an_answer_streams_as_json_lines_unless_told_not_to(
    engine: SimulatedEngine, http: httpx.AsyncClient, path: str, ask: Json
) -> None:
    url = f"{engine.url}/api/{path}"
    ask = ask | {"model": "llama3.2", "options": {"num_predict": 6}}
    streamed = await http.post(url, json=ask)
    assert streamed.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in streamed.text.splitlines()]
    whole = (await http.post(url, json=ask | {"stream": False})).json()

    def text(piece: Json) -> str:
        return str(piece["message"]["content"] if path == "chat" else piece["response"])

    assert "".join(map(text, lines)) == text(whole)
    assert [line["done"] for line in lines] == [False] * 6 + [True]
    assert whole["done"] is True
    assert whole["done_reason"] == "length"
    assert whole["eval_count"] == 6
    assert whole["model"] == "llama3.2:latest"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call_carries_its_arguments_as_an_object(
    engine: SimulatedEngine, http: httpx.AsyncClient, stream: bool
) -> None:
    ask = {"model": "llama3.2", "messages": [{"role": "user", "content": "weather?"}], "tools": TOOLS}
    reply = await http.post(engine.url + "/api/chat", json=ask | {"stream": stream})
    first = json.loads(reply.text.splitlines()[0])
    assert first["message"]["tool_calls"] == [{"function": {"name": "get_weather", "arguments": {}}}]


async def test_embeddings_come_by_both_ways(engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
    many = await http.post(engine.url + "/api/embed", json={"model": "llama3.2", "input": ["a", "b"]})
    one = await http.post(engine.url + "/api/embeddings", json={"model": "llama3.2", "prompt": "a"})
    assert many.json()["embeddings"][0] == one.json()["embedding"]
    assert len(many.json()["embeddings"]) == 2


async def test_a_model_can_be_looked_at_and_a_missing_one_is_said_to_be(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    shown = await http.post(engine.url + "/api/show", json={"model": "gemma3:4b"})
    assert shown.json()["details"]["family"] == "gemma"
    missing = await http.post(engine.url + "/api/chat", json={"model": "nope", "messages": HELLO})
    assert missing.status_code == 404
    assert missing.json() == {"error": "model 'nope' not found"}
    bad = await http.post(engine.url + "/api/chat", json={"model": "llama3.2"})
    assert (bad.status_code, bad.json()) == (400, {"error": "messages is required"})
