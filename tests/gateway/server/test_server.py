"""The server answers, notices disconnects, and stops without dropping running requests."""

import asyncio
import socket
import struct
import sys
import threading

import pytest

from meshlight.gateway.server.asgi import Receive, Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.limits import Limits
from meshlight.gateway.server.listener import bind
from meshlight.gateway.server.server import GatewayServer, serve
from security.wire import LOOPS, PATIENCE_S, Echo, Reply, read_all, running
from stopwatch import Stopwatch

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Gate:
    """An application that starts an answer when asked and ends it when the test opens the gate."""

    def __init__(self, *, start: bool = True) -> None:
        self.start = start
        self.entered = threading.Event()
        self.left = threading.Event()
        self.cancelled = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.open: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        if scope["type"] != "http":
            return
        self.loop = asyncio.get_running_loop()
        self.open = asyncio.Event()
        disconnect = scope["extensions"][DISCONNECT]
        disconnect.add(self.left.set)
        if self.start:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        disconnect.discard(self.left.set)
        if not self.start:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"two"})

    def release(self) -> None:
        assert self.loop is not None
        assert self.open is not None
        self.loop.call_soon_threadsafe(self.open.set)


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_departure_is_told_at_once_before_and_in_the_middle_of_an_answer(
    how: str, start: bool, loop_name: str
) -> None:
    gate = Gate(start=start)
    with running(gate, LOOPS[loop_name], guarded=False) as gateway:
        sock = gateway.connect()
        sock.sendall(GET)
        assert gate.entered.wait(PATIENCE_S)
        stopwatch = Stopwatch()
        if how == "half-close":
            sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            sock.setsockopt(
                socket.SOL_SOCKET,
                socket.SO_LINGER,
                struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0),
            )
            sock.close()
        else:
            sock.close()
        assert gate.left.wait(PATIENCE_S)
        assert stopwatch.elapsed_s < 0.25
        gate.release()
        sock.close()


def test_a_departure_is_told_even_when_more_requests_were_sent_ahead(loop_name: str) -> None:
    gate = Gate()
    with running(gate, LOOPS[loop_name], guarded=False) as gateway:
        with gateway.connect() as sock:
            sock.sendall(GET * 3)
            assert gate.entered.wait(PATIENCE_S)
            sock.sendall(GET * 3)
        assert gate.left.wait(PATIENCE_S)
        gate.release()


def test_who_asks_late_for_a_departure_is_told_too(loop_name: str) -> None:
    answer = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnect = scope["extensions"][DISCONNECT]
        assert disconnect.gone
        discarded = asyncio.Event()
        disconnect.add(discarded.set)
        disconnect.discard(discarded.set)
        disconnect.add(answer.set)
        await asyncio.sleep(0)
        assert not discarded.is_set()

    with running(app, LOOPS[loop_name], guarded=False) as gateway:
        with gateway.connect() as sock:
            sock.sendall(GET)
        assert answer.wait(PATIENCE_S)


def test_a_listener_of_one_request_hears_nothing_of_the_next(loop_name: str) -> None:
    received = threading.Event()
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/forgetful":
            scope["extensions"][DISCONNECT].add(received.set)
        else:
            scope["extensions"][DISCONNECT].add(ended.set)
            ended.clear()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        if scope["path"] == "/forgetful":
            await send({"type": "http.response.body"})
        else:
            await receive()
            await receive()

    with running(app, LOOPS[loop_name], guarded=False) as gateway:
        with gateway.connect() as sock:
            sock.sendall(b"GET /forgetful HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            sock.sendall(GET)
        assert ended.wait(PATIENCE_S)
    assert not received.is_set()


def test_stopping_lets_a_running_answer_end(loop_name: str) -> None:
    gate = Gate()
    with running(gate, LOOPS[loop_name], guarded=False) as gateway:
        idle = gateway.connect()
        sock = gateway.connect()
        sock.sendall(GET)
        assert gate.entered.wait(PATIENCE_S)
        gateway.loop.call_soon_threadsafe(gateway.server.stop)
        assert read_all(idle) == b""
        idle.close()
        with pytest.raises(OSError, match="refused"):
            gateway.connect()
        gate.release()
        assert read_all(sock).endswith(b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
        sock.close()


def test_stopping_ends_the_streams_first(loop_name: str) -> None:
    gate = Gate()

    async def ending() -> None:
        assert gate.open is not None
        gate.open.set()

    with running(gate, LOOPS[loop_name], guarded=False, ending=ending) as gateway, gateway.connect() as sock:
        sock.sendall(GET)
        assert gate.entered.wait(PATIENCE_S)
        gateway.loop.call_soon_threadsafe(gateway.server.stop)
        assert read_all(sock).endswith(b"0\r\n\r\n")


def test_stopping_waits_no_longer_than_it_should(loop_name: str) -> None:
    gate = Gate()

    async def ending() -> None:
        raise ValueError

    limits = Limits(drain_s=0.2)
    run = running(gate, LOOPS[loop_name], guarded=False, limits=limits, ending=ending)
    with run as gateway, gateway.connect() as sock:
        sock.sendall(GET)
        assert gate.entered.wait(PATIENCE_S)
        gateway.loop.call_soon_threadsafe(gateway.server.stop)
        assert not read_all(sock).endswith(b"0\r\n\r\n")
    assert gate.cancelled.is_set()


def test_stopping_twice_stops_at_once(loop_name: str) -> None:
    gate = Gate()
    with running(gate, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        sock.sendall(GET)
        assert gate.entered.wait(PATIENCE_S)
        stopwatch = Stopwatch()
        gateway.loop.call_soon_threadsafe(gateway.server.stop)
        gateway.loop.call_soon_threadsafe(gateway.server.stop)
        read_all(sock)
        assert stopwatch.elapsed_s < 2
    assert gate.cancelled.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="its loop keeps its timers elsewhere")
async def test_an_idle_server_never_wakes_up() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    server = GatewayServer(Echo())
    serving = asyncio.create_task(server.serve([bind("127.0.0.1", 0)]))
    await server.ready.wait()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []  # type: ignore[attr-defined]
    server.stop()
    await serving


async def test_serve_tells_when_it_is_ready_and_ends_when_told() -> None:
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(Echo(), [sock], stop=stop, ready=ready.set))
    await ready.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CLOSE)
    assert Reply(await reader.read()).status == 200
    writer.close()
    stop.set()
    await serving
