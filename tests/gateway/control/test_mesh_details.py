"""What engines tell of themselves and their models is in the snapshot that apps build on."""

from pathlib import Path
from typing import Any

import httpx

from meshlight.simulator.engine import SimulatedEngine
from node import Node

MODELS = ("llama-3.2-3b", "gemma3:4b", "nomic-embed-text")


async def details_of(node: Node) -> dict[str, Any]:
    """The backends of the snapshot, by kind."""
    snapshot = (await node.http.get("/mesh/snapshot")).json()
    return {backend["kind"]: backend for backend in snapshot["backends"]}


async def test_each_engine_s_own_words_are_in_the_snapshot(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "l", MODELS[:2]) as llamacpp,
        SimulatedEngine("ollama", "o", MODELS) as ollama,
        SimulatedEngine("vllm", "v", MODELS[:1]) as vllm,
        SimulatedEngine("mlx", "m", MODELS[:1]) as mlx,
        SimulatedEngine("lmstudio", "s", MODELS) as lmstudio,
        SimulatedEngine("openai", "x", MODELS[:1]) as other,
        Node(tmp_path, [llamacpp, ollama, vllm, mlx, lmstudio, other]) as node,
    ):
        backends = await details_of(node)
        assert {backend["health"]["state"] for backend in backends.values()} == {"healthy"}
        assert backends["llamacpp"]["details"] == {
            "llama-3.2-3b": {"context": 8192, "loaded": True, "quantization": "Q4_K_M", "parameters": "3B"},
            "gemma3:4b": {"loaded": False},
        }
        assert backends["llamacpp"]["about"] == {
            "Version": "b11434-demo",
            "Loaded": "1 of 2 models, at most 4 at a time",
        }
        assert backends["ollama"]["about"] == {"Version": "0.17.1", "Loaded": "1 of 3 models, 1.9 GB"}
        assert backends["ollama"]["details"]["gemma3:4b"] == {
            "loaded": False,
            "quantization": "Q4_K_M",
            "parameters": "4.0B",
            "capabilities": ["chat", "completion", "vision"],
        }
        assert backends["vllm"]["details"] == {"llama-3.2-3b": {"context": 8192, "loaded": True}}
        assert backends["vllm"]["about"] == {"Version": "0.14.1"}
        assert backends["lmstudio"]["details"]["nomic-embed-text"] == {
            "context": 131072,
            "loaded": False,
            "quantization": "Q4_K_M",
            "capabilities": ["embeddings"],
        }
        for silent in ("mlx", "openai-compatible"):
            assert backends[silent]["details"] == backends[silent]["about"] == {}
            assert backends[silent]["warnings"] == []


async def test_a_model_that_is_pulled_is_told_at_the_next_look(tmp_path: Path) -> None:
    async with SimulatedEngine("ollama", "o", MODELS[:1]) as engine, Node(tmp_path, [engine]) as node:
        engine.models = MODELS[:2]
        await node.http.post("/mesh/refresh?wait=true", json={})
        details = (await details_of(node))["ollama"]["details"]
        assert details["gemma3:4b"]["capabilities"] == ["chat", "completion", "vision"]


async def test_a_backend_with_a_key_is_asked_with_it(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "l", MODELS[:1], key="sk-right") as engine, Node(tmp_path) as node:
        body = {"kind": "llamacpp", "url": engine.url, "api_key": "sk-right"}
        added = await node.http.post("/mesh/backends", json=body)
        assert added.status_code == 201, added.text
        backend = (await details_of(node))["llamacpp"]
        assert backend["about"] == {"Version": "b11434-demo", "Slots": "4"}
        assert "sk-right" not in (await node.http.get("/mesh/snapshot")).text


async def test_a_model_that_is_not_in_memory_is_a_healthy_route(tmp_path: Path) -> None:
    async with SimulatedEngine("lmstudio", "s", MODELS[:2]) as engine, Node(tmp_path, [engine]) as node:
        assert (await details_of(node))["lmstudio"]["details"]["gemma3:4b"]["loaded"] is False
        reply: httpx.Response = await node.http.post(
            "/v1/chat/completions",
            json={"model": "gemma3:4b", "messages": [{"role": "user", "content": "hi"}]},
        )
        assert reply.status_code == 200
