"""Ollama's own client at a simulated Ollama: its requests are passed on unchanged."""

import json

import pytest

from clients.rig import added
from clients.test_ollama import client_of
from meshlight.simulator.engine import SimulatedEngine
from node import Node

ASK = [{"role": "user", "content": "hello"}]
NAMED, OTHER = "gemma3:4b", "llama-3.2:latest"


async def test_every_call_goes_to_its_own_path(node: Node) -> None:
    async with SimulatedEngine("ollama", models=(NAMED, OTHER)) as engine:
        await added(node, "ollama", engine.url)
        async with client_of(node) as client:
            chat = await client.chat(model=NAMED, messages=ASK)
            parts = [part async for part in await client.generate(model=NAMED, prompt="hello", stream=True)]
            vectors = await client.embed(model=NAMED, input=["a", "b"])
            listed = {model.model for model in (await client.list()).models}
    assert NAMED in (chat.message.content or "")
    assert (parts[-1].done, len(parts) > 10) == (True, True)
    assert len(vectors.embeddings) == 2
    assert listed == {NAMED, OTHER}
    assert [seen.path for seen in engine.calls("/api/") if seen.path != "/api/show"] == [
        "/api/chat",
        "/api/generate",
        "/api/embed",
    ]


@pytest.mark.parametrize(
    ("name", "known"), [(OTHER, OTHER), ("llama-3.2", OTHER), (f"ollama/{NAMED}", NAMED)]
)
async def test_nothing_but_the_name_of_the_model_is_changed_on_the_way(
    node: Node, name: str, known: str
) -> None:
    text = '{ "keep_alive": 1e2, "model" : %s,"messages":[{"role":"user","content":"h\\u00e9"}], "new":[1 ,2.0] }'
    async with SimulatedEngine("ollama", models=(NAMED, OTHER)) as engine:
        await added(node, "ollama", engine.url)
        answer = await node.http.post("/api/chat", content=(text % json.dumps(name)).encode())
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        (seen,) = engine.calls("/api/chat")
    assert seen.body == (text % json.dumps(known)).encode()
    assert json.loads(answer.text.splitlines()[0])["model"] == name


async def test_it_can_be_asked_to_unload_a_model(node: Node) -> None:
    async with SimulatedEngine("ollama", models=(NAMED,)) as engine:
        await added(node, "ollama", engine.url)
        async with client_of(node) as client:
            await client.generate(model=NAMED, keep_alive=0)
        (seen,) = engine.calls("/api/generate")
    assert seen.json()["keep_alive"] == 0
