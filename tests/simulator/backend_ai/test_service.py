"""A service of the simulated cluster, behind its app proxy."""

import httpx
import pytest

from meshlight.simulator.backend_ai.manager import SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService


async def models(http: httpx.AsyncClient, service: ClusterService, **headers: str) -> httpx.Response:
    return await http.get(f"{service.url}/v1/models", headers=headers)


async def test_a_token_opens_the_service_in_either_scheme(http: httpx.AsyncClient) -> None:
    async with SimulatedCluster() as cluster:
        (service,) = cluster.services
        token = service.issuer.issue(cluster.clock(), 60)
        for scheme in ("BackendAI", "Bearer"):
            reply = await models(http, service, authorization=f"{scheme} {token}")
            assert [model["id"] for model in reply.json()["data"]] == ["llama-3.3-70b"]


@pytest.mark.parametrize(
    ("authorization", "code"), [(None, "E20006"), ("Basic x", "E20007"), ("BackendAI a.b.c", "E20008")]
)
async def test_without_a_good_one_the_app_proxy_says_why(
    http: httpx.AsyncClient, authorization: str | None, code: str
) -> None:
    async with SimulatedCluster() as cluster:
        headers = {} if authorization is None else {"authorization": authorization}
        reply = await models(
            http, cluster.services[0], accept="application/json, text/event-stream", **headers
        )
    assert reply.status_code == 401
    assert code in reply.json()["title"]


async def test_a_token_ends_and_can_be_revoked_and_is_good_for_one_service(http: httpx.AsyncClient) -> None:
    now = 1_790_000_000.0
    async with SimulatedCluster([ClusterService("a"), ClusterService("b")], clock=lambda: now) as cluster:
        a, b = cluster.services
        short, long = a.issuer.issue(now, 10), a.issuer.issue(now, 1000)
        now += 11
        assert (await models(http, a, authorization=f"BackendAI {short}")).status_code == 401
        assert (await models(http, a, authorization=f"BackendAI {long}")).status_code == 200
        other = await models(http, b, authorization=f"BackendAI {long}")
        assert (other.status_code, "E20009" in other.text) == (401, True)
        a.issuer.revoke()
        assert (await models(http, a, authorization=f"BackendAI {long}")).status_code == 401


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream, application/json"])
async def test_refusals_are_pages_unless_json_is_wished_for_without_a_blank(
    http: httpx.AsyncClient, accept: str
) -> None:
    async with SimulatedCluster() as cluster:
        reply = await models(http, cluster.services[0], accept=accept)
    assert "html" in reply.headers["content-type"]


async def test_a_public_service_needs_none_and_another_kind_of_app_answers_pages(
    http: httpx.AsyncClient,
) -> None:
    services = [
        ClusterService("open", is_public=True),
        ClusterService("app", is_public=True, is_openai=False),
    ]
    async with SimulatedCluster(services) as cluster:
        chat = await http.post(
            f"{services[0].url}/v1/chat/completions",
            json={"model": "llama-3.3-70b", "messages": [{"role": "user", "content": "hi"}]},
        )
        page = await models(http, services[1])
        assert cluster.token_requests == 0
    assert chat.json()["choices"][0]["message"]["content"]
    assert "html" in page.headers["content-type"]
