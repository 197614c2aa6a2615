"""What each engine shows to those who only look: the fingerprints that a probe goes by."""

from typing import get_args

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from meshlight.simulator.protocols.text import StepGate
from simulator.clients import OpenAIOf

MODELS = ("llama-3.2-3b", "nomic-embed-text")
OWNERS = {
    "llamacpp": "llamacpp",
    "ollama": "library",
    "vllm": "vllm",
    "mlx": None,
    "lmstudio": "organization_owner",
    "openai": "demo",
}


@pytest.mark.parametrize("dialect", get_args(Dialect))
async def test_the_openai_list_has_the_models_and_their_owner(dialect: Dialect, openai_of: OpenAIOf) -> None:
    async with SimulatedEngine(dialect, models=MODELS) as engine:
        listed = (await openai_of(engine).models.list()).data
    assert [model.id for model in listed] == list(MODELS)
    assert {getattr(model, "owned_by", None) for model in listed} == {OWNERS[dialect]}


async def test_llamacpp_shows_what_the_real_one_shows(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("llamacpp", models=MODELS[:1]) as engine:
        health = await http.get(engine.url + "/health")
        models = (await http.get(engine.url + "/v1/models")).json()
        props = (await http.get(engine.url + "/props")).json()
        metrics = await http.get(engine.url + "/metrics")
    assert health.json() == {"status": "ok"}
    assert health.headers["server"] == "llama.cpp"
    assert health.headers["keep-alive"] == "timeout=5, max=100"
    assert models["data"][0]["meta"]["n_ctx"] == 8192
    assert models["models"][0]["name"] == "llama-3.2-3b"
    assert props["total_slots"] == 4
    assert props["is_sleeping"] is False
    assert "llamacpp:requests_processing 0" in metrics.text


async def test_llamacpp_with_several_models_is_a_router_that_loads_what_is_asked_for(
    http: httpx.AsyncClient,
) -> None:
    async with SimulatedEngine("llamacpp", models=MODELS) as engine:
        before = (await http.get(engine.url + "/v1/models")).json()
        await http.post(engine.url + "/v1/embeddings", json={"model": MODELS[1], "input": "x"})
        after = (await http.get(engine.url + "/v1/models")).json()
        props = (await http.get(engine.url + "/props")).json()
    assert [model["status"]["value"] for model in before["data"]] == ["loaded", "unloaded"]
    assert ["meta" in model for model in before["data"]] == [True, False]
    assert [model["status"]["value"] for model in after["data"]] == ["loaded", "loaded"]
    assert (props["role"], props["default_generation_settings"]["n_ctx"]) == ("router", 0)


async def test_a_slot_of_llamacpp_is_busy_while_it_answers(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("llamacpp", first_token_s=1, pace=StepGate()) as engine:
        ask = {"model": MODELS[0], "prompt": "x", "stream": True}
        await engine.fault("hang-body", after_bytes=0, scope="inference")
        async with http.stream("POST", engine.url + "/v1/completions", json=ask):
            busy = (await http.get(engine.url + "/slots")).json()
        await engine.abandoned()
        free = (await http.get(engine.url + "/slots")).json()
    assert [slot["is_processing"] for slot in busy] == [True, False, False, False]
    assert not any(slot["is_processing"] for slot in free)


async def test_vllm_shows_what_the_real_one_shows(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("vllm", models=MODELS) as engine:
        for path in ("/health", "/ping"):
            reply = await http.get(engine.url + path)
            assert (reply.status_code, reply.content) == (200, b"")
            assert "content-type" not in reply.headers
        assert "version" in (await http.get(engine.url + "/version")).json()
        assert (await http.get(engine.url + "/v1/models")).json()["data"][0]["max_model_len"] == 8192
        assert "vllm:num_requests_running" in (await http.get(engine.url + "/metrics")).text


async def test_lmstudio_says_which_models_are_loaded(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("lmstudio", models=MODELS) as engine:
        url = engine.url + "/api/v0/models"
        before = (await http.get(url)).json()["data"]
        await http.post(engine.url + "/v1/embeddings", json={"model": MODELS[1], "input": "x"})
        after = (await http.get(url)).json()["data"]
    assert [model["state"] for model in before] == ["loaded", "not-loaded"]
    assert [model["state"] for model in after] == ["loaded", "loaded"]
    assert [model["type"] for model in after] == ["llm", "embeddings"]
    assert [model.get("loaded_context_length") for model in before] == [8192, None]


async def test_an_engine_without_models_still_answers(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("llamacpp", models=()) as first, SimulatedEngine("vllm", models=()) as second:
        for engine in (first, second):
            assert (await http.get(engine.url + "/v1/models")).json()["data"] == []
            assert (await http.get(engine.url + "/metrics")).status_code == 200
        assert (await http.get(first.url + "/props")).json()["model_alias"] == ""


async def test_a_model_may_come_while_the_engine_runs(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("ollama", models=["gemma3:4b"]) as engine:
        engine.models = (*engine.models, "qwen3:8b")
        tags = (await http.get(engine.url + "/api/tags")).json()["models"]
    assert [model["name"] for model in tags] == ["gemma3:4b", "qwen3:8b"]
