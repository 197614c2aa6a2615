"""Services of one cluster with the same model are routes of their own: they share the load, and stand in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService
from meshlight.simulator.protocols.text import Speech, StepGate
from node import WAIT_S, Node

CHAT = "/v1/chat/completions"


async def add(node: Node, cluster: SimulatedCluster) -> None:
    """Add a cluster as a person does, and wait until its models are known."""
    draft = {
        "kind": "cluster",
        "name": "campus",
        "url": cluster.url,
        "access_key": ACCESS_KEY,
        "api_key": SECRET_KEY,
    }
    added = await node.http.post("/mesh/backends", json=draft)
    assert added.is_success, added.text
    channel: Any = node.service._connections.get("campus").channel  # type: ignore[union-attr]
    async with asyncio.timeout(WAIT_S):
        while any(state.ids is None for state in channel._models._states.values()) or not channel._services:
            await node.refresh()
    await node.refresh()


@asynccontextmanager
async def campus(tmp_path: Path, *services: ClusterService) -> AsyncIterator[tuple[Node, SimulatedCluster]]:
    async with SimulatedCluster(services) as cluster, Node(tmp_path) as node:
        await add(node, cluster)
        yield node, cluster


def two() -> tuple[ClusterService, ClusterService]:
    return ClusterService("first", ("m",)), ClusterService("second", ("m",))


async def routes(node: Node, model: str = "m") -> dict[str, str]:
    """Return the tier of each place."""
    found = (await node.http.get(f"/mesh/route?model={model}")).json()["routes"]
    return {route["place"]: route["tier"] for route in found}


def talk(number: int) -> list[dict[str, str]]:
    """Begin a conversation of its own: one that goes on stays where it was."""
    return [{"role": "user", "content": f"hi, {number}"}]


async def test_two_services_of_one_model_share_the_load(tmp_path: Path) -> None:
    first, second = two()
    async with campus(tmp_path, first, second) as (node, _):
        for number in range(8):
            assert (await node.chat("m", messages=talk(number))).status_code == 200
        assert (len(first.calls()), len(second.calls())) == (4, 4)


async def test_a_route_names_its_service(tmp_path: Path) -> None:
    async with campus(tmp_path, *two()) as (node, _):
        found = (await node.http.get("/mesh/route?model=m")).json()
        assert {route["name"] for route in found["routes"]} == {"campus/first", "campus/second"}
        assert {route["backend"] for route in found["routes"]} == {found["answers"]} == {"campus"}


async def test_the_one_with_fewer_requests_under_way_gets_the_next(tmp_path: Path) -> None:
    gate = StepGate()
    slow = ClusterService("first", ("m",), speech=Speech(first_token_s=1, pace=gate))
    quick = ClusterService("second", ("m",))
    async with campus(tmp_path, slow, quick) as (node, _):
        waiting = [asyncio.create_task(node.chat("m")) for _ in range(2)]
        await slow.request_log.until(lambda: bool(slow.calls()), lambda: "nobody came", WAIT_S)
        for _ in range(4):
            assert (await node.chat("m")).status_code == 200
        assert len(slow.calls()) == 1
        gate.open()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("stop", {}),
        ("token", {}),
        ("status", {"status": 502}),
        ("status", {"status": 500}),
        ("status", {"status": 429, "retry_after_s": 30}),
        ("status", {"status": 401}),
        ("reset-headers", {}),
        ("garbage", {}),
        ("html", {}),
        ("loading", {}),
        ("error-event", {"status": 503}),
    ],
)
async def test_where_one_service_fails_the_other_answers(
    tmp_path: Path, kind: Any, details: dict[str, Any]
) -> None:
    first, second = two()
    async with campus(tmp_path, first, second) as (node, _):
        if kind == "stop":
            await first.stop()
        elif kind == "token":
            first.refuses_tokens = True
        else:
            first.fault(kind, scope="inference", **details)
        for _ in range(8):
            answer = await node.chat("m", stream=kind == "error-event")
            assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "campus")
        assert len(second.calls()) == 8
        assert (await node.backend("campus"))["health"]["state"] == "healthy"
        assert (await routes(node))["second"] == "ready"


async def test_where_one_service_hangs_the_other_answers(tmp_path: Path) -> None:
    first, second = two()
    async with campus(tmp_path, first, second) as (node, _):
        first.hangs = True
        async with asyncio.timeout(WAIT_S):
            answers = await asyncio.gather(*(node.chat("m") for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(second.calls()) == 4
        assert (await routes(node)) == {"second": "ready", "first": "last-resort"}


async def test_a_service_that_is_back_is_used_again(tmp_path: Path) -> None:
    first, second = two()
    async with campus(tmp_path, first, second) as (node, _):
        first.refuses_tokens = True
        for number in range(2):
            assert (await node.chat("m", messages=talk(number))).status_code == 200
        assert (await routes(node))["first"] == "last-resort"
        first.refuses_tokens = False
        models: Any = node.service._connections.get("campus").channel._models  # type: ignore[union-attr]
        await models._check(models._at("first"))
        assert (await routes(node))["first"] == "ready"


async def test_a_service_that_is_asked_by_its_name_is_the_only_one(tmp_path: Path) -> None:
    first, second = two()
    async with campus(tmp_path, first, second) as (node, _):
        assert (await node.chat("campus/second")).status_code == 200
        second.fault("status", status=503, scope="inference")
        assert (await node.chat("campus/second")).status_code == 503
        assert not first.calls()
        assert len(second.calls()) == 2


async def test_a_service_that_breaks_off_three_streams_is_suspect_and_the_cluster_is_not(
    tmp_path: Path,
) -> None:
    broken, other = ClusterService("broken", ("m",)), ClusterService("other", ("n",))
    async with campus(tmp_path, broken, other) as (node, _):
        broken.fault("close-body", scope="inference")
        for _ in range(3):
            answer = await node.chat("m", stream=True)
            assert "broke off" in answer.text
        assert (await node.backend("campus"))["health"]["state"] == "healthy"
        assert await routes(node) == {"broken": "last-resort"}
        assert await routes(node, "n") == {"other": "ready"}
        assert (await node.chat("n")).status_code == 200


@pytest.mark.parametrize("fault", ["failing", "gone"])
async def test_a_request_that_a_service_computes_outlives_the_manager(tmp_path: Path, fault: Any) -> None:
    gate = StepGate()
    service = ClusterService("slow", ("m",), speech=Speech(first_token_s=1, pace=gate))
    async with campus(tmp_path, service) as (node, cluster):
        asking = asyncio.create_task(node.chat("m"))
        await service.request_log.until(lambda: bool(service.calls()), lambda: "nobody came", WAIT_S)
        if fault == "gone":
            await cluster.stop_manager()
        else:
            cluster.fault = fault
        await node.until("campus", "unhealthy", within_s=40.0)
        assert not asking.done()
        gate.open()
        assert (await asking).status_code == 200
        assert (await node.chat("m")).status_code == 200  # and so do those that come now
        assert len(service.calls()) == 2


async def test_a_token_that_is_refused_for_good_is_told_as_that(tmp_path: Path) -> None:
    service = ClusterService("only", ("m",))
    async with campus(tmp_path, service) as (node, _):
        service.refuses_tokens = True
        answer = await node.chat("m")
        assert answer.status_code == 503
        message = answer.json()["error"]["message"]
        assert "Service token refused" in message
        assert "only" in message
        assert "--key" not in answer.text
        assert "app proxy" in answer.json()["error"]["hint"]
        assert (await node.backend("campus"))["health"]["state"] == "healthy"


async def test_two_services_of_the_same_name_are_two_places(tmp_path: Path) -> None:
    first, second = ClusterService("twin", ("m",)), ClusterService("twin", ("m",))
    second.id = "another"
    async with campus(tmp_path, first, second) as (node, _):
        assert set(await routes(node)) == {f"twin ({first.id})", "twin (another)"}
        for number in range(4):
            assert (await node.chat("campus/twin", messages=talk(number))).status_code == 200
        assert (len(first.calls()), len(second.calls())) == (2, 2)
