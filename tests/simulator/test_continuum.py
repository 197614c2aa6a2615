"""The stand-in of Continuum Router: its list, its admin page, its socket."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from meshlight.simulator.continuum import SimulatedContinuum, SimulatedUpstream

ASK = [{"role": "user", "content": "hello"}]


async def test_it_lists_models_and_answers_both_protocols(http: httpx.AsyncClient) -> None:
    async with SimulatedContinuum() as router:
        listed = (await http.get(f"{router.url}/v1/models")).json()
        body = {"model": "qwen3-32b", "max_tokens": 3, "messages": ASK}
        chat = await http.post(f"{router.url}/v1/chat/completions", json=body)
        message = await http.post(f"{router.url}/anthropic/v1/messages", json=body)
        health = await http.get(f"{router.url}/health")
    assert [model["id"] for model in listed["data"]] == list(router.models)
    assert chat.json()["choices"][0]["finish_reason"] == "length"
    assert message.json()["stop_reason"] == "max_tokens"
    assert health.json()["status"] == "healthy"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/anthropic/v1/messages"])
async def test_in_blocking_mode_it_wants_its_key(http: httpx.AsyncClient, path: str) -> None:
    async with SimulatedContinuum(key="k") as router:
        body = {"model": "qwen3-32b", "max_tokens": 3, "messages": ASK}
        assert (await http.post(router.url + path, json=body)).status_code == 401
        good = await http.post(router.url + path, json=body, headers={"authorization": "Bearer k"})
        assert good.status_code == 200


async def test_only_an_admin_sees_what_is_behind(http: httpx.AsyncClient) -> None:
    sick = SimulatedUpstream(
        name="gpu2", url="http://10.0.0.2:8000", is_healthy=False, last_error="timed out"
    )
    async with SimulatedContinuum(behind=[sick], admin_key="a") as router:
        assert (await http.get(f"{router.url}/admin/backends")).status_code == 401
        logged = await http.get(f"{router.url}/admin/backends", headers={"authorization": "Bearer a"})
        assert logged.json()["backends"][0]["last_error"] == "timed out"
        assert (
            await http.get(f"{router.url}/admin/x", headers={"authorization": "Bearer a"})
        ).status_code == 404


async def test_it_warms_up_with_503(http: httpx.AsyncClient) -> None:
    async with SimulatedContinuum() as router:
        router.is_warming = True
        assert (await http.get(f"{router.url}/v1/models")).status_code == 503


async def test_it_answers_over_a_socket_and_takes_it_away() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "r.sock")
        async with SimulatedContinuum(socket=path) as router:
            assert router.url == f"unix://{path}"
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport) as http:
                assert (await http.get("http://localhost/v1/models")).status_code == 200
        assert list(os.scandir(folder)) == []
