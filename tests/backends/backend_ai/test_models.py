"""Which models a cluster serves, and the way to each."""

import asyncio

import pytest

from backends.backend_ai.cluster_rig import rig
from meshlight.backends.backend_ai.models import CHECK_AGAIN_S, CHECK_EVERY_S
from meshlight.domain.errors import RouteUnavailable
from meshlight.simulator.backend_ai.manager import SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService

TWO = ("qwen3-32b", "qwen3-32b-lora")


async def test_the_ids_that_the_services_serve_are_the_models_and_their_names_lead_to_them_too() -> None:
    services = [ClusterService("chat", TWO), ClusterService("embed", ("bge-m3",), is_public=True)]
    async with rig(SimulatedCluster(services)) as r:
        probe = await r.healthy()
        by_id, by_name = await r.chat("qwen3-32b-lora"), await r.chat("chat")
        assert [service.request_log.entries[-1].json()["model"] for service in services[:1]] == ["qwen3-32b"]
    assert probe.models == (*TWO, "bge-m3")
    assert probe.names == {"chat": "qwen3-32b", "embed": "bge-m3"}
    assert (by_id.status, by_name.status) == (200, 200)


async def test_a_public_service_is_used_without_a_token_and_others_with_one_in_the_old_scheme() -> None:
    services = [ClusterService("open", ("a",), is_public=True), ClusterService("closed", ("b",))]
    async with rig(SimulatedCluster(services)) as r:
        await r.healthy()
        assert await r.token("a") == ""
        assert (await r.token("b")).startswith("BackendAI ey")
        assert r.cluster.token_requests == 1
        way = await r.channel.route("b", r.secret)
    assert dict(way.auth)[b"accept"] == b"application/json, text/event-stream"


async def test_two_services_of_one_model_are_told_apart_by_their_names() -> None:
    services = [ClusterService("first", ("m",)), ClusterService("second", ("m",))]
    async with rig(SimulatedCluster(services)) as r:
        assert (await r.healthy()).models == ("m",)
        for name, used in (("m", 0), ("first", 0), ("second", 1)):
            await r.chat(name)
            assert services[used].request_log.entries[-1].method == "POST"
            assert services[1 - used].request_log.entries[-1].target != (
                "/v1/chat/completions" if used == 0 else ""
            )


async def test_a_service_named_as_a_model_is_no_further_name() -> None:
    services = [ClusterService("m", ("other",)), ClusterService("s", ("m",))]
    async with rig(SimulatedCluster(services)) as r:
        probe = await r.healthy()
        way = await r.channel.route("m", r.secret)
        assert way.upstream.address.url == services[1].url
    assert probe.names == {"s": "m"}


async def test_what_is_not_openai_compatible_is_told_and_not_routed() -> None:
    async with rig(
        SimulatedCluster([ClusterService("jupyter", is_openai=False), ClusterService("chat")])
    ) as r:
        probe = await r.healthy()
        with pytest.raises(RouteUnavailable, match="not OpenAI-compatible"):
            await r.channel.route("jupyter", r.secret)
    assert probe.models == ("llama-3.3-70b",)
    assert probe.names == {"chat": "llama-3.3-70b"}
    assert probe.about is not None
    assert probe.about["Service jupyter"] == "not OpenAI-compatible"


async def test_a_service_without_an_active_route_is_not_asked() -> None:
    service = ClusterService("idle", routes=0)
    async with rig(SimulatedCluster([service])) as r:
        assert (await r.healthy()).models == ()
        with pytest.raises(
            RouteUnavailable, match=r"The service idle can't be used: no active route \(0 of 1 wanted\)\."
        ):
            await r.channel.route("idle", r.secret)
        assert (service.request_log.total, r.cluster.token_requests) == (0, 0)


async def test_a_service_that_stopped_is_known_with_its_reason_and_back_with_its_routes() -> None:
    services = [ClusterService("chat", ("a", "b")), ClusterService("other", ("b",))]
    async with rig(SimulatedCluster(services)) as r:
        await r.healthy()
        services[0].routes, services[0].endpoint = 0, ""
        probe = await r.healthy()
        assert (probe.models, probe.names) == (("b",), {"other": "b"})
        assert probe.unusable is not None
        assert set(probe.unusable) == {"chat", "a"}  # b is served by the other one
        assert "no active route (0 of 1 wanted)" in probe.unusable["a"].text
        with pytest.raises(RouteUnavailable, match="no active route"):
            await r.channel.route("a", r.secret)
        services[0].routes, services[0].endpoint = 1, None
        probe = await r.healthy()
        assert probe.models == ("a", "b")
        assert probe.unusable == {}
        assert r.cluster.token_requests == 2  # its token is as good as before


async def test_two_services_of_one_name_each_have_a_line_of_their_own() -> None:
    services = [ClusterService("twin", routes=0), ClusterService("twin", routes=0)]
    services[1].id = "another"
    async with rig(SimulatedCluster(services)) as r:
        about = (await r.healthy()).about
    assert about is not None
    assert {label for label in about if label.startswith("Service twin (")} == {
        f"Service twin ({services[0].id})",
        "Service twin (another)",
    }


async def test_check_now_checks_services_with_a_problem_too() -> None:
    service = ClusterService("chat", is_openai=False)
    async with rig(SimulatedCluster([service])) as r:
        assert (await r.healthy()).models == ()
        service.is_openai = True
        assert (await r.healthy()).models == ()
        r.channel.check_now()
        await r.healthy()
        await r.settle()
        assert (await r.healthy()).models == ("llama-3.3-70b",)


async def test_a_slow_service_holds_no_probe_up_and_what_it_serves_comes_with_a_later_one() -> None:
    slow = ClusterService("slow", ("late",))
    slow.hangs = True
    async with rig(SimulatedCluster([slow, ClusterService("quick", ("early",))]), first_check_s=0.0) as r:
        assert (await r.healthy()).models == ()
        await r.settle("quick")
        probe = await r.healthy()
        assert probe.models == ("early",)
        assert probe.names == {"slow": "", "quick": "early"}
        assert (await r.healthy()).models == ("early",)
        slow.hangs = False
        await slow.stop()
        await slow.start()
        await r.settle()
        r.now += CHECK_AGAIN_S
        await r.healthy()
        await r.settle()
        assert (await r.healthy()).models == ("late", "early")


async def test_a_service_is_asked_again_after_a_minute_and_at_once_when_its_routes_change() -> None:
    service = ClusterService("chat", ("a",))
    async with rig(SimulatedCluster([service])) as r:
        await r.healthy()
        service.models = ("b",)
        r.now += CHECK_EVERY_S - 1
        assert (await r.healthy()).models == ("a",)
        assert service.request_log.total == 1
        r.now += 1
        await r.healthy()
        await r.settle()
        assert (await r.healthy()).models == ("b",)
        service.models, service.routes = ("c",), 2
        await r.healthy()
        await r.settle()
        assert (await r.healthy()).models == ("c",)
        assert service.request_log.total == 3


async def test_a_service_that_is_gone_takes_its_models_along_and_one_that_came_brings_them() -> None:
    async with rig() as r:
        await r.healthy()
        r.cluster.services[0].routes = 0
        assert (await r.healthy()).models == ()
        await r.cluster.add(ClusterService("new", ("m",)))
        assert (await r.healthy()).models == ("m",)


async def test_a_service_is_asked_when_its_name_is_used_before_anybody_knows_what_it_serves() -> None:
    async with rig(first_check_s=0.0) as r:
        assert (await r.healthy()).names == {"llama-chat": ""}
        way = await r.channel.route("llama-chat", r.secret)
    assert way.model == "llama-3.3-70b"


async def test_a_service_that_fails_keeps_the_models_it_had_and_says_what_is_wrong() -> None:
    service = ClusterService("chat", ("m",), is_public=True)
    async with rig(SimulatedCluster([service])) as r:
        await r.healthy()
        await service.stop()
        r.now += CHECK_EVERY_S
        await r.healthy()
        await r.settle()
        probe = await r.healthy()
    assert probe.models == ("m",)
    assert probe.about is not None
    assert "Connection refused" in probe.about["Service chat"]


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("ftp://x/", "does not begin with"),
        ("https://user:pw@app.example/", "user name or password"),
        ("http://169.254.169.254/", "link-local"),
    ],
)
async def test_an_address_that_may_not_be_asked_is_not_asked(endpoint: str, said: str) -> None:
    service = ClusterService("odd")
    service.endpoint = endpoint
    async with rig(SimulatedCluster([service])) as r:
        await r.healthy()
        probe = await r.healthy()
        with pytest.raises(RouteUnavailable):
            await r.channel.route("odd", r.secret)
    assert probe.models == ()
    assert probe.about is not None
    assert said in probe.about["Service odd"]
    assert "pw" not in probe.about["Service odd"]


async def test_a_request_that_comes_before_the_first_probe_waits_for_it() -> None:
    async with rig() as r:
        early = asyncio.ensure_future(r.channel.route("llama-chat", None))
        await r.healthy()
        assert (await early).model == "llama-3.3-70b"


async def test_a_request_to_a_cluster_that_never_answered_is_told_why() -> None:
    async with rig() as r:
        r.secret = "wrong"
        await r.why()
        with pytest.raises(RouteUnavailable, match="secret key is wrong"):
            await r.channel.route("llama-3.3-70b", r.secret)


async def test_models_stay_in_reach_while_only_the_manager_fails() -> None:
    async with rig() as r:
        await r.healthy()
        r.cluster.fault = "failing"
        await r.why()
        assert (await r.chat("llama-3.3-70b")).status == 200
