"""The client against real sockets, on the standard library's loop and on uvloop."""

import asyncio
import hashlib
import os

import pytest

from backends.certificates import client_trusting, server_context
from backends.scripted import NO_BODY, OK, Peer, ScriptedServer, answering, chunk, on_each_loop
from meshlight.backends.address import Address
from meshlight.backends.resolver import Resolver
from meshlight.backends.response import Response
from meshlight.backends.upstream import Upstream
from meshlight.domain.errors import (
    BadReply,
    BadRequest,
    ConnectFailed,
    ConnectionLost,
    ReplyTooLarge,
    ReplyTooLate,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BIG = os.urandom(1 << 20) * 50


async def whole(response: Response) -> bytes:
    body = b""
    while piece := await response.read():
        body += piece
    return body


async def get(upstream: Upstream, target: str = "/", *, fresh: bool = False) -> bytes:
    return await whole(await upstream.send("GET", target, (), fresh=fresh))


async def until_open(upstream: Upstream, count: int) -> None:
    """Wait until just `count` connections are open."""
    while upstream.open != count:  # noqa: ASYNC110  # the pool has no event, as nobody but tests would wait for it
        await asyncio.sleep(0.001)


# --- the request on the wire


@on_each_loop
async def test_a_request_goes_out_as_it_was_given_with_host_and_length_added() -> None:
    async with ScriptedServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        headers = [(b"content-type", b"application/json"), (b"x-a", b"1"), (b"x-a", b"2")]
        response = await upstream.send("POST", "/v1/chat/completions?x=%20", headers, b'{"a":1}')
        assert (response.status, await whole(response)) == (200, b"ok")
        assert server.requests[0].raw_head == (
            b"POST /v1/chat/completions?x=%%20 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
            b"x-a: 1\r\nx-a: 2\r\ncontent-length: 7\r\n\r\n" % server.port
        )
        assert server.requests[0].body == b'{"a":1}'


@on_each_loop
async def test_a_post_without_a_body_says_so_and_a_get_says_nothing() -> None:
    async with ScriptedServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        await whole(await upstream.send("POST", "/", ()))
        await whole(await upstream.send("GET", "/", ()))
        assert [request.headers.get("content-length") for request in server.requests] == ["0", None]


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/\r\nx: y", []),
        ("GET", "/a b", []),
        ("GET", "/\0", []),
        ("GET", "/é", []),
        ("GET", "models", []),
        ("GET", "", []),
        ("GET /x", "/", []),
        ("GE\nT", "/", []),
        ("", "/", []),
        ("GET", "/", [(b"x", b"a\r\ny: b")]),
        ("GET", "/", [(b"x", b"a\nb")]),
        ("GET", "/", [(b"x", b"a\rb")]),
        ("GET", "/", [(b"x", b"a\0b")]),
        ("GET", "/", [(b"x\r\ny", b"a")]),
    ],
)
async def test_what_would_be_read_as_two_requests_is_refused_before_anything_is_sent(
    method: str, target: str, headers: list[tuple[bytes, bytes]]
) -> None:
    async with ScriptedServer(answering(OK)) as server:
        with pytest.raises(BadRequest):
            await Upstream(server.address).send(method, target, headers)
        assert server.accepted == 0


async def test_any_number_of_targets_is_not_remembered_for_ever() -> None:
    async with ScriptedServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        for place in range(600):
            await get(upstream, f"/{place}")
        assert len(upstream._lines) <= 256
        assert server.requests[-1].line == "GET /599 HTTP/1.1"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with ScriptedServer(answering(OK)) as server:
        assert await get(Upstream(server.address)) == b"ok"


# --- the answer


@on_each_loop
async def test_a_stream_arrives_as_it_is_sent() -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(b"one"))
        await read.wait()
        await peer.send(chunk(b"two"), b"0\r\n\r\n")
        await peer.until_gone()

    async with ScriptedServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        assert await response.read() == b"one"
        read.set()
        assert await whole(response) == b"two"


@on_each_loop
async def test_an_answer_sent_byte_by_byte_is_the_same() -> None:
    raw = CHUNKED + chunk("grüß".encode()) + chunk(b" Gott") + b"0\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*(raw[place : place + 1] for place in range(len(raw))))
        await peer.until_gone()

    async with ScriptedServer(script) as server:
        assert await get(Upstream(server.address)) == "grüß Gott".encode()


@on_each_loop
async def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n", b"data: 2\n\n"
        )

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)
        assert await get(upstream) == b"data: 1\n\ndata: 2\n\n"
        assert await get(upstream) == b"data: 1\n\ndata: 2\n\n"
        assert server.accepted == 2


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", CHUNKED + chunk(b"half") + b"5\r\nx"]
)
async def test_an_answer_cut_short_gives_what_came_and_then_the_error(raw: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)

    async with ScriptedServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        assert (await response.read()).startswith(b"half")
        with pytest.raises(ConnectionLost) as caught:
            await whole(response)
        assert caught.value.got_bytes
        assert f"127.0.0.1:{server.port}" in caught.value.title


@on_each_loop
async def test_a_server_that_speaks_no_http_is_told_by_its_place() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.until_gone()

    async with ScriptedServer(script) as server:
        with pytest.raises(BadReply, match=f"127.0.0.1:{server.port}"):
            await Upstream(server.address).send("GET", "/", ())


@on_each_loop
async def test_fifty_megabytes_pass_unchanged_in_both_directions() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request.body))
        await peer.send(request.body)
        await peer.until_gone()

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)
        response = await upstream.send("POST", "/", (), BIG)
        digest = hashlib.sha256()
        while piece := await response.read():
            digest.update(piece)
        assert digest.digest() == hashlib.sha256(BIG).digest()
        assert upstream.idle == 1


@on_each_loop
async def test_an_early_refusal_is_delivered_though_the_server_closes_without_reading_the_body() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 7\r\n\r\ntoo big")

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)
        for _ in range(10):
            response = await upstream.send("POST", "/", (), BIG)
            assert (response.status, await whole(response)) == (413, b"too big")
        assert upstream.idle == 0


@on_each_loop
async def test_a_slow_reader_makes_the_server_wait() -> None:
    size = 64 << 20
    waits = asyncio.Event()
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        piece = bytes(1 << 16)
        while sent < size:
            peer.writer.write(piece)
            sent += len(piece)
            drained = asyncio.ensure_future(peer.writer.drain())
            if not waits.is_set() and not (await asyncio.wait({drained}, timeout=0.2))[0]:
                waits.set()
            await drained
        await peer.until_gone()

    async with ScriptedServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        await waits.wait()
        assert sent < size / 2
        assert response.unread < 2 << 20
        read = 0
        while piece := await response.read():
            read += len(piece)
        assert read == size


# --- keep-alive


@on_each_loop
async def test_a_connection_is_used_again_and_says_so() -> None:
    async with ScriptedServer(answering(OK, NO_BODY, CHUNKED + chunk(b"x") + b"0\r\n\r\n")) as server:
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

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)
        assert await asyncio.gather(*(get(upstream) for _ in range(3))) == [b"ok"] * 3
        assert server.accepted == 3
        assert upstream.idle == 3


@on_each_loop
async def test_a_connection_that_rested_too_long_is_not_used() -> None:
    async with ScriptedServer(answering(OK)) as server:
        upstream = Upstream(server.address, idle_expiry_s=0)
        await get(upstream)
        await get(upstream)
        assert server.accepted == 2


@on_each_loop
async def test_a_fresh_connection_is_made_when_asked_for() -> None:
    async with ScriptedServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        await get(upstream, fresh=True)
        assert server.accepted == 2


@on_each_loop
async def test_a_connection_that_the_server_closed_while_it_rested_is_dropped() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with ScriptedServer(script) as server:
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

    async with ScriptedServer(script) as server:
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
        async with ScriptedServer(script) as server:  # type: ignore[arg-type]
            upstream = Upstream(server.address)
            await get(upstream)
            response = await upstream.send("POST", "/", (), b"x")
            assert (await whole(response), response.reused) == (b"ok", False)
            assert counted == [2, 1]


@on_each_loop
async def test_a_used_connection_that_dies_within_an_answer_is_not_tried_again() -> None:
    counted, script = dying_at_second_request("close", b"HTTP/1.1 2")
    async with ScriptedServer(script) as server:  # type: ignore[arg-type]
        upstream = Upstream(server.address)
        await get(upstream)
        with pytest.raises(ConnectionLost) as caught:
            await get(upstream)
        assert (caught.value.reused, caught.value.got_bytes) == (True, True)
        assert counted == [2]


@on_each_loop
async def test_a_new_connection_that_dies_is_not_tried_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)
        with pytest.raises(ConnectionLost) as caught:
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

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)
        await get(upstream)
        with pytest.raises(ConnectionLost) as caught:
            await get(upstream)
        assert not caught.value.reused
        assert server.accepted == 2


@on_each_loop
async def test_a_server_that_closes_after_each_answer_costs_no_request() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"data") + b"0\r\n\r\n")

    async with ScriptedServer(script) as server:
        upstream = Upstream(server.address)

        async def client() -> None:
            for _ in range(25):
                assert await get(upstream) == b"data"

        await asyncio.gather(*(client() for _ in range(8)))


# --- giving up


@on_each_loop
async def test_a_request_cancelled_before_the_answer_closes_the_connection() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_gone()

    async with ScriptedServer(script) as server:
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

    async with ScriptedServer(script) as server:
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

    async with ScriptedServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        response.abort()
        await server.peers[0].gone.wait()
        with pytest.raises(ConnectionLost):
            await response.read()


@on_each_loop
async def test_cancelling_while_connecting_leaves_nothing_open() -> None:
    connected = asyncio.Event()

    async def script(peer: Peer) -> None:
        connected.set()
        await peer.until_gone()

    async with ScriptedServer(script) as server:
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
    async with ScriptedServer(answering(answer)) as server:
        upstream = Upstream(Address("http", "127.0.0.1", server.port, "/base"))
        first = await upstream.fetch("GET", "/v1/models", headers=[(b"authorization", b"Bearer x")])
        second = await upstream.fetch("GET", "/v1/models")
        assert (first.status, first.body, first.header(b"content-type")) == (200, b"{}", b"application/json")
        assert (first.reused, second.reused) == (False, True)
        assert 0 < second.elapsed_s < 1
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

        async with ScriptedServer(script) as server:
            with pytest.raises(ReplyTooLate, match=words) as caught:
                await Upstream(server.address).fetch("GET", "/v1/models", timeout_s=0.3)
            assert f"127.0.0.1:{server.port}" in caught.value.title
            await server.peers[0].gone.wait()


@on_each_loop
async def test_a_fetch_that_cannot_even_connect_in_time_says_so() -> None:
    async with ScriptedServer(Peer.until_gone) as server:
        upstream = Upstream(Address("https", "127.0.0.1", server.port))
        with pytest.raises(ConnectFailed) as caught:
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

    async with ScriptedServer(script) as server:
        with pytest.raises(ReplyTooLarge, match="more than 50000 bytes"):
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

    async with ScriptedServer(script) as server:
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
    async with ScriptedServer(answering(OK)) as server:
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

    async with ScriptedServer(script, tls=server_tls) as server:
        upstream = Upstream(server.address, tls=client_trusting(authority))
        body = BIG[: 5 << 20]
        assert await whole(await upstream.send("POST", "/", (), body)) == hashlib.sha256(body).digest()
        response = await upstream.send("GET", "/", ())
        assert (response.reused, await whole(response)) == (True, b"to the end")
        await until_open(upstream, 0)


@on_each_loop
async def test_a_backend_with_a_self_signed_certificate_is_not_spoken_to() -> None:
    server_tls, _ = server_context("self-signed")
    async with ScriptedServer(answering(OK), tls=server_tls) as server:
        with pytest.raises(ConnectFailed, match="self-signed") as caught:
            await Upstream(server.address).send("GET", "/", ())
        assert caught.value.cause == "tls"
        assert not server.requests
