"""A server's own path below `/v1` is reached through Meshlight, if the request's JSON names a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, complete, responds
from node import IN_ORDER, Node
from security.paired_node import simulated

LACKS_404 = complete(b'{"detail": "Not Found"}', b"content-type: application/json", status=b"404 Not Found")
LACKS_200 = complete(
    b'{"error":"Unexpected endpoint or method. (POST /v1/systemone)"}', b"content-type: application/json"
)
LACKS_405 = complete(b"", status=b"405 Method Not Allowed")
BROKEN = complete(b"{}", b"content-type: application/json", status=b"500 Internal Server Error")


async def post(node: Node, path: str = "/v1/systemone", **fields: Any) -> Any:
    return await node.http.post(path, json={"model": "m", **fields})


@pytest.mark.parametrize("path", ["/v1/systemone", "/v1/score", "/v1/audio/voices"])
async def test_a_path_of_the_servers_own_is_reached(tmp_path: Path, path: str) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        answer = await post(node, f"{path}?x=1", text="héllo")
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        assert answer.headers["x-meshlight-backend"] == "a"
        assert [request.target for request in backend.posts] == [f"{path}?x=1"]
        assert json.loads(backend.posts[0].body) == {"model": "m", "text": "héllo"}


async def test_an_alias_is_replaced_by_the_models_name(tmp_path: Path) -> None:
    extra = 'routing.aliases = { nick = "m" }'
    async with RawBackend("a") as backend, Node(tmp_path, [backend], extra) as node:
        assert (await post(node, model="nick")).status_code == 200
        assert json.loads(backend.posts[0].body) == {"model": "m"}


@pytest.mark.parametrize("lacking", [LACKS_404, LACKS_405, LACKS_200])
async def test_a_backend_that_lacks_the_path_is_remembered_and_another_one_used(
    tmp_path: Path, lacking: bytes
) -> None:
    async with (
        RawBackend("a", respond=responds(lacking)) as without,
        RawBackend("b") as having,
        Node(tmp_path, [without, having], IN_ORDER) as node,
    ):
        for attempts in ("2", "1", "1"):
            answer = await post(node)
            assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")
            assert answer.headers["x-meshlight-attempts"] == attempts
        assert (len(without.posts), len(having.posts)) == (1, 3)
        await post(node, "/v1/another")
        assert [request.target for request in without.posts] == ["/v1/systemone", "/v1/another"]
        assert (await post(node, "/v1/completions", prompt="x")).headers["x-meshlight-backend"] == "b"


async def test_where_every_backend_lacks_the_path_the_client_reads_their_answer(tmp_path: Path) -> None:
    async with (
        RawBackend("a", respond=responds(LACKS_404)) as first,
        RawBackend("b", respond=responds(LACKS_404)) as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        for _ in range(2):
            answer = await post(node)
            assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
        assert (len(first.posts), len(second.posts)) == (2, 1)
        assert {
            row["health"]["state"] for row in (await node.http.get("/mesh/backends")).json()["backends"]
        } == {"healthy"}


async def test_what_a_backend_may_have_done_is_not_done_again(tmp_path: Path) -> None:
    async with (
        RawBackend("a", respond=responds(BROKEN)) as first,
        RawBackend("b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        assert (await post(node)).status_code == 500
        assert not second.posts


async def test_a_model_that_nobody_serves_is_not_found(tmp_path: Path) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        answer = await post(node, model="none")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert (await node.http.get("/v1/systemone")).status_code == 404
        assert not backend.posts


async def test_a_guest_reaches_such_a_path_of_a_shared_model_only(tmp_path: Path) -> None:
    async with (
        RawBackend("a", models=("shared", "hidden")) as backend,
        simulated(tmp_path, [backend], 'share_models = ["shared"]') as found,
    ):
        assert (await found.request("POST", "/v1/systemone", {"model": "shared"})).status == 200
        for path, body in (
            ("/v1/systemone", {"model": "hidden"}),
            ("/v1/systemone", {}),
            ("/v1/load_lora_adapter", {"model": "shared"}),
            ("/v1/../systemone", {"model": "shared"}),
        ):
            assert (await found.request("POST", path, body)).status == 404
        assert (await found.request("GET", "/v1/systemone")).status == 404
        assert [json.loads(request.body)["model"] for request in backend.posts] == ["shared"]
