import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from event_loops import on_each_loop
from http_client.test_connector import free_port
from meshlight.domain.errors import ConnectError
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.opening import Dial, TaskOpening
from servers.byte_server import OK, ByteServer, Peer, answering

full_server = pytest.mark.skipif(sys.platform != "linux", reason="others answer when their queue is full")


@contextmanager
def full() -> Iterator[socket.socket]:
    """Listen, but let nobody in any more: to connect takes as long as one may wait."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener


def to(listener: socket.socket, limit_s: float = 5.0) -> Upstream:
    return Upstream(Address("http", *listener.getsockname()), connect_timeout_s=limit_s)


@on_each_loop
async def test_an_ip_address_is_dialled_without_a_task() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        opening, ended = upstream.open_at_once(), asyncio.Event()
        assert isinstance(opening, Dial)
        opening.then(ended.set)
        await ended.wait()
        assert opening.connection is not None
        response = await upstream.send("GET", "/", (), sent=opening)
        assert (response.status, response.reused) == (200, False)
        upstream.close()


@on_each_loop
async def test_who_comes_when_it_is_over_is_called_too() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(server.address)
        opening = upstream.open_at_once()
        connection = await opening.wait()
        ended = asyncio.Event()
        opening.then(ended.set)
        assert not ended.is_set()
        await ended.wait()
        assert await opening.wait() is connection
        connection.close()


@on_each_loop
async def test_a_name_is_looked_up_by_a_task() -> None:
    async with ByteServer(answering(OK)) as server:
        upstream = Upstream(Address("http", "localhost", server.port))
        opening = upstream.open_at_once()
        assert isinstance(opening, TaskOpening)
        (await opening.wait()).close()


@on_each_loop
async def test_a_refusal_says_so_and_where() -> None:
    port = free_port()
    with pytest.raises(ConnectError, match=f"Connection refused at 127.0.0.1:{port}.") as caught:
        await Upstream(Address("http", "127.0.0.1", port)).open_at_once().wait()
    assert caught.value.cause == "refused"


@on_each_loop
async def test_what_is_forbidden_is_not_dialled() -> None:
    for upstream in (
        Upstream(Address("http", "169.254.169.254", 80)),
        Upstream(Address("http", "127.0.0.1", 4_000), own=frozenset({("127.0.0.1", 4_000)})),
    ):
        with pytest.raises(ConnectError) as caught:
            await upstream.open_at_once().wait()
        assert caught.value.cause == "forbidden"


@full_server
@on_each_loop
async def test_a_server_that_lets_nobody_in_is_given_up_in_time() -> None:
    with full() as listener:
        with pytest.raises(ConnectError, match=r"within 0\.05 s") as caught:
            await to(listener, 0.05).open_at_once().wait()
        assert caught.value.cause == "timeout"


@full_server
@on_each_loop
async def test_what_nobody_wants_any_more_is_not_connected_to() -> None:
    with full() as listener:
        upstream = to(listener)
        opening = upstream.open_at_once()
        waiting = asyncio.create_task(opening.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert opening.is_over
        for _ in range(3):
            await asyncio.sleep(0)
        assert (opening.connection, opening.error, upstream.open) == (None, None, 0)


@on_each_loop
async def test_one_that_is_there_and_that_nobody_wants_any_more_is_closed() -> None:
    async with ByteServer(Peer.until_gone) as server:
        upstream = Upstream(server.address)
        opening = upstream.open_at_once()
        await opening.wait()
        waiting = asyncio.create_task(opening.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await server.peers[0].gone.wait()
        assert upstream.open == 0


@on_each_loop
async def test_a_task_that_ends_gives_its_error_to_who_waits() -> None:
    opening = Upstream(Address("http", "no-such-name.invalid", 80)).open_at_once()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening.wait()
