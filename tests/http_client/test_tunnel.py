import asyncio
from base64 import b64encode

import pytest
from msgspec.structs import replace

from backends.certificates import client_trusting, server_context
from event_loops import on_each_loop
from http_client.connect_proxy import ConnectProxy
from http_client.test_connector import free_port
from meshlight.domain.errors import ConnectError, ReadTimeout
from meshlight.domain.proxy import Proxy, UnusableProxy
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from servers.byte_server import OK, ByteServer, answering

CLOUD = Address("http", "cloud.test", 443)


async def failure(
    proxy: Proxy | UnusableProxy, address: Address = CLOUD, own: frozenset[tuple[str, int]] = frozenset()
) -> ConnectError:
    upstream = Upstream(address, proxy=proxy, own=own)
    with pytest.raises(ConnectError) as caught:
        await upstream.fetch("GET", "/", timeout_s=5)
    assert upstream.open == 0
    return caught.value


@on_each_loop
async def test_a_server_is_reached_by_its_name_through_the_proxy_with_tls_inside() -> None:
    tls, authority = server_context("good")
    async with ByteServer(answering(OK), tls=tls) as server, ConnectProxy(server.port) as proxy:
        upstream = Upstream(server.address, proxy=proxy.proxy, tls=client_trusting(authority))
        first = await upstream.fetch("GET", "/v1/models", headers=((b"authorization", b"Bearer k"),))
        second = await upstream.fetch("POST", "/v1/x", body=b"x" * 300_000)
        upstream.close()
    assert (first.status, first.body, second.status) == (200, b"ok", 200)
    assert (first.reused, second.reused) == (False, True)
    assert proxy.lines == [f"CONNECT {server.address.host_port} HTTP/1.1"]
    assert "Bearer" not in "".join(proxy.heads)
    assert [request.headers["host"] for request in server.requests] == [server.address.authority] * 2


@on_each_loop
async def test_a_server_without_tls_is_reached_through_a_tunnel_too_and_the_proxy_resolves_its_name() -> None:
    async with ByteServer(answering(OK)) as server, ConnectProxy(server.port) as proxy:
        upstream = Upstream(Address("http", "cloud.test", 8080), proxy=proxy.proxy)
        assert (await upstream.fetch("GET", "/")).status == 200
        upstream.close()
    assert proxy.lines == ["CONNECT cloud.test:8080 HTTP/1.1"]


@on_each_loop
async def test_the_certificate_inside_the_tunnel_is_checked_for_the_server() -> None:
    tls, authority = server_context("other host")
    async with ByteServer(answering(OK), tls=tls) as server, ConnectProxy(server.port) as proxy:
        upstream = Upstream(server.address, proxy=proxy.proxy, tls=client_trusting(authority))
        with pytest.raises(ConnectError, match="another IP address") as caught:
            await upstream.fetch("GET", "/")
    assert caught.value.cause == "tls"
    assert server.requests == []


async def test_the_credentials_of_the_proxy_go_to_the_proxy_alone_and_are_never_shown() -> None:
    async with ByteServer(answering(OK)) as server, ConnectProxy(server.port) as proxy:
        mine = replace(proxy.proxy, credentials="ann:hunter2")
        upstream = Upstream(CLOUD, proxy=mine)
        await upstream.fetch("GET", "/")
        upstream.close()
    assert f"Proxy-Authorization: Basic {b64encode(b'ann:hunter2').decode()}\r\n" in proxy.heads[0]
    assert all("proxy-authorization" not in request.headers for request in server.requests)
    assert "hunter2" not in repr(mine)
    async with ConnectProxy(answer=b"HTTP/1.1 407 No\r\n\r\n") as refusing:
        error = await failure(replace(mine, port=refusing.port, variable="https_proxy"))
    assert "refuses the user name and password (407)" in error.title
    assert "https_proxy" in error.hint
    assert "hunter2" not in error.title + error.hint


@pytest.mark.parametrize(
    ("answer", "text", "fix"),
    [
        (b"HTTP/1.1 407 Who?\r\n\r\n", "wants a user name and password (407)", "HTTPS_PROXY=http://NAME"),
        (
            b"HTTP/1.0 403 Forbidden\r\nX: y\r\n\r\n<html>",
            "forbids connections to cloud.test:443 (403)",
            "Ask who",
        ),
        (b"HTTP/1.1 405 Not Allowed\r\n\r\n", "does not connect to cloud.test:443 (405)", "Ask who"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "does not connect to", '"none"'),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "can't reach cloud.test:443 (502)", "name is known there"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 504 Late\r\n\r\n",
            "can't reach cloud.test:443 (504)",
            '"none"',
        ),
        (b"SSH-2.0-x\r\n", "something that is not HTTP", "Check the proxy of this backend"),
        (b"HTTP/1.1 " + b"x" * 20_000, "something that is not HTTP", '"none"'),
        (b"HTTP/1.1 two hundred\r\n\r\n", "something that is not HTTP", '"none"'),
        (b"", "closed the connection without an answer", '"none"'),
        (b"HTTP/1.1 20", "closed the connection without an answer", '"none"'),
    ],
)
async def test_what_a_proxy_answers_instead_of_a_tunnel_is_the_reason(
    answer: bytes, text: str, fix: str
) -> None:
    async with ConnectProxy(answer=answer) as proxy:
        error = await failure(proxy.proxy)
    assert error.cause == "proxy"
    assert text in error.title
    assert proxy.proxy.host_port in error.title
    assert fix in error.hint


async def test_a_port_that_proxies_often_forbid_is_named() -> None:
    async with ConnectProxy(answer=b"HTTP/1.1 403 No\r\n\r\n") as proxy:
        assert "port 443 only" in (await failure(proxy.proxy, replace(CLOUD, port=8443))).hint


async def test_a_proxy_that_is_not_there_is_the_reason() -> None:
    error = await failure(Proxy("127.0.0.1", free_port(), variable="HTTPS_PROXY"))
    assert error.cause == "proxy"
    assert "connection refused at 127.0.0.1" in error.title
    assert "the variable HTTPS_PROXY" in error.hint


async def test_a_setting_that_is_no_http_proxy_is_the_reason_and_nothing_is_sent() -> None:
    error = await failure(UnusableProxy("is not the URL of an HTTP proxy: …", "ALL_PROXY"))
    assert error.title.startswith("The variable ALL_PROXY is not the URL of an HTTP proxy")


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0"])
async def test_no_proxy_is_asked_for_an_address_that_may_not_be_spoken_to(host: str) -> None:
    async with ConnectProxy() as proxy:
        assert (await failure(proxy.proxy, Address("http", host, 80))).cause == "forbidden"
    assert proxy.heads == []


async def test_meshlight_is_not_its_own_proxy() -> None:
    async with ConnectProxy() as proxy:
        error = await failure(proxy.proxy, own=frozenset({("127.0.0.1", proxy.port)}))
    assert error.cause == "forbidden"
    assert proxy.heads == []


async def test_a_server_that_speaks_before_it_is_asked_is_not_trusted() -> None:
    async with ByteServer(answering(OK)) as server:
        early = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        async with ConnectProxy(server.port, early) as proxy:
            assert "spoke before it was asked" in (await failure(proxy.proxy)).title


async def test_a_silent_proxy_holds_nobody_up_and_keeps_no_connection() -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()
        gone.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream(CLOUD, proxy=Proxy("127.0.0.1", port))
    with pytest.raises((ConnectError, ReadTimeout)) as caught:
        await upstream.fetch("GET", "/", timeout_s=0.6)
    assert f"through the proxy 127.0.0.1:{port}" in caught.value.title
    await asyncio.wait_for(gone.wait(), 20)
    server.close()
    await server.wait_closed()
