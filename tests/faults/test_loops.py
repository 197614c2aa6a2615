"""Two nodes that list each other do not forward a request forever."""

from pathlib import Path

from faults.raw import RawBackend, chat
from node import IN_ORDER, Node

CHAT = "/v1/chat/completions"


async def join(node: Node, other: Node, name: str) -> None:
    """Make `other` a backend of `node`, behind those it has."""
    answer = await node.http.post(
        "/mesh/backends",
        json={
            "kind": "openai-compatible",
            "name": name,
            "url": other.url,
            "api_key": other.key,
            "priority": 9,
        },
    )
    assert answer.status_code == 201, answer.text
    await node.refresh()


async def test_a_request_that_comes_round_ends_at_the_first_node(tmp_path: Path) -> None:
    async with (
        RawBackend("engine") as engine,
        Node(tmp_path / "one", [engine], IN_ORDER) as one,
        Node(tmp_path / "two", extra=IN_ORDER) as two,
    ):
        await join(two, one, "one")
        await join(one, two, "two")
        answer = await two.chat("m")  # two → one → the engine
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "one")
        via = engine.posts[0].header(b"x-meshlight-via")[0].split(b",")
        assert len(via) == 2
        await engine.__aexit__(None, None, None)
        answer = await one.chat("m")  # one → engine; one → two → one
        assert answer.status_code in {503, 508}
        health = (await one.backend("two"))["health"]
        assert health["state"] == "healthy"  # the loop is nobody's illness


async def test_a_request_passes_three_nodes_at_most(tmp_path: Path) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        for via, status in (("n1,n2", 200), ("n1,n2,n3", 508), ("n1, n2 ,n3,n4", 508)):
            answer = await node.http.post(CHAT, json=chat("m"), headers={"x-meshlight-via": via})
            assert answer.status_code == status
        assert len(backend.posts) == 1
        answer = await node.http.post(CHAT, json=chat("m"), headers={"x-meshlight-via": "n1"})
        own = backend.posts[-1].header(b"x-meshlight-via")[0].removeprefix(b"n1,")
        answer = await node.http.post(CHAT, json=chat("m"), headers={"x-meshlight-via": own.decode()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (508, "loop_found")
        assert answer.headers["x-should-retry"] == "false"


async def test_a_cloud_is_not_told_of_our_nodes(tmp_path: Path) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        await node.http.patch("/mesh/backends/a", json={"ring": "cloud"})
        assert (await node.chat("m")).status_code == 200
        assert not backend.posts[0].header(b"x-meshlight-via")
