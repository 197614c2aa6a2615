"""Who sees the token, where redirects may lead, and what is read."""

import asyncio
from collections.abc import Mapping

import pytest

from meshlight.local_models.downloads.problems import DownloadFailed
from meshlight.local_models.downloads.web import REDIRECTS_MAX, Web
from servers.byte_server import OK, ByteServer, Peer, Script, answering

TOKEN = "hf_secret"


def redirecting(location: str) -> Script:
    return answering(f"HTTP/1.1 302 X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())


async def get(web: Web, url: str, limit: int = 100, headers: Mapping[str, str] | None = None) -> bytes:
    try:
        async with web.get(url, what="it", headers=headers) as answer:
            return await answer.read(limit)
    finally:
        await web.close()


async def test_the_token_is_shown_to_the_hub_and_to_nobody_that_it_redirects_to() -> None:
    async with ByteServer(answering(OK)) as files, ByteServer(redirecting(f"{files.url}/x")) as hub:
        assert await get(Web(origin=hub.url, token=lambda: TOKEN), f"{hub.url}/y") == b"ok"
        assert hub.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert "authorization" not in files.requests[0].headers


async def test_a_redirect_back_to_the_hub_brings_no_token_either() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        there = f"{files.url}/x" if request.target == "/first" else ""
        head = f"HTTP/1.1 302 X\r\nlocation: {there}\r\n" if there else "HTTP/1.1 200 OK\r\n"
        await peer.send(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())

    async with ByteServer(script) as hub, ByteServer(redirecting(f"{hub.url}/second")) as files:
        await get(Web(origin=hub.url, token=lambda: TOKEN), f"{hub.url}/first")
        assert ["authorization" in request.headers for request in hub.requests] == [True, False]


async def test_a_redirect_on_the_hub_itself_keeps_the_token() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        head = "302 X\r\nlocation: /new" if request.target == "/old" else "200 OK"
        await peer.send(f"HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())

    async with ByteServer(script) as hub:
        await get(Web(origin=hub.url, token=lambda: TOKEN), f"{hub.url}/old")
        assert [request.headers.get("authorization") for request in hub.requests] == [f"Bearer {TOKEN}"] * 2


async def test_another_address_never_gets_the_token() -> None:
    async with ByteServer(answering(OK)) as server:
        await get(Web(origin="https://hub.example", token=lambda: TOKEN), server.url)
        assert "authorization" not in server.requests[0].headers


async def test_a_circle_of_redirects_ends() -> None:
    async with ByteServer(redirecting("/again")) as server:
        with pytest.raises(DownloadFailed, match="too many redirects"):
            await get(Web(), server.url)
        assert len(server.requests) == REDIRECTS_MAX + 1


async def test_cookies_are_not_kept() -> None:
    ok = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    async with ByteServer(answering(ok)) as server:
        web = Web()
        for _ in range(2):
            async with web.get(server.url, what="it") as answer:
                await answer.read(10)
        await web.close()
        assert "cookie" not in server.requests[1].headers


async def test_a_body_that_is_too_large_is_not_read_to_its_end() -> None:
    async with ByteServer(answering(OK)) as server:
        with pytest.raises(DownloadFailed, match="larger than 1 bytes"):
            await get(Web(), server.url, limit=1)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://", "nonsense", "http://[::1"])
async def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(DownloadFailed, match="is not an address of the web"):
        await get(Web(), url)


async def test_a_proxy_that_can_not_be_used_is_told_without_its_password() -> None:
    with pytest.raises(DownloadFailed, match="can't be used") as failed:
        await get(Web(proxy="gopher://me:secret@proxy.example"), "http://hub.example/x")
    assert "secret" not in str(failed.value)


async def test_loopback_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with ByteServer(answering(OK)) as server:
        assert await get(Web(), server.url) == b"ok"


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ByteServer(answering(OK)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert await get(Web(), "http://hub.example/x") == b"ok"
        assert proxy.requests[0].target == "http://hub.example/x"
        await asyncio.sleep(0)
