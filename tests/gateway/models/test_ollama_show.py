"""What an Ollama answers about its own model is passed on unchanged; only the name is mapped."""

import json
from pathlib import Path

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FaultKind
from node import Node

ALIASES = '[routing.aliases]\nfast = "gemma3:4b"\n'


@pytest.mark.parametrize("asked", ["gemma3:4b", "a/gemma3:4b", "fast", "fast:latest"])
@pytest.mark.parametrize("field", ["model", "name"])
async def test_ollamas_own_answer_comes_through(tmp_path: Path, asked: str, field: str) -> None:
    async with (
        SimulatedEngine("ollama", "a", ("gemma3:4b",)) as engine,
        Node(tmp_path, [engine], ALIASES) as node,
    ):
        body = {field: asked, "verbose": True}
        shown = await node.http.post("/api/show", json=body)
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as direct:
            own = await direct.post(f"{engine.url}/api/show", json={"verbose": True, "model": "gemma3:4b"})
        assert shown.content == own.content
        assert shown.json()["template"] == "{{ .Prompt }}"
        through = json.loads(engine.calls("/api/show")[-2].body)
        assert through == {"verbose": True, "model": "gemma3:4b"}


async def test_a_name_without_its_tag_is_mapped_too(tmp_path: Path) -> None:
    async with SimulatedEngine("ollama", "a", ("nomic:latest",)) as engine, Node(tmp_path, [engine]) as node:
        shown = await node.http.post("/api/show", json={"model": "nomic"})
        assert "FROM nomic:latest" in shown.json()["modelfile"]


@pytest.mark.parametrize("kind", ["status", "html", "garbage", "reset-headers", "wrong-length"])
async def test_where_it_does_not_answer_what_is_known_here_is_told(tmp_path: Path, kind: FaultKind) -> None:
    async with SimulatedEngine("ollama", "a", ("gemma3:4b",)) as engine, Node(tmp_path, [engine]) as node:
        await engine.fault(kind, paths=("/api/show",))
        shown = await node.http.post("/api/show", json={"model": "gemma3:4b"})
        assert shown.status_code == 200
        assert shown.json()["model_info"]["general.basename"] == "gemma3:4b"


@pytest.mark.parametrize("dialect", ["vllm", "mlx", "lmstudio", "openai"])
async def test_others_are_not_asked_for_what_they_do_not_have(tmp_path: Path, dialect: str) -> None:
    async with SimulatedEngine(dialect, "a", ("llama-3.2-3b",)) as engine, Node(tmp_path, [engine]) as node:  # type: ignore[arg-type]
        shown = await node.http.post("/api/show", json={"model": "llama-3.2-3b"})
        assert "tools" in shown.json()["capabilities"]
        assert engine.calls("/api/") == []
