"""A node with Continuum Router behind it, played by our stand-in, over TCP and over a Unix socket."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clouds.scenario import ASK, KEY, add
from meshlight.simulator.continuum import SimulatedContinuum, SimulatedUpstream
from node import Node

SICK = SimulatedUpstream(name="gpu2", url="http://10.0.0.2:8000", is_healthy=False, last_error="timed out")
FIT = SimulatedUpstream(name="gpu1", url="http://10.0.0.1:8000")


async def test_its_models_and_the_health_of_its_backends_are_shown(node: Node) -> None:
    async with SimulatedContinuum(behind=[FIT, SICK], key=KEY, admin_key=KEY) as router:
        await add(node, "continuum", router.url)
        await node.refresh()
        shown = await node.backend("continuum")
        assert shown["models"] == list(router.models)
        assert shown["about"] == {"Backends": "1 of 2 healthy (gpu2: timed out)"}
        assert shown["ring"] == "machine"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_both_protocols_reach_it_as_they_are(node: Node, path: str) -> None:
    async with SimulatedContinuum(key=KEY) as router:
        await add(node, "continuum", router.url)
        body = {"model": router.models[0], "max_tokens": 3, "messages": ASK}
        assert (await node.http.post(path, json=body)).is_success
        assert router.requests[-1].path in {"/v1/chat/completions", "/anthropic/v1/messages"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for us")
async def test_it_is_reached_through_its_socket(node: Node) -> None:
    with TemporaryDirectory() as folder:
        async with SimulatedContinuum(socket=Path(folder, "r.sock")) as router:
            shown = await add(node, "continuum", router.url, key="")
            assert shown["url"] == router.url
            assert (shown["ring"], shown["health"]["state"]) == ("machine", "healthy")
            body = {"model": router.models[0], "messages": ASK, "stream": True}
            async with node.http.stream("POST", "/v1/chat/completions", json=body) as answer:
                lines = [line async for line in answer.aiter_lines() if line]
            assert lines[-1] == "data: [DONE]"
            assert router.requests[-1].header("host") == "localhost"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for us")
async def test_a_socket_that_is_not_there_is_told_by_its_path(node: Node) -> None:
    body = {"kind": "continuum", "url": "unix:///run/nowhere.sock"}
    refused = await node.http.post("/mesh/backends", json=body)
    assert refused.status_code == 422
    assert "There is no socket at /run/nowhere.sock" in refused.json()["error"]["message"]


async def test_while_it_warms_up_it_is_amber(node: Node) -> None:
    async with SimulatedContinuum() as router:
        router.is_warming = True
        shown = await add(node, "continuum", router.url, key="")
        assert shown["health"]["state"] == "warming"
        router.is_warming = False
        await node.refresh()
        assert (await node.backend("continuum"))["health"]["state"] == "healthy"


async def test_an_older_one_without_anthropics_faces_is_asked_in_openais(node: Node) -> None:
    async with SimulatedContinuum() as router:
        await add(node, "continuum", router.url, key="")
        await router.fault("status", status=404, paths=("/anthropic/",))
        body = {"model": router.models[0], "max_tokens": 3, "messages": ASK}
        answer = await node.http.post("/v1/messages", json=body)
        assert answer.json()["stop_reason"] == "max_tokens"
        assert router.requests[-1].path == "/v1/chat/completions"
