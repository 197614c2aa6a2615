"""The LAN listener opens and closes while the service runs, and knows the peer of each connection."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from meshlight.domain.errors import ServiceError
from meshlight.gateway.lan.server import LanServer, everywhere
from meshlight.gateway.server.asgi import Receive, Scope, Send
from meshlight.gateway.server.limits import Limits
from meshlight.gateway.server.listener import bind
from meshlight.peers.tls import ServerTls, client_context
from peers.node_identities import node
from security.paired_node import free_port, read_all

HERE, ANNA, BEN = node(), node(), node()
ASK = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n"


class Rooms:
    """A listener with an app that says whose the connection is, and can be made to hang."""

    def __init__(self, limits: Limits) -> None:
        self.tls = ServerTls(HERE, [ANNA.certificate_pem, BEN.certificate_pem])
        self.lan = LanServer(self._app, self._end, limits)
        self.asked: list[str] = []
        self.endings = 0
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def open(self, port: int = 0) -> None:
        await self.lan.open(self.tls.context, self.tls.who, port)

    async def connect(self, who: Any = ANNA) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = client_context(who, HERE.certificate_pem)
        return await asyncio.open_connection("127.0.0.1", self.lan.port, ssl=tls)

    async def request(self, who: Any = ANNA) -> str:
        reader, writer = await self.connect(who)
        writer.write(ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        raw = await asyncio.wait_for(read_all(reader), 10)
        writer.close()
        return str(json.loads(raw.partition(b"\r\n\r\n")[2])) if raw else ""

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        peer: str = scope["state"]["peer"]
        self.asked.append(peer)
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        body = json.dumps(peer).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _end(self) -> None:
        self.endings += 1


@asynccontextmanager
async def rooms(**limits: Any) -> AsyncIterator[Rooms]:
    found = Rooms(Limits(**limits))
    try:
        yield found
    finally:
        await found.lan.close()


async def test_each_connection_is_its_peers() -> None:
    async with rooms() as found:
        await found.open()
        assert await found.request(ANNA) == ANNA.node_id
        assert await found.request(BEN) == BEN.node_id


async def test_it_opens_closes_and_opens_again() -> None:
    async with rooms() as found:
        assert found.lan.port == 0
        for round_ in (1, 2, 3):
            await found.open()
            port = found.lan.port
            await found.open(0)
            assert found.lan.port == port  # it listens already
            assert await found.request() == ANNA.node_id
            await found.lan.close()
            await found.lan.close()
            assert (found.lan.port, found.endings) == (0, round_)
            with pytest.raises(OSError, match=r"."):
                await asyncio.open_connection("127.0.0.1", port)


async def test_it_follows_to_another_port() -> None:
    async with rooms() as found:
        first, second = free_port(), free_port()
        await found.open(first)
        await found.open(second)

        assert found.lan.port == second
        assert await found.request() == ANNA.node_id
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection("127.0.0.1", first)


async def test_a_taken_port_is_told_with_the_setting_that_mends_it_and_can_be_tried_again() -> None:
    async with rooms() as found:
        with bind("0.0.0.0", 0) as other:
            port = other.getsockname()[1]
            with pytest.raises(ServiceError) as caught:
                await found.open(port)
            assert str(port) in caught.value.title
            assert "`[lan]`" in caught.value.hint
            assert found.lan.port == 0
        await found.open(port)
        assert await found.request() == ANNA.node_id


async def test_the_connections_of_one_peer_are_cut_and_those_of_others_stay() -> None:
    async with rooms() as found:
        await found.open()
        found.hold = asyncio.Event()
        reader, writer = await found.connect(ANNA)
        other, writing = await found.connect(BEN)
        for end in (writer, writing):
            found.entered.clear()
            end.write(ASK)
            await asyncio.wait_for(found.entered.wait(), 5)
        found.lan.cut(ANNA.node_id)
        assert await asyncio.wait_for(read_all(reader), 5) == b""

        found.hold.set()
        assert BEN.node_id.encode() in await asyncio.wait_for(other.readuntil(b'"'), 5) + await other.read(99)
        writing.close()
        writer.close()


async def test_a_peer_that_is_let_go_of_gets_no_further_connection() -> None:
    async with rooms() as found:
        await found.open()
        assert await found.request(ANNA) == ANNA.node_id
        found.tls.pin([BEN.certificate_pem])
        with suppress(OSError):
            assert await found.request(ANNA) == ""
        assert found.asked == [ANNA.node_id]
        assert await found.request(BEN) == BEN.node_id


async def test_a_connection_whose_key_is_nobodys_by_the_end_of_the_handshake_is_cut_unread() -> None:
    async with rooms() as found:
        await found.lan.open(found.tls.context, lambda _: None, 0)
        with suppress(OSError):
            assert await found.request(ANNA) == ""
        assert found.asked == []
        await found.lan.close()  # and it is counted nowhere: nothing is waited for


async def test_closing_lets_a_running_request_end() -> None:
    async with rooms() as found:
        await found.open()
        found.hold = asyncio.Event()
        reader, writer = await found.connect()
        writer.write(ASK)
        await asyncio.wait_for(found.entered.wait(), 5)
        closing = asyncio.create_task(found.lan.close())
        await asyncio.sleep(0)
        found.hold.set()

        assert ANNA.node_id.encode() in await asyncio.wait_for(read_all(reader), 5)
        await asyncio.wait_for(closing, 5)
        writer.close()


async def test_a_request_that_never_ends_is_cut_off_at_last() -> None:
    async with rooms(drain_s=0.1) as found:
        await found.open()
        found.hold = asyncio.Event()
        reader, writer = await found.connect()
        writer.write(ASK)
        await asyncio.wait_for(found.entered.wait(), 5)

        await asyncio.wait_for(found.lan.close(), 5)
        assert await asyncio.wait_for(read_all(reader), 5) == b""
        writer.close()


async def test_an_idle_connection_of_a_peer_is_closed() -> None:
    async with rooms(keep_alive_s=0.1, header_s=0.1) as found:
        await found.open()
        silent, writer = await found.connect()
        assert await asyncio.wait_for(read_all(silent), 5) == b""
        writer.close()


async def test_too_many_connections_are_told_so() -> None:
    async with rooms(connections=2) as found:
        await found.open()
        kept = [await found.connect() for _ in range(2)]
        reader, writer = await found.connect()
        assert (await asyncio.wait_for(read_all(reader), 5)).startswith(b"HTTP/1.1 503 ")
        for _, end in (*kept, (reader, writer)):
            end.transport.abort()


def test_ipv6_is_left_out_where_it_can_not_be_had() -> None:
    sockets = everywhere(0)
    try:
        port = sockets[0].getsockname()[1]
        assert {sock.getsockname()[1] for sock in sockets} == {port}
    finally:
        for sock in sockets:
            sock.close()
    with bind("0.0.0.0", 0) as probe:
        port = probe.getsockname()[1]
    with bind("::", port):
        [only] = everywhere(port)
        only.close()


def test_the_context_is_tls_1_3() -> None:
    tls = ServerTls(HERE, [])
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_3
