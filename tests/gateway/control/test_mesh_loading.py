"""Loading and unloading models of engines, by the same two requests for every kind that can."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.bad_requests import error_of
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from node import Node

MODELS = ("alpha-3b", "beta-3b", "nomic-embed")


async def ask(node: Node, verb: str, model: str, status: int = 200) -> dict[str, Any]:
    answer = await node.http.post(f"/mesh/backends/a/models/{verb}", json={"model": model})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def loaded(node: Node) -> set[str]:
    await node.refresh()
    details = (await node.backend("a"))["details"]
    return {model for model, detail in details.items() if detail.get("loaded")}


@pytest.mark.parametrize("dialect", ["ollama", "lmstudio", "llamacpp"])
async def test_an_engine_loads_and_unloads_what_it_is_asked_to(tmp_path: Path, dialect: Dialect) -> None:
    async with SimulatedEngine(dialect, "a", MODELS) as engine, Node(tmp_path, [engine]) as node:
        assert (await node.backend("a"))["can_load"] is True
        assert await loaded(node) == {"alpha-3b"}
        for model in ("beta-3b", "nomic-embed"):
            for _ in range(2):  # what is so already is no error
                assert (await ask(node, "load", model))["id"] == "a"
        assert await loaded(node) == {"alpha-3b", "beta-3b", "nomic-embed"}
        for model in ("alpha-3b", "nomic-embed"):
            for _ in range(2):
                await ask(node, "unload", model)
        assert await loaded(node) == {"beta-3b"}
        assert (await ask(node, "load", "nobody", 404))["error"]["message"].startswith(
            "a has no model 'nobody'."
        )


@pytest.mark.parametrize("dialect", ["vllm", "mlx", "openai", "llamacpp"])
async def test_one_that_can_not_says_why(tmp_path: Path, dialect: Dialect) -> None:
    async with SimulatedEngine(dialect, "a", ("alpha-3b",)) as engine, Node(tmp_path, [engine]) as node:
        assert (await node.backend("a"))["can_load"] is False
        for verb in ("load", "unload"):
            error = (await ask(node, verb, "alpha-3b", 409))["error"]
            assert error["message"].startswith("a can't be asked to load or unload models: ")
        assert engine.calls("/models") == []


async def test_an_engine_that_fails_is_quoted_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    async with SimulatedEngine("ollama", "a", MODELS) as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("status", status=500, message="out of\x1b[31m memory", paths=("/api/generate",))
        error = (await ask(node, "load", "beta-3b", 422))["error"]
        assert "a did not load beta-3b: it answered 500. It says: out of" in error["message"]
        assert error["message"].isprintable()
        await engine.fault("refuse")
        gone = (await ask(node, "load", "beta-3b", 422))["error"]
        assert "Start Ollama" in gone["hint"]


async def test_a_model_that_answers_is_not_unloaded(tmp_path: Path) -> None:
    async with SimulatedEngine("ollama", "a", MODELS) as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("hang-headers", paths=("/v1/chat",))
        running = asyncio.create_task(node.chat("alpha-3b"))
        await engine.received(1, "/v1/chat")
        error = (await ask(node, "unload", "alpha-3b", 409))["error"]
        assert "alpha-3b answers 1 request now." in error["message"]
        await ask(node, "unload", "beta-3b")
        running.cancel()
        await asyncio.wait((running,))
        assert [call.body for call in engine.calls("/api/generate")] == [
            b'{"model":"beta-3b","keep_alive":0}'
        ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"model": ""}, 400),
        ({"model": "m" * 600}, 400),
        ({"model": "alpha-3b", "force": True}, 400),
    ],
)
async def test_a_body_names_the_model_and_nothing_else(node: Node, body: object, status: int) -> None:
    for verb in ("load", "unload"):
        await error_of(node, "POST", f"/mesh/backends/study/models/{verb}", status, json=body)
        await error_of(node, "POST", f"/mesh/backends/nobody/models/{verb}", 404, json={"model": "m"})


async def test_a_backend_that_is_off_is_left_alone(tmp_path: Path) -> None:
    async with SimulatedEngine("ollama", "a", MODELS) as engine, Node(tmp_path, [engine]) as node:
        await node.http.post("/mesh/backends/a/disable")
        assert "switched off" in (await ask(node, "load", "beta-3b", 409))["error"]["message"]
        assert engine.calls("/api/generate") == []
