"""What a request costs, counted and not timed, so that no busy machine can make the outcome another.

`relay_cost.json` beside this file has the calls that the service makes for one request, of its own functions and of
those built into Python. They may not grow by more than a twentieth unless that number is changed in the same commit,
with the reason in its message. Fewer calls deserve a new number too, or the next growth goes unseen.
"""

import asyncio
import gc
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median
from types import FrameType

import pytest

from bench.upstream import ANSWER, CHUNK, CHUNKS
from gateway.local_gateway import KEY, LocalGateway, running
from meshlight.domain.backend import Kind
from meshlight.domain.config import Config

RECORDED = Path(__file__).with_name("relay_cost.json")
GROWTH = 0.05
ROUNDS = 40
"""Requests of which the median is taken: what happens only now and then is not counted."""
PATIENCE_S = 10.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
ANSWERS = {
    "chat": HEAD + ANSWER,
    "stream": STREAM_HEAD + CHUNK * CHUNKS + LAST_CHUNK,
    "messages": HEAD + ANSWER,
    "translated": HEAD + ANSWER,
}
PATHS = {
    "chat": "/v1/chat/completions",
    "stream": "/v1/chat/completions",
    "messages": "/v1/messages",
    "translated": "/v1/messages",
}
KINDS: dict[str, Kind] = {"translated": "mlx"}
"""The kinds of backends that lack the path."""


class ThreadedBackend:
    """Answers each request with the same bytes, from a thread whose calls are not counted."""

    name = "a"

    def __init__(self, answer: bytes, kind: Kind = "openai-compatible") -> None:
        self.kind: Kind = kind
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(PATIENCE_S)
        self._listener.close()

    def _serve(self) -> None:
        """Answer on one connection, until the gateway closes it."""
        connection, _ = self._listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while read_whole(connection):
                connection.sendall(self._answer)


def read_whole(connection: socket.socket) -> bytes:
    """Return one request or answer in HTTP/1.1; nothing when the connection has ended."""
    data = b""
    while piece := connection.recv(1 << 20):
        data += piece
        head, mark, body = data.partition(b"\r\n\r\n")
        if not mark:
            continue
        length = next(
            (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None
        )
        if body.endswith(LAST_CHUNK) if length is None else len(body) >= int(length.partition(b":")[2]):
            return data
    return b""


class Counter:
    """Counts the calls that this thread makes in the service's own code."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event in {"call", "c_call"} and "meshlight" in frame.f_code.co_filename.replace("\\", "/").split(
            "/"
        ):
            self.calls += 1


@pytest.fixture(params=sorted(ANSWERS))
def what(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(what: str) -> Iterator[ThreadedBackend]:
    backend = ThreadedBackend(ANSWERS[what], KINDS.get(what, "openai-compatible"))
    yield backend
    backend.close()


@pytest.fixture(params=["lane", "task"])
def road(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def gateway(backend: ThreadedBackend, road: str) -> AsyncIterator[LocalGateway]:
    async with running(None, Config(lane=road == "lane")) as gateway:
        gateway.rig.add(backend)
        yield gateway


class Client:
    """Sends the same request again and again, from threads whose calls are not counted."""

    def __init__(self, gateway: LocalGateway, what: str) -> None:
        body = json.dumps(
            {
                "model": "m",
                "messages": [{"role": "user", "content": "Say hello, and keep it short, please."}],
                "max_tokens": 20,
                "stream": what == "stream",
            }
        ).encode()
        port = int(gateway.url.rpartition(":")[2])
        lines = (
            f"POST {PATHS[what]} HTTP/1.1",
            f"host: 127.0.0.1:{port}",
            f"authorization: Bearer {KEY}",
            "content-type: application/json",
            f"content-length: {len(body)}",
        )
        self._raw = "\r\n".join((*lines, "", "")).encode() + body
        self._port = port
        self._socket: socket.socket | None = None

    async def send(self) -> bytes:
        return await asyncio.to_thread(self._send)

    def _send(self) -> bytes:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(self._raw)
        return read_whole(self._socket)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


async def test_a_request_costs_no_more_calls_than_were_recorded(
    gateway: LocalGateway, what: str, road: str
) -> None:
    client, counter, counts = Client(gateway, what), Counter(), []
    before = sys.getprofile()
    try:
        for _ in range(5):  # what is made once and kept
            assert (await client.send()).startswith(b"HTTP/1.1 200 OK\r\n")
        for _ in range(ROUNDS):
            counter.calls = 0
            sys.setprofile(counter)
            await client.send()
            sys.setprofile(before)
            counts.append(counter.calls)
    finally:
        sys.setprofile(before)
        client.close()
    counted = round(median(counts))
    recorded: int = json.loads(RECORDED.read_text())[road][what]
    assert counted <= recorded * (1 + GROWTH), (
        f"A {what} request in the {road} makes {counted} calls, {recorded} are recorded. If that is worth it,"
        f" write {counted} into {RECORDED.name} in the same commit and say there what it buys."
    )


async def test_a_request_leaves_nothing_for_the_collector(gateway: LocalGateway, what: str) -> None:
    client = Client(gateway, what)
    try:
        for _ in range(5):
            await client.send()
        gc.collect()
        gc.disable()
        for _ in range(ROUNDS):
            await client.send()
        assert gc.collect() < ROUNDS
    finally:
        gc.enable()
        client.close()
