"""The set of engines that the demo command runs."""

import httpx

from meshlight.demo.cloud import KEY
from meshlight.demo.engine import Engine
from meshlight.demo.fault import FAULT_KINDS
from meshlight.demo.town import Town


async def test_five_kinds_answer_and_one_fails_its_requests(http: httpx.AsyncClient) -> None:
    async with Town(base_port=0) as town:
        assert len({engine.kind for engine in town.engines}) == 5
        statuses = [(await http.get(engine.url + "/v1/models")).status_code for engine in town.engines]
        assert statuses == [200] * 5
        chat = {"model": "qwen3-8b", "messages": [{"role": "user", "content": "hi"}]}
        ask = f"{town.broken.url}/v1/chat/completions"
        assert (await http.post(ask, json=chat)).status_code == 500
        await http.delete(f"{town.broken.control_url}/fault")
        assert (await http.post(ask, json=chat)).status_code == 200


async def test_what_is_farther_away_answers_to_its_key_alone(http: httpx.AsyncClient) -> None:
    async with Town(base_port=0) as town:
        assert len({house.id for house in town.houses}) == len(town.houses) == 10
        assert {house.ring for house in town.houses} == {"machine", "company", "cloud"}
        assert all(house.name.startswith("Demo ") for house in town.houses)
        assert (await http.get(town.continuum.url + "/v1/models")).status_code == 200
        assert (await http.get(town.openai.url + "/v1/models")).status_code == 401
        bearer = {"authorization": f"Bearer {KEY}"}
        assert (await http.get(town.openai.url + "/v1/models", headers=bearer)).status_code == 200
        assert (await http.get(town.cluster.url + "/")).status_code == 200


async def test_each_has_a_model_that_another_has_too() -> None:
    engines = Town(base_port=0).engines
    for engine in engines:
        others = {model for other in engines if other is not engine for model in other.models}
        assert others & set(engine.models)


async def test_a_port_that_is_taken_is_replaced(http: httpx.AsyncClient) -> None:
    async with Engine("openai", control_port=None) as guest:
        async with Town(base_port=guest.port) as town:
            assert town.llamacpp.port != guest.port
            assert (await http.get(town.llamacpp.url + "/health")).status_code == 200
        assert (await http.get(guest.url + "/v1/models")).status_code == 200


async def test_it_says_where_everything_is_and_how_to_break_it() -> None:
    async with Town(base_port=0) as town:
        text = town.describe()
    for engine in town.engines:
        assert engine.url in text
        assert f"{engine.control_url}/fault" in text
    for house in town.houses:
        assert house.name in text
        assert house.url in text
        assert house.secret in text
    assert "no model is running" in text
    assert "fails inference: status 500" in text
    assert all(kind in text for kind in FAULT_KINDS)


async def test_its_answers_are_at_different_speeds() -> None:
    speeds = [engine.facts.speech.speed for engine in Town(base_port=0).engines]
    assert len(set(speeds)) == len(speeds)
