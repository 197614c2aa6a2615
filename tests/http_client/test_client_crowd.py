"""A server that serves a connection for as long as it rests, and so keeps a new one waiting, as llama-server does."""

import asyncio

import pytest

from meshlight.http_client.client import Upstream
from servers.byte_server import OK, ByteServer, Peer

WAIT_S = 3.0


@pytest.mark.parametrize("answers_after_s", [0.0, 0.3], ids=["before it is late", "when it is late"])
async def test_a_new_connection_does_not_wait_for_one_that_came_to_rest(answers_after_s: float) -> None:
    thread = asyncio.Semaphore(1)
    may_answer = asyncio.Event()

    async def script(peer: Peer) -> None:
        async with thread:  # for the whole life of the connection
            while True:
                await peer.request()
                await may_answer.wait()
                await peer.send(OK)

    async with ByteServer(script) as server, asyncio.timeout(WAIT_S):
        upstream = Upstream(server.address)
        two = [asyncio.create_task(upstream.send("GET", "/", ())) for _ in range(2)]
        asyncio.get_running_loop().call_later(answers_after_s, may_answer.set)
        for answer in asyncio.as_completed(two):
            assert await (await answer).read() == b"ok"
        assert server.accepted == 2
        upstream.close()
