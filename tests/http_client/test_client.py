"""The client against real sockets, on the standard library's loop and on uvloop."""

import asyncio
import hashlib

import pytest

from backends.reading import BIG, CHUNKED, get, whole
from event_loops import on_each_loop
from meshlight.domain.errors import BadRequest, ReadError, RemoteProtocolError
from meshlight.http_client.client import Upstream
from servers.byte_server import OK, ByteServer, Peer, answering, chunk

# --- the request on the wire


@on_each_loop
async def test_a_request_goes_out_as_it_was_given_with_host_and_length_added() -> None:
    async with ByteServer(answering(OK)) as server:
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
    async with ByteServer(answering(OK)) as server:
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
    async with ByteServer(answering(OK)) as server:
        with pytest.raises(BadRequest):
            await Upstream(server.address).send(method, target, headers)
        assert server.accepted == 0


async def test_any_number_of_targets_is_not_remembered_for_ever() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        for place in range(600):
            await get(upstream, f"/{place}")
        assert len(upstream._lines) <= 256
        assert server.requests[-1].line == "GET /599 HTTP/1.1"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with ByteServer(answering(OK)) as server:
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

    async with ByteServer(script) as server:
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

    async with ByteServer(script) as server:
        assert await get(Upstream(server.address)) == "grüß Gott".encode()


@on_each_loop
async def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n", b"data: 2\n\n"
        )

    async with ByteServer(script) as server:
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

    async with ByteServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        assert (await response.read()).startswith(b"half")
        with pytest.raises(ReadError) as caught:
            await whole(response)
        assert caught.value.got_bytes
        assert f"127.0.0.1:{server.port}" in caught.value.title


@on_each_loop
async def test_a_server_that_speaks_no_http_is_told_by_its_place() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.until_gone()

    async with ByteServer(script) as server:
        with pytest.raises(RemoteProtocolError, match=f"127.0.0.1:{server.port}"):
            await Upstream(server.address).send("GET", "/", ())


@on_each_loop
async def test_fifty_megabytes_pass_unchanged_in_both_directions() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request.body))
        await peer.send(request.body)
        await peer.until_gone()

    async with ByteServer(script) as server:
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

    async with ByteServer(script) as server:
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

    async with ByteServer(script) as server:
        response = await Upstream(server.address).send("GET", "/", ())
        await waits.wait()
        assert sent < size / 2
        assert response.unread < 2 << 20
        read = 0
        while piece := await response.read():
            read += len(piece)
        assert read == size
