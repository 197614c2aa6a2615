"""The simulated engines load and unload as strictly as the real ones."""

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect


async def post(engine: SimulatedEngine, path: str, body: object) -> tuple[int, object]:
    async with httpx.AsyncClient(base_url=engine.url, trust_env=False, timeout=30.0) as http:
        answer = await http.post(path, json=body)
        return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("dialect", "path", "body", "status"),
    [
        ("lmstudio", "/api/v1/models/load", {"model": "nobody"}, 404),
        ("lmstudio", "/api/v1/models/load", {"model": "b", "path": "/etc"}, 400),
        ("lmstudio", "/api/v1/models/load", {}, 400),
        ("lmstudio", "/api/v1/models/unload", {"model": "a"}, 400),
        ("lmstudio", "/api/v1/models/unload", {"instance_id": "b"}, 404),
        ("llamacpp", "/models/load", {"model": "nobody"}, 404),
        ("llamacpp", "/models/load", {}, 404),
        ("llamacpp", "/models/load", {"model": "a"}, 400),
        ("llamacpp", "/models/unload", {"model": "b"}, 400),
        ("llamacpp", "/models/unload", {"model": "nobody"}, 400),
        ("llamacpp", "/models/unload", [], 400),
        ("ollama", "/api/generate", {"model": "a", "keep_alive": True}, 400),
        ("ollama", "/api/generate", {"model": "my-embed"}, 400),
    ],
)
async def test_what_the_real_ones_refuse_is_refused(
    dialect: Dialect, path: str, body: object, status: int
) -> None:
    async with SimulatedEngine(dialect, models=("a", "b", "my-embed")) as engine:
        assert (await post(engine, path, body))[0] == status
        assert engine.facts.loaded == {"a"}


async def test_ollama_loads_and_unloads_by_an_empty_prompt() -> None:
    async with SimulatedEngine("ollama", models=("a", "b")) as engine:
        assert (await post(engine, "/api/generate", {"model": "b"}))[1]["done_reason"] == "load"  # type: ignore[index]
        assert engine.facts.loaded == {"a", "b"}
        done = await post(engine, "/api/chat", {"model": "a", "messages": [], "keep_alive": 0})
        assert done[1]["done_reason"] == "unload"  # type: ignore[index]
        assert engine.facts.loaded == {"b"}


async def test_a_server_with_one_model_is_no_router() -> None:
    async with SimulatedEngine("llamacpp", models=("a",)) as engine:
        for verb in ("load", "unload"):
            assert (await post(engine, f"/models/{verb}", {"model": "a"}))[0] == 404
