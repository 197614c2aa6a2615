"""Clients without a paired key get as far as the handshake, a few at a time, and for a short time."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from event_loops import on_each_loop
from meshlight.gateway.lan.server import TlsAcceptor
from meshlight.gateway.server.listener import bind
from meshlight.peers.tls import client_context, server_context
from peers.node_identities import node

HERE, FRIEND = node(), node()
FRIENDLY = client_context(FRIEND, HERE.certificate_pem)


class Hello(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]


@asynccontextmanager
async def gate(
    handshake_s: float = 5.0, most: int = 4, connect: Callable[[], asyncio.Protocol] = Hello
) -> AsyncIterator[tuple[TlsAcceptor, int]]:
    sock = bind("127.0.0.1", 0)
    tls = server_context(HERE, [FRIEND.certificate_pem])
    found = TlsAcceptor(sock, tls, connect, handshake_s=handshake_s, limit=most)
    port: int = sock.getsockname()[1]
    try:
        yield found, port
    finally:
        await found.close()


async def greeted(port: int, tls: ssl.SSLContext = FRIENDLY) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        return await asyncio.wait_for(reader.read(5), 5)
    finally:
        writer.transport.abort()


async def hung_up(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionError:
        return True


@on_each_loop
async def test_a_friend_comes_through_however_many_strangers_are_in_the_way() -> None:
    async with gate() as (_, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        assert await greeted(port) == b"hello"
        assert await hung_up(silent[0][0])  # the eldest had to go
        for _, writer in silent:
            writer.transport.abort()
        assert await greeted(port) == b"hello"


@on_each_loop
async def test_a_handshake_that_takes_too_long_is_cut() -> None:
    async with gate(handshake_s=0.1) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01")
        assert await hung_up(reader)
        writer.close()


@on_each_loop
async def test_garbage_ends_its_own_connection_only() -> None:
    async with gate() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with_alert = await asyncio.wait_for(reader.read(100), 5)
        assert b"HTTP" not in with_alert
        writer.close()
        assert await greeted(port) == b"hello"


@on_each_loop
async def test_after_close_nobody_is_in_and_the_port_is_free() -> None:
    before = asyncio.all_tasks()
    async with gate() as (found, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0)
        await found.close()
        assert await hung_up(reader)
        writer.close()
        bind("127.0.0.1", port).close()
    assert not [task for task in asyncio.all_tasks() - before if not task.done()]
