"""The set of engines that the demo command runs."""

import httpx

from meshlight.simulator.clouds.base import KEY
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FAULT_KINDS
from meshlight.simulator.scenario import LOAD_S, LONG_CONTEXT, Scenario


async def test_five_kinds_answer_and_one_fails_its_requests(http: httpx.AsyncClient) -> None:
    async with Scenario(base_port=0) as scenario:
        assert len({engine.kind for engine in scenario.engines}) == 5
        statuses = [(await http.get(engine.url + "/v1/models")).status_code for engine in scenario.engines]
        assert statuses == [200] * 5
        chat = {"model": "gemma3:4b", "messages": [{"role": "user", "content": "hi"}]}
        ask = f"{scenario.broken.url}/v1/chat/completions"
        assert (await http.post(ask, json=chat)).status_code == 500
        await http.delete(f"{scenario.broken.control_url}/fault")
        assert (await http.post(ask, json=chat)).status_code == 200


async def test_what_is_farther_away_answers_to_its_key_alone(http: httpx.AsyncClient) -> None:
    async with Scenario(base_port=0) as scenario:
        assert len({simulated.id for simulated in scenario.backends}) == len(scenario.backends) == 10
        assert {simulated.ring for simulated in scenario.backends} == {"machine", "company", "cloud"}
        assert all(simulated.name.startswith("Demo ") for simulated in scenario.backends)
        assert (await http.get(scenario.continuum.url + "/v1/models")).status_code == 200
        assert (await http.get(scenario.openai.url + "/v1/models")).status_code == 401
        bearer = {"authorization": f"Bearer {KEY}"}
        assert (await http.get(scenario.openai.url + "/v1/models", headers=bearer)).status_code == 200
        assert (await http.get(scenario.cluster.url + "/")).status_code == 200


async def test_each_has_a_model_that_another_has_too() -> None:
    engines = Scenario(base_port=0).engines
    for engine in engines:
        others = {model for other in engines if other is not engine for model in other.models}
        assert others & set(engine.models)


async def test_one_model_is_warm_here_cold_there_and_has_room_for_a_long_prompt_at_one(
    http: httpx.AsyncClient,
) -> None:
    async with Scenario(base_port=0) as scenario:
        model = "qwen3-8b"
        assert model not in scenario.llamacpp.facts.loaded
        assert model in scenario.vllm.facts.loaded
        listed = (await http.get(scenario.vllm.url + "/v1/models")).json()["data"]
        assert {entry["id"]: entry["max_model_len"] for entry in listed}[model] == LONG_CONTEXT


async def test_a_cold_model_takes_time_to_load_until_it_is_cold_again(http: httpx.AsyncClient) -> None:
    waits: list[float] = []

    async def pace(seconds: float) -> None:
        waits.append(seconds)

    async with Scenario(base_port=0, pace=pace) as scenario:
        engine = scenario.llamacpp
        body = {"model": "qwen3-8b", "messages": [{"role": "user", "content": "hi"}]}
        for expected in (1, 1, 2):
            assert (await http.post(engine.url + "/v1/chat/completions", json=body)).status_code == 200
            assert waits.count(LOAD_S) == expected
            if waits.count(engine.facts.speech.first_token_s) == 2:
                scenario.cool()
        assert "qwen3-8b" in engine.facts.loaded


async def test_a_port_that_is_taken_is_replaced(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("openai", control_port=None) as guest:
        async with Scenario(base_port=guest.port) as scenario:
            assert scenario.llamacpp.port != guest.port
            assert (await http.get(scenario.llamacpp.url + "/health")).status_code == 200
        assert (await http.get(guest.url + "/v1/models")).status_code == 200


async def test_it_says_where_everything_is_and_how_to_break_it() -> None:
    async with Scenario(base_port=0) as scenario:
        text = scenario.describe()
    for engine in scenario.engines:
        assert engine.url in text
        assert f"{engine.control_url}/fault" in text
    for simulated in scenario.backends:
        assert simulated.name in text
        assert simulated.url in text
        assert simulated.secret in text
    assert "no model is running" in text
    assert "fails inference: status 500" in text
    assert all(kind in text for kind in FAULT_KINDS)


async def test_its_answers_are_at_different_speeds() -> None:
    speeds = [engine.facts.speech.speed for engine in Scenario(base_port=0).engines]
    assert len(set(speeds)) == len(speeds)
