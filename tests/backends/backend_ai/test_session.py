"""Adding and watching a cluster: what a person sees of it."""

import pytest

from backends.backend_ai.cluster_rig import Rig, rig
from meshlight.backends.backend_ai.client import ManagerVersion
from meshlight.backends.backend_ai.kind import Cluster as ClusterKind
from meshlight.backends.backend_ai.limits import ClusterClock
from meshlight.backends.backend_ai.services import ClusterSummary, Service, warnings
from meshlight.domain.backend import Backend
from meshlight.domain.errors import RouteUnavailable
from meshlight.domain.health import Answered, Limited
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService


def test_a_person_fills_in_the_endpoint_and_both_keys() -> None:
    kind = ClusterKind()
    assert (kind.label, kind.group, kind.default_ring) == ("Backend.AI Cluster", "cluster", "company")
    fields = {field.name: field for field in kind.fields}
    assert [name for name, field in fields.items() if field.required] == ["url", "access_key", "api_key"]
    assert [name for name, field in fields.items() if field.is_secret] == ["api_key"]
    assert fields["api_key"].label == "Secret key"


def test_the_secret_key_is_carried_by_no_header() -> None:
    assert ClusterKind().authorize(SECRET_KEY) == ()


async def test_the_first_probe_says_hello_signs_in_and_lists_the_services() -> None:
    async with rig() as r:
        probe = await r.healthy()
        asked = [seen.target for seen in r.cluster.request_log.entries]
    assert asked[:3] == ["/", "/auth?echo=meshlight", "/services"]
    assert probe.models == ("llama-3.3-70b",)
    assert probe.names == {"llama-chat": "llama-3.3-70b"}
    assert probe.warnings == ()


async def test_every_later_probe_is_one_signed_request_on_the_same_connection() -> None:
    async with rig() as r:
        await r.healthy()
        before = len(r.cluster.request_log.entries)
        r.now += 5
        fact = (await r.healthy()).fact
        later = list(r.cluster.request_log.entries)[before:]
        assert [seen.target for seen in later] == ["/services"]
        assert r.cluster.request_log.connections == 1
    assert isinstance(fact, Answered)
    assert fact.latency_s is not None


async def test_the_panel_shows_versions_services_and_what_is_left_of_the_quota() -> None:
    services = [ClusterService("a"), ClusterService("b", routes=0)]
    async with rig(SimulatedCluster(services, limit=500)) as r:
        about = (await r.healthy()).about
    assert about is not None
    assert about["Manager"] == "26.9.6"
    assert about["API version"] == "v9.20250722"
    assert about["Services"] == "2, 1 with an active route"
    assert about["Requests left"] == "497 of 500 in 15 min"
    assert about["Service b"] == "no active route (0 of 1 wanted)"
    assert "Clock" not in about


async def test_an_old_manager_is_spoken_to_in_its_own_version() -> None:
    async with rig(SimulatedCluster(legacy=True)) as r:
        about = (await r.healthy()).about
        versions = {seen.header("x-backendai-version") for seen in r.cluster.calls("/services")}
    assert versions == {"v7.20230615"}
    assert about is not None
    assert about["Manager"] == "23.09.10"


async def test_a_manager_that_was_replaced_by_an_older_one_is_greeted_anew() -> None:
    async with rig() as r:
        await r.healthy()
        old = SimulatedCluster(r.cluster.services, legacy=True)
        r.cluster.legacy, r.cluster._signature_check = True, old._signature_check
        old._signature_check._clock = r.cluster._now
        about = (await r.healthy()).about
    assert about is not None
    assert about["API version"] == "v7.20230615"


async def test_a_cluster_below_a_path_is_signed_with_that_path() -> None:
    async with rig(SimulatedCluster(base="/backend")) as r:
        probe = await r.healthy()
        targets = {seen.target for seen in r.cluster.request_log.entries}
    assert probe.models == ("llama-3.3-70b",)
    assert {"/backend/", "/backend/services"} <= targets


async def test_a_path_that_would_not_be_sent_as_it_is_signed_is_told() -> None:
    async with rig(url="CLUSTER/a/../b") as r:
        why = await r.why()
        assert not r.cluster.request_log.entries
    assert "/a/../b" in why.text


async def test_a_cluster_without_a_running_service_is_healthy_and_says_what_is_missing() -> None:
    async with rig(SimulatedCluster([ClusterService("idle", routes=0)])) as r:
        probe = await r.healthy()
    assert probe.models == ()
    assert probe.warnings is not None
    assert probe.warnings == (probe.degraded,)
    assert probe.degraded == "The only model service can't be used: idle: no active route (0 of 1 wanted)."


async def test_a_clock_that_is_hours_off_is_corrected_and_told() -> None:
    async with rig() as r:
        r.ahead_s = 3 * 3600
        probe = await r.healthy()
        assert await r.token("llama-3.3-70b")
    assert probe.about is not None
    assert probe.about["Clock"] == "this computer's is 3 h behind the cluster's"
    assert probe.warnings is not None
    assert "clock is 3 h behind" in probe.warnings[0]


async def test_a_clock_that_is_set_while_we_run_costs_one_more_request_and_no_failure() -> None:
    async with rig() as r:
        await r.healthy()
        r.ahead_s = -40 * 60
        probe = await r.healthy()
    assert probe.about is not None
    assert probe.about["Clock"] == "this computer's is 40 min ahead of the cluster's"


async def test_seconds_of_difference_are_shown_and_not_warned_of() -> None:
    async with rig() as r:
        r.ahead_s = 20
        probe = await r.healthy()
        signed = r.cluster.calls("/services")[0].header("date")
    assert signed is not None
    assert signed.startswith("2026-09-21T14:13:20")
    assert probe.about is not None
    assert probe.about["Clock"].endswith("s behind the cluster's")
    assert probe.warnings == ()


async def test_a_small_quota_makes_the_probes_rare() -> None:
    async with rig(SimulatedCluster(limit=500)) as r:
        await r.healthy()
        for _ in range(3):
            r.now += 5
            assert (await r.healthy()).fact == Answered()
        assert len(r.cluster.calls("/services")) == 2  # the list, and the token of the one service
        r.now += 5
        await r.healthy()
        assert len([seen for seen in r.cluster.request_log.entries if seen.target == "/services"]) == 2


async def test_after_429_nothing_is_asked_for_a_minute_and_then_for_two() -> None:
    async with rig(SimulatedCluster([], limit=2)) as r:
        await r.healthy()
        r.now += 600
        assert (await r.probe()).fact == Answered()  # 2 in 15 min leave nothing for checks
        r.now += 3000
        r.cluster.limit = 0
        fact = (await r.probe()).fact
        assert isinstance(fact, Limited)
        assert (fact.reason.code, fact.retry_after_s) == ("rate-limited", 60.0)
        asked = len(r.cluster.request_log.entries)
        r.now += 45
        fact = (await r.probe()).fact
        assert isinstance(fact, Limited)
        assert (fact.retry_after_s, len(r.cluster.request_log.entries)) == (15.0, asked)
        r.now += 15
        fact = (await r.probe()).fact
        assert isinstance(fact, Limited)
        assert fact.retry_after_s == 120.0
        r.now += 120
        r.cluster.limit = 10_000
        await r.healthy()


async def test_between_rare_checks_an_unsigned_request_shows_a_dead_manager() -> None:
    async with rig(SimulatedCluster(limit=500)) as r:
        await r.healthy()
        before = len(r.cluster.request_log.entries)
        r.now += 5
        await r.healthy()
        assert [seen.target for seen in list(r.cluster.request_log.entries)[before:]] == ["/"]
        await r.cluster.stop_manager()
        r.now += 5
        assert (await r.why()).code == "refused"


async def test_the_limit_that_answers_to_unsigned_requests_name_is_not_the_account_s() -> None:
    async with rig(SimulatedCluster(limit=500)) as r:
        await r.healthy()
        r.now += 5
        about = (await r.healthy()).about
    assert about is not None
    assert about["Requests left"] == "497 of 500 in 15 min"


async def test_check_now_asks_between_rare_checks() -> None:
    async with rig(SimulatedCluster(limit=500)) as r:
        await r.healthy()
        r.cluster.keys.clear()
        r.now += 5
        await r.healthy()
        r.channel.check_now()
        assert "is unknown at" in (await r.why()).text


async def test_check_now_without_requests_left_says_what_it_could_not_check_and_when_it_can() -> None:
    async with rig(SimulatedCluster([], limit=2)) as r:
        await r.healthy()
        r.now += 30
        r.channel.check_now()
        probe = await r.healthy()
        assert "Keys and services were not checked" in probe.note
        assert "they are in 60 min" in probe.note
        assert len(r.cluster.calls("/services")) == 1
        await r.cluster.stop_manager()
        r.channel.check_now()
        assert (await r.why()).code == "refused"


async def test_check_now_notices_a_limit_that_was_raised() -> None:
    async with rig(SimulatedCluster([], limit=0)) as r:
        assert (await r.why()).code == "rate-limited"
        r.cluster.limit = 10_000
        r.now += 5
        r.channel.check_now()
        assert "It is asked again in 55 s." in (await r.why()).fix  # refused requests count: not every click
        r.now += 5
        r.channel.check_now()
        await r.healthy()


@pytest.mark.parametrize(
    "headers",
    [
        (("Retry-After", "20"),),
        (("RateLimit-Reset", "20"),),
        (("RateLimit", '"default";r=0;t=20'),),
        (("X-RateLimit-Reset", "1790000020"),),
    ],
)
async def test_after_429_nothing_is_asked_for_as_long_as_the_answer_says(
    headers: tuple[tuple[str, str], ...],
) -> None:
    async with rig(SimulatedCluster([])) as r:
        await r.healthy()
        r.cluster.limit, r.cluster.limited_headers = 0, headers
        fact = (await r.probe()).fact
        assert isinstance(fact, Limited)
        assert fact.retry_after_s is not None
        assert 19 <= fact.retry_after_s <= 21
        asked = lists(r)
        r.cluster.limit = 10_000
        r.now += 15
        r.channel.check_now()
        assert "It is asked again in " in (await r.why()).fix
        assert lists(r) == asked
        r.now += 6
        await r.healthy()


async def test_after_429_no_token_is_requested_either() -> None:
    async with rig(SimulatedCluster(life_s=100)) as r:
        await r.healthy()
        r.cluster.limit, r.cluster.limited_headers = 0, (("Retry-After", "30"),)
        r.now += 200
        for _ in range(5):
            with pytest.raises(RouteUnavailable, match="used up its number of requests"):
                await r.token("llama-3.3-70b")
            r.now += 5.5
        assert r.cluster.token_requests == 2
        probe = await r.probe()
        assert isinstance(probe.fact, Limited)
        assert probe.about is not None
        assert probe.about["Requests left"] == "0 of 10,000 in 15 min"
        r.cluster.limit = 10_000
        r.now += 5
        await r.healthy()
        assert await r.token("llama-3.3-70b")


def lists(r: Rig) -> int:
    """How often the manager was asked for its services."""
    return sum(seen.path == "/services" for seen in r.cluster.request_log.entries)


async def test_the_latency_is_the_manager_s_and_its_median() -> None:
    async with rig() as r:
        await r.healthy()
        r.channel._latencies.extend((0.5, 0.5, 0.5))
        about = (await r.healthy()).about
    assert about is not None
    assert about["Manager latency"] == "500 ms (its API, not a model)"


async def test_a_new_secret_key_signs_in_anew() -> None:
    async with rig() as r:
        await r.healthy()
        r.cluster.keys[ACCESS_KEY] = "the new secret"
        assert "secret key is wrong" in (await r.why()).text
        r.secret = "the new secret"
        await r.healthy()
        assert len(r.cluster.calls("/auth")) == 2


async def test_a_kind_checks_once_without_a_channel() -> None:
    cluster = SimulatedCluster()
    async with cluster:
        backend = Backend(
            id="c", name="c", kind="cluster", ring="company", url=cluster.url, access_key=ACCESS_KEY
        )
        upstream = Upstream(parse_address(cluster.url))
        probe = await ClusterKind().probe(upstream, backend, SECRET_KEY)
        assert await ClusterKind().detect(upstream) is None
        upstream.close()
    assert probe.models == ("llama-3.3-70b",)


@pytest.mark.parametrize(
    ("url", "is_warned_of"),
    [
        ("http://manager.example:8081", True),
        ("http://10.0.0.5:8081", True),
        ("https://manager.example", False),
        ("http://127.0.0.1:8081", False),
        ("http://localhost:8081", False),
    ],
)
def test_plain_http_to_another_host_is_warned_of(url: str, is_warned_of: bool) -> None:
    summary = ClusterSummary(
        address=parse_address(url),
        access_key="AKIA",
        greeting=ManagerVersion("v9.20250722", "26.9.6"),
        version="v9.20250722",
        services=(Service(id="s", name="s", endpoint="http://x/", routes=1),),
        quota=None,
        latency_s=None,
        problems={},
        plain=(),
    )
    found = warnings(summary, ClusterClock(lambda: 0.0, follows=True))
    assert [text.startswith("Plain http to another host") for text in found] == [True] * is_warned_of
