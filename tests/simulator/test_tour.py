"""The demo beside a user's own backends."""

import httpx

from meshlight.simulator.tour import Tour


async def test_no_real_model_has_one_of_its_names_and_each_backend_answers(http: httpx.AsyncClient) -> None:
    async with Tour() as tour:
        assert all(model.startswith("demo-") for one in tour.backends for model in one.models)
        assert all(one.name.startswith("Demo ") and not one.secret for one in tour.backends)
        assert [one.ring for one in tour.backends] == ["machine", "machine", "company", "cloud"]
        for one in tour.backends:
            listed = (await http.get(f"{one.url}/v1/models")).json()["data"]
            assert [model["id"] for model in listed] == list(one.models)
