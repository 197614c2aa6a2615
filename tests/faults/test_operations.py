"""Every operation goes to the backends that have it; where none has it, the error says so."""

from pathlib import Path
from typing import Any

import pytest

from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node

OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("completions", {"prompt": "hi"}),
    ("embeddings", {"input": "hi"}),
    ("responses", {"input": "hi"}),
    ("rerank", {"query": "hi", "documents": ["hi", "ho"]}),
    ("images/generations", {"prompt": "a boat"}),
    ("audio/speech", {"input": "hi", "voice": "demo"}),
]


@pytest.mark.parametrize(("operation", "fields"), OPERATIONS)
async def test_every_face_is_relayed(tmp_path: Path, operation: str, fields: dict[str, Any]) -> None:
    async with SimulatedEngine("openai", "a") as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post(f"/v1/{operation}", json={"model": "llama-3.2-3b", **fields})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-meshlight-backend"] == "a"
        assert [observed.path for observed in engine.calls()] == [f"/v1/{operation}"]


async def test_a_backend_without_the_face_is_left_out(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("mlx", "a") as without,
        SimulatedEngine("vllm", "b") as having,
        Node(tmp_path, [without, having], IN_ORDER) as node,
    ):
        answer = await node.http.post("/v1/embeddings", json={"model": "llama-3.2-3b", "input": "hi"})
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")
        assert answer.headers["x-meshlight-attempts"] == "1"
        assert (await node.chat()).headers["x-meshlight-backend"] == "a"
        await having.fault("refuse")
        answer = await node.http.post("/v1/embeddings", json={"model": "llama-3.2-3b", "input": "hi"})
        assert answer.status_code == 503
        assert not without.calls("/v1/embeddings")


async def test_a_face_that_no_backend_of_a_model_has_is_404_with_the_reason(tmp_path: Path) -> None:
    async with SimulatedEngine("mlx", "a") as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post("/v1/embeddings", json={"model": "llama-3.2-3b", "input": "hi"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert "a: MLX has no /v1/embeddings." in answer.json()["error"]["message"]
        assert not engine.calls()
