"""What a user sees of a cluster that is short of requests, restarts, or has services that can't be used."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from clouds.test_cluster_places import add, campus
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService
from node import Node


def lists(cluster: SimulatedCluster) -> int:
    """How often the manager was asked for its services."""
    return sum(request.path == "/services" for request in cluster.request_log.entries)


async def check(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = (await node.http.post("/mesh/backends/campus/check")).json()
    return found


@pytest.mark.parametrize("how", ["check", "refresh", "off and on"])
async def test_check_now_asks_the_manager_though_the_account_has_few_requests(
    tmp_path: Path, how: str
) -> None:
    async with SimulatedCluster(limit=500) as cluster, Node(tmp_path) as node:
        await add(node, cluster)
        before = lists(cluster)
        if how == "check":
            assert (await check(node))["ok"]
        elif how == "refresh":
            await node.refresh()
        else:
            await node.http.post("/mesh/backends/campus/disable")
            await node.http.post("/mesh/backends/campus/enable")
            await node.until("campus", "healthy")
        assert lists(cluster) == before + 1


async def test_check_now_tells_that_the_manager_is_dead_though_the_account_has_few_requests(
    tmp_path: Path,
) -> None:
    async with SimulatedCluster(limit=500) as cluster, Node(tmp_path) as node:
        await add(node, cluster)
        await cluster.stop_manager()
        report = await check(node)
    assert not report["ok"]
    assert "Connection refused" in report["text"]


async def test_a_check_that_may_not_be_sent_says_when_it_may(tmp_path: Path) -> None:
    async with SimulatedCluster() as cluster, Node(tmp_path) as node:
        await add(node, cluster)
        cluster.limit = 0
        cluster.limited_headers = (("Retry-After", "1200"),)
        first, second = await check(node), await check(node)
        asked = lists(cluster)
        third = await check(node)
        shown = await node.backend("campus")
        assert lists(cluster) == asked
    for report in (first, second, third):
        assert not report["ok"]
        assert "used up its number of requests" in report["text"]
        assert "It is asked again in 20 min." in report["fix"]
    assert shown["about"]["Requests left"].startswith("0 of 10,000")


async def test_the_latency_of_the_manager_has_a_label_of_its_own(tmp_path: Path) -> None:
    async with campus(tmp_path, ClusterService("a", ("m",))) as (node, _):
        shown = await node.backend("campus")
    assert " ms (its API, not a model)" in shown["about"]["Manager latency"]
    assert "Latency" not in shown["about"]
    assert shown["latency_ms"] > 0


async def test_the_page_of_a_proxy_before_a_restarting_manager_is_said_to_be_that(tmp_path: Path) -> None:
    async with campus(tmp_path, ClusterService("a", ("m",))) as (node, cluster):
        cluster.fault = "restarting"
        report = await check(node)
        assert "a proxy without its manager, which may be restarting" in report["text"]
        assert "(502)" not in report["text"]
        assert "address" not in report["fix"]
        assert (await node.chat("m")).status_code == 200
        cluster.fault = None
        assert (await check(node))["ok"]


async def test_a_service_without_an_active_route_is_named_with_its_state(tmp_path: Path) -> None:
    idle, other = ClusterService("idle", ("m",)), ClusterService("other", ("n",))
    async with campus(tmp_path, idle, other) as (node, _):
        assert (await node.chat("m")).status_code == 200
        idle.routes = 0
        await node.refresh()
        shown = await node.backend("campus")
        answers = [await node.chat(name) for name in ("m", "campus/m", "campus/idle")]
        explained = await node.http.get("/mesh/route?model=m")
        listed = {model["id"] for model in (await node.http.get("/v1/models")).json()["data"]}
        assert (await node.chat("n")).status_code == 200
        idle.routes = 1
        await node.refresh()
        await node.refresh()
        assert (await node.chat("m")).status_code == 200
    assert shown["about"]["Service idle"] == "no active route (0 of 1 wanted)"
    assert shown["about"]["Services"] == "2, 1 with an active route"
    for answer in (*answers, explained):
        assert answer.status_code == 503
        assert (
            "campus: The service idle can't be used: no active route (0 of 1 wanted)."
            in answer.json()["error"]["message"]
        )
        assert "Start it in Backend.AI" in answer.json()["error"]["hint"]
    assert listed == {"n", "campus/other"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"routes": 0}, "no active route (0 of 1 wanted)"),
        ({"routes": 0, "desired": 0}, "it is stopped (0 replicas wanted)"),
        ({"endpoint": ""}, "it has no address yet"),
        ({"endpoint": "ftp://x/"}, "does not begin with"),
        ({"is_openai": False, "is_public": True}, "not OpenAI-compatible"),
        ({"refuses_tokens": True}, "app proxy"),
        ({"models": ()}, "it lists no model"),
    ],
)
async def test_a_cluster_whose_only_service_can_not_be_used_is_amber_and_says_why(
    tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    service = ClusterService("only", ("m",))
    for name, value in change.items():
        setattr(service, name, value)
    async with SimulatedCluster([service]) as cluster, Node(tmp_path) as node:
        draft = {"kind": "cluster", "name": "campus", "url": cluster.url, "access_key": ACCESS_KEY}
        assert (await node.http.post("/mesh/backends", json=draft | {"api_key": SECRET_KEY})).is_success
        await node.refresh()
        snapshot = (await node.http.get("/mesh/snapshot")).json()
        shown = await node.backend("campus")
        listed = (await node.http.get("/v1/models")).json()["data"]
        answer = await node.chat("campus/only")
    assert shown["health"]["state"] == "healthy"
    assert text in shown["degraded"]
    assert shown["degraded"] in shown["warnings"]
    assert snapshot["light"] == "amber"
    assert snapshot["light_reason"].startswith("1 of 1 can serve nothing: campus: The only model service")
    assert listed == []
    assert answer.status_code == 503
    assert text in answer.json()["error"]["message"]
    assert answer.json()["error"]["message"].endswith(".")


async def test_a_cluster_of_which_one_service_can_be_used_is_green(tmp_path: Path) -> None:
    services = ClusterService("idle", routes=0), ClusterService("chat", ("m",))
    async with SimulatedCluster(services) as cluster, Node(tmp_path) as node:
        draft = {"kind": "cluster", "name": "campus", "url": cluster.url, "access_key": ACCESS_KEY}
        await node.http.post("/mesh/backends", json=draft | {"api_key": SECRET_KEY})
        await node.refresh()
        snapshot = (await node.http.get("/mesh/snapshot")).json()
    assert snapshot["light"] == "green"
    assert snapshot["backends"][0]["warnings"] == []


async def test_a_service_has_one_token_from_adding_the_cluster_on_and_after_a_restart_too(
    tmp_path: Path,
) -> None:
    services = [ClusterService("a", ("m",)), ClusterService("b", ("n",))]
    async with SimulatedCluster(services) as cluster:
        async with Node(tmp_path) as node:
            await add(node, cluster)
            assert (await node.chat("m")).status_code == 200
            assert len(cluster.token_rows) == 2
        for _ in range(2):
            async with Node(tmp_path) as node:
                await node.refresh()
                assert {(await node.chat(model)).status_code for model in ("m", "n")} == {200}
        assert sorted(service for service, _ in cluster.token_rows) == sorted(s.id for s in services)
        kept = b"".join(path.read_bytes() for path in (tmp_path / "tokens").iterdir())
        modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "tokens").iterdir()}
    assert kept
    assert modes == {0o600}
    for _, token in cluster.token_rows:
        assert token.encode() not in kept
        assert token.split(".")[1].encode() not in kept


async def test_a_kept_token_that_was_revoked_meanwhile_is_replaced_once(tmp_path: Path) -> None:
    async with SimulatedCluster([ClusterService("a", ("m",))]) as cluster:
        async with Node(tmp_path) as node:
            await add(node, cluster)
        cluster.services[0].issuer.revoke()
        async with Node(tmp_path) as node:
            assert (await node.chat("m")).status_code == 200
        assert len(cluster.token_rows) == 2


@pytest.mark.parametrize("status", [404, 429, 500, 502, 503, 504])
async def test_an_error_of_the_app_proxy_itself_reaches_clients_in_their_own_shape(
    tmp_path: Path, status: int
) -> None:
    service = ClusterService("a", ("m",))
    async with campus(tmp_path, service) as (node, _):
        service.proxy_status = status
        answer = await node.chat("m")
        messages = await node.http.post(
            "/v1/messages",
            json={"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
        )
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert "E50001: Circuit is not reachable" in answer.json()["error"]["message"]
    assert messages.json()["type"] == "error"
    assert "api.backend.ai/probs" not in answer.text + messages.text


async def test_the_address_of_a_web_ui_marks_the_field_of_the_address(tmp_path: Path) -> None:
    async with SimulatedCluster() as cluster, Node(tmp_path) as node:
        cluster.fault = "web-ui"
        draft = {"kind": "cluster", "name": "campus", "url": cluster.url, "access_key": ACCESS_KEY}
        refused = await node.http.post("/mesh/backends", json=draft | {"api_key": SECRET_KEY})
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "url"


async def test_a_request_that_waits_at_a_service_has_the_service_checked_and_not_the_manager(
    tmp_path: Path,
) -> None:
    service = ClusterService("slow", ("m",))
    async with campus(tmp_path, service) as (node, cluster):
        channel: Any = node.service._connections.get("campus").channel  # type: ignore[union-attr]
        state = channel._models._at("slow")
        before, total = lists(cluster), service.request_log.total
        for _ in range(20):
            state.checked_at = float("-inf")  # as a second later
            channel.check_soon("slow")
            await asyncio.wait((state.task,))
        assert service.request_log.total == total + 20
        assert lists(cluster) - before < 5
