"""What a peer may request on the LAN listener of a complete node."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshlight.simulator.engine import SimulatedEngine
from security.paired_node import ANNA, PairedNode, settled, simulated
from servers.byte_server import ByteServer
from servers.byte_server import Peer as Scripted


@pytest.fixture
async def paired_node(tmp_path: Path) -> AsyncIterator[PairedNode]:
    async with (
        SimulatedEngine("llamacpp", "study", models=("m",)) as engine,
        simulated(tmp_path, [engine]) as found,
    ):
        yield found


async def test_the_catalog_is_not_sent_twice_to_who_has_it(paired_node: PairedNode) -> None:
    first = await paired_node.request("GET", "/peer/catalog")
    tag = first.headers["etag"]
    again = await paired_node.request("GET", "/peer/catalog", None, f"if-none-match: {tag}")
    other = await paired_node.request("GET", "/peer/catalog", None, 'if-none-match: "older"')

    assert first.headers["content-type"] == "application/json"
    assert tag == f'"{first.json()["hash"]}"'
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert (other.status, other.body) == (200, first.body)


async def test_each_path_takes_its_own_method(paired_node: PairedNode) -> None:
    for method, path in (("POST", "/peer/catalog"), ("HEAD", "/peer/events"), ("GET", "/peer/unpair")):
        answer = await paired_node.request(method, path)
        assert answer.status == 405
        assert (await paired_node.request("GET", "/peer/catalog")).status == 200


async def test_every_protocol_of_the_mesh_is_spoken_to_peers(paired_node: PairedNode) -> None:
    hi = [{"role": "user", "content": "hi"}]
    for path, body in (
        ("/v1/chat/completions", {"model": "m", "messages": hi}),
        ("/v1/messages", {"model": "m", "max_tokens": 5, "messages": hi}),
        ("/api/chat", {"model": "m", "messages": hi, "stream": False}),
        ("/v1/responses", {"model": "m", "input": "hi"}),
    ):
        answer = await paired_node.request("POST", path, body)
        assert answer.status == 200, answer.raw


async def test_a_streamed_answer_comes_as_it_is_made(paired_node: PairedNode) -> None:
    answer = await paired_node.chat("m", stream=True)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.raw.count(b"data: ") > 3
    assert b"data: [DONE]" in answer.raw


async def test_a_peer_may_end_the_pairing_and_is_nobody_afterwards(paired_node: PairedNode) -> None:
    assert (await paired_node.request("POST", "/peer/unpair")).status == 204
    view = await settled(paired_node.node)
    while view["peers"]:
        view = await settled(paired_node.node)
    with pytest.raises(OSError, match=r"."):
        await paired_node.connect()
    assert ANNA.node_id not in str(view)
    notices = (await paired_node.node.http.get("/mesh/snapshot")).json()["notices"]
    assert notices == ["Anna has ended the pairing with this machine."]


async def test_one_prompt_after_the_other_is_never_too_many(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "study", models=("m",)) as engine,
        simulated(tmp_path, [engine], "max_in_flight = 1") as found,
    ):
        for _ in range(3):
            assert (await found.chat("m")).status == 200


async def test_a_backend_that_quotes_the_owners_key_does_not_quote_it_to_a_peer(tmp_path: Path) -> None:
    key = "sk-canary-owner-4c1e"

    async def quoting(peer: Scripted) -> None:
        while True:
            request = await peer.request()
            is_list = "GET" in request.line
            text = f"upstream http://10.9.8.7:1 got {request.headers.get('authorization')}"
            models = {"data": [{"id": "m", "object": "model"}], "object": "list"}
            body = json.dumps(models if is_list else {"error": {"message": text}})
            status = 200 if is_list else 500
            await peer.send(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

    async with ByteServer(quoting) as server, simulated(tmp_path) as found:
        given = {"kind": "openai-compatible", "url": server.address.url, "name": "attic", "api_key": key}
        added = await found.node.http.post("/mesh/backends", json=given)
        assert added.status_code == 201, added.text
        answer = await found.chat("m")

        assert server.requests[-1].headers["authorization"] == f"Bearer {key}"
        assert answer.status == 500
        assert b"something failed there" in answer.body
        assert key.encode() not in answer.raw
        assert b"10.9.8.7" not in answer.raw
