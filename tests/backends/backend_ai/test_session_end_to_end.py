"""A cluster in a whole node: added by its two keys, used like any other backend."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from meshlight.backends.backend_ai.session import ClusterChannel
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService
from meshlight.simulator.engine import SimulatedEngine
from node import Node


async def add(node: Node, cluster: SimulatedCluster, **fields: Any) -> httpx.Response:
    draft = {
        "kind": "cluster",
        "name": "campus",
        "url": cluster.url,
        "access_key": ACCESS_KEY,
        "api_key": SECRET_KEY,
    }
    return await node.http.post("/mesh/backends", json=draft | fields)


async def known(node: Node) -> None:
    """Have the cluster checked until its models are known."""
    async with asyncio.timeout(20.0):
        while not (await node.backend("campus"))["models"]:
            await node.refresh()


async def test_its_models_answer_by_their_ids_and_by_the_names_of_the_services(tmp_path: Path) -> None:
    services = [ClusterService("chat", ("qwen3-32b",)), ClusterService("open", ("bge-m3",), is_public=True)]
    async with SimulatedCluster(services) as cluster, Node(tmp_path) as node:
        added = await add(node, cluster)
        assert added.is_success, added.text
        await known(node)
        by_id, by_name = await node.chat("qwen3-32b"), await node.chat("campus/chat")
        stream = await node.chat("qwen3-32b", stream=True)
        listed = (await node.http.get("/v1/models")).json()
        snapshot = await node.http.get("/mesh/snapshot")
        asked = services[0].request_log.entries[-1]
        kept = node.config_file.read_text(encoding="utf-8")
    assert (by_id.status_code, by_name.status_code) == (200, 200)
    assert by_id.headers["x-meshlight-backend"] == "campus"
    assert stream.text.endswith("data: [DONE]\n\n")
    assert {"qwen3-32b", "bge-m3", "campus/chat"} <= {model["id"] for model in listed["data"]}
    authorization = asked.header("authorization")
    assert authorization is not None
    assert authorization.startswith("BackendAI ey")
    assert node.key not in repr(asked)
    assert asked.header("accept") == "application/json, text/event-stream"
    assert SECRET_KEY not in snapshot.text + kept
    assert authorization.removeprefix("BackendAI ") not in snapshot.text


async def test_a_wrong_secret_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    async with SimulatedCluster() as cluster, Node(tmp_path) as node:
        refused = await add(node, cluster, api_key="not the secret")
        cluster.fault = "web-ui"
        web_ui = await add(node, cluster)
    assert (refused.status_code, web_ui.status_code) == (422, 422)
    assert refused.json()["error"]["param"] == "api_key"
    assert "secret key is wrong" in refused.text
    assert "web UI" in web_ui.text
    assert "not the secret" not in refused.text


async def test_a_token_that_was_revoked_costs_the_client_nothing(tmp_path: Path) -> None:
    async with SimulatedCluster() as cluster, Node(tmp_path) as node:
        await add(node, cluster)
        await known(node)
        link = node.service._connections.get("campus")
        assert link is not None
        assert isinstance(link.channel, ClusterChannel)
        tokens = link.channel._tokens
        tokens._clock = lambda: 1e9  # the token is no longer fresh, as after ten seconds
        tokens._tokens = {
            key: replace(token, ends_at=1e12, renew_at=1e12) for key, token in tokens._tokens.items()
        }
        cluster.services[0].issuer.revoke()
        answer = await node.chat("llama-3.3-70b")
    assert answer.status_code == 200
    assert answer.headers["x-meshlight-attempts"] == "1"


async def test_a_service_without_token_is_said_in_words_and_another_backend_takes_over(
    tmp_path: Path,
) -> None:
    async with (
        SimulatedCluster() as cluster,
        SimulatedEngine("vllm", "desk", ["llama-3.3-70b"]) as engine,
        Node(tmp_path) as node,
    ):
        cluster.fault = "token-500"
        await add(node, cluster)
        alone = await node.chat("campus/llama-chat")
        cluster.fault, cluster.life_s = None, 60
        await node.http.delete("/mesh/backends/campus")
        await add(node, cluster, ring="machine")
        await known(node)
        desk = {"kind": "vllm", "name": "desk", "url": engine.url, "ring": "lan"}
        await node.http.post("/mesh/backends", json=desk)
        cluster.services[0].refuses_tokens = True
        other = await node.chat("llama-3.3-70b")
    assert alone.status_code == 503
    assert "app proxy is not reachable from its manager" in alone.text
    assert other.status_code == 200
    assert other.headers["x-meshlight-backend"] == "desk"
