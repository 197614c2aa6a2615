"""Giving up, small whole answers, closing, names and TLS."""

import asyncio
import hashlib
import time

import pytest

from backends.certificates import client_trusting, server_context
from backends.reading import BIG, CHUNKED, get, until_open, whole
from event_loops import on_each_loop
from meshlight.domain.errors import ConnectError, ReadError, ReadTimeout, ResponseTooLarge
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.connector import Resolver
from meshlight.http_client.headers import header_value
from servers.byte_server import OK, ByteServer, Peer, answering, chunk


@on_each_loop
async def test_a_request_cancelled_before_the_answer_closes_the_connection() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_gone()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        sending = asyncio.create_task(upstream.send("GET", "/", ()))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.peers[0].gone.wait()
        await until_open(upstream, 0)


@on_each_loop
async def test_a_read_cancelled_in_mid_stream_closes_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one"))
        await peer.until_gone()

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        response = await upstream.send("GET", "/", ())
        assert await response.read() == b"one"
        reading = asyncio.create_task(response.read())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await server.peers[0].gone.wait()
        await until_open(upstream, 0)


@on_each_loop
async def test_aborting_an_answer_closes_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one"))
        await peer.until_gone()

    async with ByteServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        response.abort()
        await server.peers[0].gone.wait()
        with pytest.raises(ReadError):
            await response.read()


@on_each_loop
async def test_cancelling_while_connecting_leaves_nothing_open() -> None:
    connected = asyncio.Event()

    async def script(peer: Peer) -> None:
        connected.set()
        await peer.until_gone()

    async with ByteServer(script) as server:
        upstream = Upstream(Address("https", "127.0.0.1", server.port))  # which waits for the handshake
        sending = asyncio.create_task(upstream.send("GET", "/", ()))
        await connected.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.peers[0].gone.wait()
        assert upstream.open == 0


# --- small whole answers


@on_each_loop
async def test_a_fetch_brings_the_whole_answer_with_its_latency() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    async with ByteServer(answering(answer)) as server:
        upstream = Upstream(Address("http", "127.0.0.1", server.port, "/base"))
        first = await upstream.fetch("GET", "/v1/models", headers=[(b"authorization", b"Bearer x")])
        began = time.monotonic()
        second = await upstream.fetch("GET", "/v1/models")
        took_s = time.monotonic() - began
        assert (first.status, first.body, header_value(first.headers, b"content-type")) == (
            200,
            b"{}",
            "application/json",
        )
        assert (first.reused, second.reused) == (False, True)
        assert 0 < second.elapsed_s <= took_s
        assert server.requests[0].line == "GET /base/v1/models HTTP/1.1"
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.requests[0].headers["authorization"] == "Bearer x"


@on_each_loop
async def test_a_fetch_that_gets_no_answer_or_only_half_of_one_is_late() -> None:
    for begun, words in ((b"", "did not answer"), (CHUNKED + chunk(b"x"), "did not end")):

        async def script(peer: Peer, begun: bytes = begun) -> None:
            await peer.request()
            await peer.send(begun)
            await peer.until_gone()

        async with ByteServer(script) as server:
            with pytest.raises(ReadTimeout, match=words) as caught:
                await Upstream(server.address).fetch("GET", "/v1/models", timeout_s=0.3)
            assert f"127.0.0.1:{server.port}" in caught.value.title
            await server.peers[0].gone.wait()


@on_each_loop
async def test_a_fetch_that_cannot_even_connect_in_time_says_so() -> None:
    async with ByteServer(Peer.until_gone) as server:
        upstream = Upstream(Address("https", "127.0.0.1", server.port))
        with pytest.raises(ConnectError) as caught:
            await upstream.fetch("GET", "/v1/models", timeout_s=0.5)
        assert caught.value.cause == "timeout"


@on_each_loop
async def test_a_fetch_reads_no_more_than_its_limit() -> None:
    endless = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        try:
            while True:
                await peer.send(chunk(b"x" * 10000))
        finally:
            endless.set()

    async with ByteServer(script) as server:
        with pytest.raises(ResponseTooLarge, match="more than 50000 bytes"):
            await Upstream(server.address).fetch("GET", "/v1/models", limit=50000)
        await endless.wait()


# --- closing, names, TLS


@on_each_loop
async def test_closing_ends_idle_connections_now_and_busy_ones_when_they_are_done() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.line.startswith("GET /slow"):
                await peer.send(CHUNKED)
                await go_on.wait()
                await peer.send(chunk(b"late"), b"0\r\n\r\n")
            else:
                await peer.send(OK)

    async with ByteServer(script) as server:
        upstream = Upstream(server.address)
        slow = await upstream.send("GET", "/slow", ())
        await get(upstream)
        assert (upstream.open, upstream.idle) == (2, 1)
        upstream.close()
        await until_open(upstream, 1)
        go_on.set()
        assert await whole(slow) == b"late"
        await until_open(upstream, 0)
        assert await get(upstream) == b"ok"  # a request that had chosen it already is still served
        await until_open(upstream, 0)


@on_each_loop
async def test_a_host_name_is_in_the_host_header() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(
            Address("http", "gpu.test", server.port), resolver=Resolver(lambda _: ["127.0.0.1"])
        )
        await get(upstream)
        assert server.requests[0].headers["host"] == f"gpu.test:{server.port}"


@on_each_loop
async def test_everything_works_over_tls_too() -> None:
    server_tls, authority = server_context("good")

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(CHUNKED, chunk(hashlib.sha256(request.body).digest()), b"0\r\n\r\n")
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\nto the end")

    async with ByteServer(script, tls=server_tls) as server:
        upstream = Upstream(server.address, tls=client_trusting(authority))
        body = BIG[: 5 << 20]
        assert await whole(await upstream.send("POST", "/", (), body)) == hashlib.sha256(body).digest()
        response = await upstream.send("GET", "/", ())
        assert (response.reused, await whole(response)) == (True, b"to the end")
        await until_open(upstream, 0)


@on_each_loop
async def test_a_backend_with_a_self_signed_certificate_is_not_spoken_to() -> None:
    server_tls, _ = server_context("self-signed")
    async with ByteServer(answering(OK), tls=server_tls) as server:
        with pytest.raises(ConnectError, match="self-signed") as caught:
            await Upstream(server.address).send("GET", "/", ())
        assert caught.value.cause == "tls"
        assert not server.requests
