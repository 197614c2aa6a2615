"""The simulated manager as its clients see it, with requests signed by a second implementation of the protocol."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, ClusterFault, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService

Change = dict[str, Any]


async def ask(
    http: httpx.AsyncClient,
    cluster: SimulatedCluster,
    target: str = "/services",
    *,
    method: str = "GET",
    json: object = None,
    secret: str = SECRET_KEY,
    access_key: str = ACCESS_KEY,
    late: timedelta = timedelta(),
    version: str | None = None,
    kind: str | None = None,
    signed_kind: str | None = None,
    signed_target: str | None = None,
    body_hash: str = hashlib.sha256(b"").hexdigest(),
    drop: tuple[str, ...] = (),
) -> httpx.Response:
    date = (datetime.fromtimestamp(cluster.clock(), UTC) - late).isoformat()
    host = cluster.url.removeprefix("http://")
    version = version or cluster.version
    kind = kind or ("application/json" if json is not None else "text/plain")
    lines = [
        method, signed_target or target, date, f"host:{host}", f"content-type:{signed_kind or kind}",
        f"x-backendai-version:{version}", body_hash,
    ]  # fmt: skip
    key = secret.encode()
    for text in (date[:10].replace("-", ""), host, "\n".join(lines)):
        key = hmac.new(key, text.encode(), hashlib.sha256).digest()
    headers = {
        "Date": date,
        "X-BackendAI-Version": version,
        "Content-Type": kind,
        "Authorization": f"BackendAI signMethod=HMAC-SHA256, credential={access_key}:{key.hex()}",
    }
    for name in drop:
        del headers[name]
    body = None if json is None else httpx.Request("POST", "http://x", json=json).content
    return await http.request(method, cluster.url + target, headers=headers, content=body)


async def test_anybody_may_ask_for_the_version(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as new, SimulatedCluster(legacy=True) as old:
        assert (await http.get(new.url)).json() == {"version": "v9.20250722", "manager": "26.9.6"}
        assert (await http.get(old.url)).json() == {"version": "v7.20230615", "manager": "23.09.10"}


async def test_a_good_signature_lists_services_and_tells_the_quota(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster(
        [ClusterService("a"), ClusterService("b", routes=0, is_public=True)]
    ) as cluster:
        reply = await ask(http, cluster)
    assert reply.status_code == 200
    assert [(s["name"], s["active_route_count"], s["is_public"]) for s in reply.json()] == [
        ("a", 1, False),
        ("b", 0, True),
    ]
    assert reply.headers["x-ratelimit-limit"] == "10000"
    assert reply.headers["x-ratelimit-remaining"] == "9999"
    assert reply.headers["x-ratelimit-window"] == "900"


async def test_the_whole_query_is_signed(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        good = await ask(http, cluster, "/auth?echo=%ED%95%9C+a%2Bb")
        bad = await ask(http, cluster, "/auth?echo=x", signed_target="/auth")
        lacking = await ask(http, cluster, "/auth")
    assert good.json()["authorized"] == "yes"
    assert (bad.status_code, lacking.status_code) == (401, 400)


@pytest.mark.parametrize(
    ("change", "status", "msg"),
    [
        ({"secret": "wrong"}, 401, "HMAC signature mismatch"),
        ({"access_key": "AKIAOTHER"}, 401, "Access key not found in HMAC"),
        ({"late": timedelta(minutes=16)}, 400, "Date/time sync error"),
        ({"late": timedelta(minutes=-16)}, 400, "Date/time sync error"),
        ({"late": timedelta(minutes=14)}, 200, None),
        ({"late": timedelta(minutes=-14)}, 200, None),
        ({"version": "v99.20990101"}, 400, "Unsupported API version."),
        ({"version": "v4.20190615"}, 200, None),
        ({"drop": ("X-BackendAI-Version",)}, 400, "API version missing in request headers"),
        ({"drop": ("Date",)}, 400, "Date/time sync error"),
        ({"drop": ("Authorization",)}, 401, "Unauthorized access"),
        ({"drop": ("Content-Type",)}, 401, "HMAC signature mismatch"),
        ({"kind": "text/plain; charset=utf-8"}, 401, "HMAC signature mismatch"),
        ({"kind": "text/plain; charset=utf-8", "signed_kind": "text/plain"}, 200, None),
        ({"body_hash": hashlib.sha256(b"x").hexdigest()}, 401, "HMAC signature mismatch"),
        ({"access_key": "no,key"}, 500, None),
    ],
)
async def test_signatures_are_checked_as_a_manager_does(
    http: httpx.AsyncClient, change: Change, status: int, msg: str | None
) -> None:
    async with SimulatedCluster() as cluster:
        reply = await ask(http, cluster, **change)
    assert reply.status_code == status
    if status >= 400:
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json().get("msg") == msg


async def test_the_old_manager_says_some_things_in_other_words(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster(legacy=True) as cluster:
        mismatch = (await ask(http, cluster, secret="wrong")).json()
        unknown = (await ask(http, cluster, access_key="AKIAOTHER")).json()
        newer = await ask(http, cluster, version="v9.20250722")
        bare = await http.get(f"{cluster.url}/services")
    assert (mismatch["msg"], unknown["msg"]) == ("Signature mismatch", "Access key not found")
    assert "error_code" not in mismatch
    assert (newer.status_code, bare.json()["msg"]) == (400, "Date/time sync error")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("ip", 401),
        ("no-rights", 401),
        ("no-permission", 403),
        ("failing", 500),
        ("new-version", 400),
        ("redirect", 302),
    ],
)
async def test_faults(http: httpx.AsyncClient, fault: ClusterFault, status: int) -> None:
    async with SimulatedCluster() as cluster:
        cluster.fault = fault
        assert (await ask(http, cluster)).status_code == status
        if fault != "redirect":
            assert (await http.get(cluster.url)).status_code == 200
        cluster.fault = None
        assert (await ask(http, cluster)).status_code == 200


async def test_a_web_ui_shows_pages_and_has_the_api_below_func(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        cluster.fault = "web-ui"
        page = await http.get(cluster.url)
        hello = await http.get(f"{cluster.url}/func/")
        signed = await ask(http, cluster, "/func/services")
    assert "html" in page.headers["content-type"]
    assert hello.json()["manager"] == "26.9.6"
    assert signed.status_code == 401


async def test_a_frozen_manager_answers_only_what_is_not_signed(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        cluster.fault = "hang"
        assert (await http.get(cluster.url)).status_code == 200
        http.timeout = httpx.Timeout(0.1)
        with pytest.raises(httpx.ReadTimeout):
            await ask(http, cluster)


async def test_who_asks_too_often_is_refused_without_a_word_of_when(http: httpx.AsyncClient) -> None:
    now = 1_790_000_000.0
    async with SimulatedCluster(limit=2, clock=lambda: now) as cluster:
        statuses = [(await ask(http, cluster)).status_code for _ in range(3)]
        refused = await ask(http, cluster)
        now += 900
        again = await ask(http, cluster)
    assert statuses == [200, 200, 429]
    assert "retry-after" not in refused.headers
    assert "x-ratelimit-limit" not in refused.headers
    assert again.status_code == 200


async def test_the_limit_counts_any_900_seconds_and_the_refused_requests_too(http: httpx.AsyncClient) -> None:
    now = 1_790_000_000.0
    async with SimulatedCluster(limit=2, clock=lambda: now) as cluster:
        await ask(http, cluster)
        now += 600
        statuses = [(await ask(http, cluster)).status_code for _ in range(2)]
        now += 301  # the first request is older than 900 s, the refused one is not
        refused = (await ask(http, cluster)).status_code
        now += 901
        again = await ask(http, cluster)
    assert statuses == [200, 429]
    assert refused == 429
    assert (again.status_code, again.headers["x-ratelimit-remaining"]) == (200, "1")


async def test_unsigned_requests_use_up_nothing_and_name_a_limit_that_is_not_the_account_s(
    http: httpx.AsyncClient,
) -> None:
    async with SimulatedCluster(limit=2) as cluster:
        for _ in range(5):
            greeting = await http.get(cluster.url)
            assert greeting.headers["x-ratelimit-remaining"] == "1000"
        assert (await ask(http, cluster)).headers["x-ratelimit-remaining"] == "1"


async def test_a_proxy_in_front_may_say_when_to_ask_again(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster(limit=0) as cluster:
        cluster.limited_headers = (("Retry-After", "20"),)
        refused = await ask(http, cluster)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "20")


async def test_a_manager_that_restarts_is_a_page_of_its_proxy(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        cluster.fault = "restarting"
        for reply in (await http.get(cluster.url), await ask(http, cluster)):
            assert (reply.status_code, reply.headers["content-type"]) == (502, "text/html")


async def test_services_of_other_users_are_not_listed_and_not_given(http: httpx.AsyncClient) -> None:
    theirs = ClusterService("theirs")
    theirs.is_own = False
    for legacy, kind in ((False, "not-enough-permission"), (True, "generic-forbidden")):
        async with SimulatedCluster([theirs], legacy=legacy) as cluster:
            listed = await ask(http, cluster)
            one = await ask(http, cluster, f"/services/{theirs.id}")
            target = f"/services/{theirs.id}/token"
            token = await ask(http, cluster, target, method="POST", json={"duration": "1h"})
            assert listed.json() == cluster.token_rows == []
            assert (one.status_code, token.status_code) == (403, 403)
            assert one.json()["type"].endswith(kind)


async def test_a_service_that_has_not_started_is_listed_with_what_is_wanted(http: httpx.AsyncClient) -> None:
    idle = ClusterService("idle", routes=0)
    idle.endpoint = ""
    async with SimulatedCluster([idle]) as new, SimulatedCluster([idle], legacy=True) as old:
        (row,) = (await ask(http, new)).json()
        (old_row,) = (await ask(http, old)).json()
    assert (row["desired_session_count"], row["active_route_count"], row["service_endpoint"]) == (1, 0, None)
    assert (row["replicas"], "replicas" in old_row) == (1, False)


async def test_a_token_is_issued_for_as_long_as_is_asked_for(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        target = f"/services/{cluster.services[0].id}/token"
        good = await ask(http, cluster, target, method="POST", json={"valid_until": cluster.clock() + 60})
        lacking = await ask(http, cluster, target, method="POST", json={})
        unknown = await ask(http, cluster, "/services/none/token", method="POST", json={"duration": "1h"})
        cluster.fault = "token-500"
        failed = await ask(http, cluster, target, method="POST", json={"duration": "1h"})
        assert cluster.token_requests == 4
        assert len(cluster.token_rows) == 1
    assert good.json()["token"].count(".") == 2
    assert (lacking.status_code, unknown.status_code, failed.status_code) == (400, 404, 500)


async def test_one_service_can_be_asked_for_and_what_is_not_there_can_not(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        one = await ask(http, cluster, f"/services/{cluster.services[0].id}")
        none = await ask(http, cluster, "/services/none")
        lost = await ask(http, cluster, "/nowhere")
        unsigned = await http.get(f"{cluster.url}/nowhere")
        wrong_method = await ask(http, cluster, method="DELETE")
    assert one.json()["name"] == "llama-chat"
    assert (none.status_code, lost.status_code, unsigned.status_code) == (404, 404, 404)
    assert wrong_method.status_code == 405
    assert lost.json()["type"].endswith("/url-not-found")


async def test_below_a_path_the_signature_covers_that_path(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster(base="/backend") as cluster:
        origin = cluster.url.removesuffix("/backend")
        cluster_at_root = await http.get(f"{origin}/")
        hello = await http.get(f"{cluster.url}/")
    assert (cluster_at_root.status_code, hello.status_code) == (404, 200)
