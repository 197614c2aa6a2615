"""A node with a backend whose certificate is signed by an authority of one's own, given as a PEM file."""

from pathlib import Path
from typing import Any

from backends.certificates import server_context
from backends.playback import answer
from node import Node
from servers.byte_server import ByteServer, answering

LIST = answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "x"}]})


async def added(node: Node, server: ByteServer, **fields: Any) -> tuple[int, str]:
    body = {"kind": "openai-compatible", "name": "ours", "url": server.address.url, **fields}
    reply = await node.http.post("/mesh/backends", json=body)
    return reply.status_code, reply.text


async def test_with_the_file_it_is_healthy_and_without_it_is_refused(node: Node, tmp_path: Path) -> None:
    server_tls, authority = server_context("good")
    file = tmp_path / "ours.pem"
    file.write_bytes(authority)
    async with ByteServer(answering(LIST), tls=server_tls) as server:
        status, text = await added(node, server)
        assert (status, "CA file" in text) == (422, True)
        status, text = await added(node, server, ca_file=str(file))
        assert status < 300, text
        shown = await node.backend("ours")
        assert (shown["health"]["state"], shown["models"]) == ("healthy", ["m"])


async def test_a_file_that_is_not_there_is_named(node: Node, tmp_path: Path) -> None:
    server_tls, _ = server_context("good")
    missing = str(tmp_path / "gone.pem")
    async with ByteServer(answering(LIST), tls=server_tls) as server:
        status, text = await added(node, server, ca_file=missing)
    assert status == 422
    assert missing in text
    assert "Check the path of the CA file" in text
