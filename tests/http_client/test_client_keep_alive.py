"""Connections that are used again, and what becomes of a request on one that dies."""

import asyncio

import pytest

from backends.reading import CHUNKED, get, until_open, whole
from event_loops import on_each_loop
from meshlight.domain.errors import ConnectError, ReadError
from meshlight.http_client.client import Upstream
from servers.byte_server import NO_BODY, OK, ByteServer, Peer, answering, chunk


@on_each_loop
async def test_a_connection_is_used_again_and_says_so() -> None:
    async with ByteServer(answering(OK, NO_BODY, CHUNKED + chunk(b"x") + b"0\r\n\r\n")) as server:
        upstream = Upstream(server.address)
        reused = []
        for _ in range(3):
            response = await upstream.send("GET", "/", ())
            reused.append(response.reused)
            await whole(response)
        assert reused == [False, True, True]
        assert server.accepted == 1
        assert (upstream.idle, upstream.open) == (1, 1)


@on_each_loop
async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    together = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        await peer.send(OK)
        await peer.until_gone()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        assert await asyncio.gather(*(get(upstream) for _ in range(3))) == [b"ok"] * 3
        assert server.accepted == 3
        assert upstream.idle == 3


@on_each_loop
async def test_a_connection_that_rested_too_long_is_not_used() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(server.address, idle_expiry_s=0)
        await get(upstream)
        await get(upstream)
        assert server.accepted == 2


@on_each_loop
async def test_a_fresh_connection_is_made_when_asked_for() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        await get(upstream, fresh=True)
        assert server.accepted == 2


@on_each_loop
async def test_a_connection_that_the_server_closed_while_it_rested_is_dropped() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        await until_open(upstream, 0)
        assert upstream.idle == 0
        response = await upstream.send("GET", "/", ())
        assert not response.reused


@on_each_loop
async def test_a_connection_on_which_the_server_spoke_unasked_is_dropped() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.until_gone()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        await until_open(upstream, 0)
        assert (await upstream.send("GET", "/", ())).status == 200


def dying_at_second_request(how: str, heard: bytes = b"") -> "tuple[list[int], object]":
    """Return a script whose first connection dies at its second request, and the requests it counts."""
    counted: list[int] = []

    async def script(peer: Peer) -> None:
        counted.append(0)
        number = len(counted)
        while True:
            await peer.request()
            counted[number - 1] += 1
            if number == 1 and counted[0] == 2:
                if heard:
                    await peer.send(heard)
                if how == "reset":
                    peer.reset()
                return
            await peer.send(OK)

    return counted, script


@on_each_loop
async def test_a_used_connection_that_dies_without_a_byte_is_tried_once_more_on_a_new_one() -> None:
    for how in ("close", "reset"):
        counted, script = dying_at_second_request(how)
        async with ByteServer(script) as server:  # type: ignore[arg-type]
            upstream = Upstream(server.address)
            await get(upstream)
            response = await upstream.send("POST", "/", (), b"x")
            assert (await whole(response), response.reused) == (b"ok", False)
            assert counted == [2, 1]


@on_each_loop
async def test_a_used_connection_that_dies_within_an_answer_is_not_tried_again() -> None:
    counted, script = dying_at_second_request("close", b"HTTP/1.1 2")
    async with ByteServer(script) as server:  # type: ignore[arg-type]
        upstream = Upstream(server.address)
        await get(upstream)
        with pytest.raises(ReadError) as caught:
            await get(upstream)
        assert (caught.value.reused, caught.value.got_bytes) == (True, True)
        assert counted == [2]


@on_each_loop
async def test_a_new_connection_that_dies_is_not_tried_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        with pytest.raises(ReadError) as caught:
            await get(upstream)
        assert (caught.value.reused, caught.value.got_bytes) == (False, False)
        assert server.accepted == 1


@on_each_loop
async def test_the_second_try_is_the_last() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if server.accepted == 1:
            await peer.send(OK)
            await peer.request()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        with pytest.raises(ReadError) as caught:
            await get(upstream)
        assert not caught.value.reused
        assert server.accepted == 2


class Counter:
    sends = 0


@on_each_loop
async def test_each_time_that_a_request_is_sent_is_counted() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if server.accepted == 1:
            await peer.send(OK)
            await peer.request()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        counter = Counter()
        with pytest.raises(ReadError):
            await upstream.send("POST", "/", (), b"x", counter=counter)
        assert counter.sends == 2
    counter = Counter()
    with pytest.raises(ConnectError):
        await upstream.send("POST", "/", (), b"x", counter=counter)
    assert counter.sends == 0


@on_each_loop
async def test_a_server_that_closes_after_each_answer_costs_no_request() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"data") + b"0\r\n\r\n")

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)

        async def client() -> None:
            for _ in range(25):
                assert await get(upstream) == b"data"

        await asyncio.gather(*(client() for _ in range(8)))
