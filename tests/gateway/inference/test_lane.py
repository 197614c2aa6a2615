"""What is answered in the lane, what is left to a task from where it is, and what never enters it."""

import asyncio
import gc
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from backends.certificates import client_trusting, server_context
from bench.upstream import ANSWER
from faults.held import HeldEngine
from faults.raw import RawBackend, chunked, complete, responds
from gateway.local_gateway import KEY, LocalGateway, running
from meshlight.domain.backend import Kind, Reason
from meshlight.domain.config import Config
from meshlight.domain.health import Unreached
from meshlight.domain.rules import Routing
from meshlight.gateway.inference.context_guard import LEARNED_FROM
from meshlight.gateway.inference.lane import HEADS_MAX, Lane
from meshlight.gateway.server.limits import Limits
from meshlight.http_client.connector import Resolver
from meshlight.mesh.symptoms import Symptoms
from servers.byte_server import chunk

pytestmark = pytest.mark.lane

WAIT_S = 10.0
CHAT = "/v1/chat/completions"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a word of the answer"}}]}\n\n'
JSON = b"content-type: application/json"
GOOD = complete(ANSWER, JSON)
CLOSING = complete(ANSWER, JSON, b"connection: close")
LAST = chunk(b"")


class Client:
    """One connection of a client."""

    def __init__(self, gateway: LocalGateway) -> None:
        self._port = int(gateway.url.rpartition(":")[2])
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self, limit: int = 1 << 16) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=limit)
        return self

    def send(self, *headers: str, path: str = CHAT, key: str = KEY, **fields: Any) -> None:
        self.writer.write(b"".join(self.request(*headers, path=path, key=key, **fields)))

    def request(self, *headers: str, path: str = CHAT, key: str = KEY, **fields: Any) -> tuple[bytes, bytes]:
        """Return head and body of a request."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields).encode()
        lines = (
            f"POST {path} HTTP/1.1",
            f"host: 127.0.0.1:{self._port}",
            f"authorization: Bearer {key}",
            *headers,
            f"content-length: {len(body)}",
        )
        return "\r\n".join((*lines, "", "")).encode(), body

    async def send_pieces(self, *pieces: bytes) -> None:
        """Send each piece so that it is read by itself."""
        for piece in pieces:
            self.writer.write(piece)
            for _ in range(5):
                await asyncio.sleep(0)

    async def answer(self) -> tuple[bytes, bytes]:
        """Return head and body of an answer whose length is known."""
        async with asyncio.timeout(WAIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head, await self.reader.readexactly(length)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(mark)

    async def ask(self, *headers: str, **fields: Any) -> bytes:
        self.send(*headers, **fields)
        return (await self.answer())[0]

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
async def gateway() -> AsyncIterator[LocalGateway]:
    async with running(None) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: LocalGateway) -> AsyncIterator[Client]:
    client = await Client(gateway).open()
    yield client
    client.writer.close()


def lane_of(gateway: LocalGateway) -> Lane:
    assert gateway.lane is not None
    return gateway.lane


def numbers(gateway: LocalGateway) -> tuple[int, int]:
    """Return how many requests were begun in the lane, and how many of those went on in a task."""
    lane = lane_of(gateway)
    return lane.begun, lane.handed_over


def tally(gateway: LocalGateway) -> tuple[int, int, int, int]:
    router = gateway.rig.traffic.router
    assert router.in_flight == sum(gateway.rig.traffic.load.values()) == 0
    return router.total, router.successful, router.failed, router.cancelled


async def settled(gateway: LocalGateway, total: int) -> tuple[int, int, int, int]:
    """Wait until so many requests have ended, and return the tally."""
    router = gateway.rig.traffic.router
    async with asyncio.timeout(WAIT_S):
        while router.successful + router.failed + router.cancelled < total:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
    return tally(gateway)


async def test_once_the_route_is_known_a_request_needs_no_task(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        heads = [await client.ask("content-type: application/json", n=n) for n in (1, 20, 300)]
        posts = [request.raw_headers for request in backend.posts]
    assert numbers(gateway) == (2, 0)
    assert tally(gateway) == (3, 3, 0, 0)
    assert all(b"\r\nx-meshlight-backend: a\r\nx-meshlight-attempts: 1\r\n" in head for head in heads)
    assert len({tuple(pair for pair in headers if pair[0] != b"content-length") for headers in posts}) == 1
    work = gateway.rig.traffic.by_backend()["a"]
    assert (work.tokens_in, work.tokens_out) == (27, 27)


KINDS: dict[Kind, tuple[str, ...]] = {
    "openai-compatible": (CHAT, "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/messages"),
    "llamacpp": (CHAT, "/v1/messages"),
    "vllm": (CHAT, "/v1/messages/count_tokens"),
    "lmstudio": (CHAT,),
    "mlx": (CHAT,),
    "ollama": (CHAT, "/api/chat", "/api/generate", "/api/embed", "/api/embeddings"),
    "continuum": (CHAT,),
    "openai": (CHAT,),
    "anthropic": ("/v1/messages",),
    "peer": (CHAT, "/v1/messages", "/api/chat"),
}


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in KINDS.items() for path in paths])
async def test_each_kind_of_backend_has_the_lane(
    gateway: LocalGateway, client: Client, kind: Kind, path: str
) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend, kind=kind)
        for _ in range(3):
            assert (await client.ask(path=path)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert [request.target for request in backend.posts] == [path] * 3
        assert len({request.raw for request in backend.posts}) == 1
    assert numbers(gateway) == (2, 0)


async def test_a_backend_behind_tls_has_the_lane(gateway: LocalGateway, client: Client) -> None:
    server_tls, authority = server_context("good")
    gateway.rig.tls = client_trusting(authority)
    async with RawBackend("a", respond=responds(GOOD), tls=server_tls) as backend:
        assert backend.url.startswith("https:")
        gateway.rig.add(backend)
        for _ in range(3):
            assert b" 200 " in await client.ask()
        assert backend.accepted == 1
    assert numbers(gateway) == (2, 0)


class AtSocket(RawBackend):
    """Listens on a Unix socket."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, respond=responds(GOOD))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._path = path

    @property
    def url(self) -> str:
        return f"unix://{self._path}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for us")
async def test_a_backend_behind_a_socket_has_the_lane(gateway: LocalGateway, client: Client) -> None:
    with TemporaryDirectory() as folder:
        async with AtSocket("a", f"{folder}/a.sock") as backend:
            gateway.rig.add(backend)
            for _ in range(3):
                assert b" 200 " in await client.ask()
    assert numbers(gateway) == (2, 0)


async def test_what_one_account_keeps_is_learned_from_the_lane(gateway: LocalGateway, client: Client) -> None:
    kept = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc"}}]}]
    async with RawBackend("a", respond=responds(GOOD)) as a, RawBackend("b", respond=responds(GOOD)) as b:
        for backend in (a, b):
            gateway.rig.add(backend, "m", backend.name, kind="openai")
        for _ in range(2):
            await client.ask(model="b")
        await client.ask(model="b", messages=kept)
        assert numbers(gateway) == (2, 0)
        await client.ask(messages=kept)
        assert [len(backend.posts) for backend in (a, b)] == [0, 4]
    assert numbers(gateway) == (2, 0)


async def test_an_answer_that_may_name_a_container_is_read(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend, kind="openai")
        for _ in range(3):
            await client.ask(tools=[{"type": "code_interpreter"}])
    assert numbers(gateway) == (0, 0)


async def test_how_long_ollama_keeps_a_model_is_noted(gateway: LocalGateway, client: Client) -> None:
    line = b'{"model":"m","message":{"role":"assistant","content":"a word of the answer"},"done":false}\n'
    last = b'{"model":"m","done":true,"prompt_eval_count":7,"eval_count":5}\n'
    stream = chunked(line, last, content_type=b"application/x-ndjson")
    async with RawBackend("a", respond=responds(*stream)) as backend:
        gateway.rig.add(backend, kind="ollama")
        for keep_alive in ("5m", "5m", "x"):
            client.send(path="/api/chat", keep_alive=keep_alive)
            if keep_alive == "x":
                assert b" 400 " in (await client.answer())[0]
            else:
                assert (await client.until(b"0\r\n\r\n")).count(line) == 1
        client.send(path="/api/chat", model="nobody's")
        assert b" 404 " in (await client.answer())[0]
    assert numbers(gateway) == (1, 0)
    work = gateway.rig.traffic.by_backend()["a"]
    assert (work.tokens_in, work.tokens_out) == (14, 10)


async def test_a_tools_argument_is_no_count_of_ollamas(gateway: LocalGateway, client: Client) -> None:
    body = (
        b'{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":'
        b'{"usage":{"prompt_tokens":1,"completion_tokens":999}}}}]},"done":true,"prompt_eval_count":7,"eval_count":5}'
    )
    async with RawBackend(
        "a", respond=responds(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    ) as a:
        gateway.rig.add(a, kind="ollama")
        for _ in range(3):
            client.send(path="/api/chat")
            assert (await client.answer())[1] == body
    work = gateway.rig.traffic.by_backend()["a"]
    assert (work.tokens_in, work.tokens_out) == (21, 15)


@pytest.mark.parametrize(
    "header",
    [
        "origin: http://evil.example",
        "x-meshlight-via: elsewhere",
        "content-encoding: gzip",
        "content-type: multipart/form-data; boundary=x",
        "connection: close",
        "te: trailers",
    ],
)
async def test_an_odd_head_takes_the_other_road(gateway: LocalGateway, client: Client, header: str) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await client.ask()
        for _ in range(2):
            other = await Client(gateway).open()
            await other.ask(header)
            await other.close()
    assert numbers(gateway) == (0, 0)


async def test_a_head_that_no_other_is_like_is_not_remembered(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        for number in range(4):
            await client.ask(f"traceparent: 00-{number}-1-01")
        known = len(lane_of(gateway).heads)
        for number in range(HEADS_MAX + 3):
            await client.ask(f"accept: text/{number}")
    assert numbers(gateway) == (3 + HEADS_MAX + 3, 0)
    assert known == 0
    assert len(lane_of(gateway).heads) <= HEADS_MAX


async def test_nothing_of_a_request_stays(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        for number in range(3):
            await client.ask(f"x-app: {number}")
        gc.collect()
        gc.disable()
        try:
            for number in range(20):
                await client.ask(f"traceparent: {number}")
            assert gc.collect() < 20
        finally:
            gc.enable()
    assert numbers(gateway) == (22, 0)
    heads = lane_of(gateway).heads.values()
    assert heads
    assert not any(head.scope["extensions"] for head in heads)


async def test_settings_are_those_in_force(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        gateway.requires_key = False
        for _ in range(2):
            assert b" 200 " in await client.ask(key="wrong")
        assert numbers(gateway) == (1, 0)
        gateway.requires_key = True
        assert b" 401 " in await client.ask(key="wrong")
    assert numbers(gateway) == (1, 0)


async def test_a_setting_switches_it_off() -> None:
    async with (
        running(None, Config(lane=False)) as gateway,
        RawBackend("a", respond=responds(GOOD)) as backend,
    ):
        gateway.rig.add(backend)
        client = await Client(gateway).open()
        for _ in range(3):
            await client.ask()
        await client.close()
        assert numbers(gateway) == (0, 0)
        assert tally(gateway) == (3, 3, 0, 0)


async def test_what_is_not_one_whole_request_takes_the_other_road(
    gateway: LocalGateway, client: Client
) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await client.ask()
        client.send()
        client.send()  # behind the first one, and so neither is alone
        for _ in range(2):
            assert b" 200 " in (await client.answer())[0]
    assert numbers(gateway) == (0, 0)
    assert tally(gateway) == (3, 3, 0, 0)


@pytest.mark.parametrize("unique", [False, True])
async def test_a_body_may_come_after_its_head(gateway: LocalGateway, client: Client, unique: bool) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await client.ask()
        for number in range(4):
            head, body = client.request(*[f"traceparent: 00-{number}-1-01"] * unique, n=number)
            await client.send_pieces(head, body[: 20 * (number % 2)], body[20 * (number % 2) :])
            assert b" 200 " in (await client.answer())[0]
        await client.ask()
        assert [request.body for request in backend.posts[1:5]] == [
            client.request(n=number)[1] for number in range(4)
        ]
    assert numbers(gateway) == (5, 0)
    assert tally(gateway) == (6, 6, 0, 0)


async def test_a_client_that_writes_head_and_body_apart_has_the_lane(gateway: LocalGateway) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        for _ in range(4):
            answer = await gateway.http.post(CHAT, json={"model": "m", "messages": []})
            assert answer.status_code == 200
    assert numbers(gateway) == (3, 0)


async def test_more_than_the_body_is_the_next_request(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await client.ask()
        await client.ask()
        head, body = client.request()
        await client.send_pieces(head, body + head, body)
        for _ in range(2):
            assert b" 200 " in (await client.answer())[0]
    assert numbers(gateway) == (1, 0)
    assert tally(gateway) == (4, 4, 0, 0)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_body_that_never_comes_is_refused(is_known: bool) -> None:
    async with (
        running(None, limits=Limits(body_idle_s=0.05)) as gateway,
        RawBackend("a", respond=responds(GOOD)) as backend,
    ):
        gateway.rig.add(backend)
        client = await Client(gateway).open()
        await client.ask()
        if is_known:
            await client.ask()
        head, body = client.request(*([] if is_known else ["traceparent: 00-1-1-01"]))
        await client.send_pieces(head, body[:7])
        assert b" 408 " in (await client.answer())[0]
        assert await client.reader.read() == b""
        await client.close()
        assert tally(gateway) == (2, 2, 0, 0) if is_known else (1, 1, 0, 0)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_client_that_leaves_amid_its_body_asked_for_nothing(is_known: bool) -> None:
    async with running(None) as gateway, RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        client = await Client(gateway).open()
        await client.ask()
        head, body = client.request(*([] if is_known else ["traceparent: 00-1-1-01"]))
        await client.send_pieces(head, body[:7])
        await client.close()
        other = await Client(gateway).open()
        await other.ask()
        await other.close()
        assert tally(gateway) == (2, 2, 0, 0)
        assert len(backend.posts) == 2


async def test_a_held_request_ends_before_the_service_does() -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        stack = AsyncExitStack()
        gateway = await stack.enter_async_context(running(None))
        gateway.rig.add(backend)
        clients = [await Client(gateway).open() for _ in range(2)]
        for _ in range(3):
            await clients[0].ask()
        halves = [client.request(*extra) for client, extra in zip(clients, ([], ["b3: 1"]), strict=True)]
        for client, (head, _) in zip(clients, halves, strict=True):
            await client.send_pieces(head)
        closing = asyncio.create_task(stack.aclose())
        for _ in range(20):  # until the server has told its connections
            await asyncio.sleep(0)
        for client, (_, body) in zip(clients, halves, strict=True):
            await client.send_pieces(body)
            head, _ = await client.answer()
            assert b" 200 " in head
            assert b"\r\nconnection: close\r\n" in head
            await client.close()
        async with asyncio.timeout(WAIT_S):
            await closing
        assert tally(gateway) == (5, 5, 0, 0)


@pytest.mark.parametrize("name", ["a/m", "alias"])
async def test_another_name_of_the_model_is_in_the_answer(
    gateway: LocalGateway, client: Client, name: str
) -> None:
    gateway.rig.registry.route_by(Routing(policy="priority", aliases={"alias": "m"}))
    answer = b'{"model": "m", "choices": [], "padding": "of a whole answer"}'
    async with RawBackend("a", respond=responds(complete(answer, JSON))) as backend:
        gateway.rig.add(backend)
        for number in range(6):
            client.send(model=name if number % 2 else "m")
            if number % 2:
                got = await client.until(b"0\r\n\r\n")
                assert b'{"model": "%b"' % name.encode() in got
                assert b"\r\nx-meshlight-model: m\r\n" in got
            else:
                head, body = await client.answer()
                assert body == answer
                assert b"x-meshlight-model" not in head
        assert all(b'"model": "m"' in request.body for request in backend.posts)
    assert numbers(gateway) == (4, 0)
    assert tally(gateway) == (6, 6, 0, 0)


async def test_another_name_of_the_model_stays_when_a_task_goes_on(
    gateway: LocalGateway, client: Client
) -> None:
    event = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"a word"}}]}\n\n'
    async with Piecewise("a") as backend:
        gateway.rig.add(backend)
        backend.pieces.put_nowait(complete(b'{"model":"m","padding":"of a whole answer"}', JSON))
        backend.pieces.put_nowait(None)
        client.send(model="a/m")
        await client.until(b"0\r\n\r\n")
        backend.pieces.put_nowait(GOOD)
        await client.ask()
        backend.pieces.put_nowait(chunked(event)[0] + chunk(event))
        client.send(model="a/m", stream=True)
        await client.until(b'{"model":"a/m",')
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        padded = event.replace(b"word", b"x" * 100_000)
        for _ in range(100):
            backend.pieces.put_nowait(chunk(padded[:20]))
            backend.pieces.put_nowait(chunk(padded[20:]))
        backend.pieces.put_nowait(LAST)
        async with asyncio.timeout(WAIT_S):
            while not lane_of(gateway).handed_over:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = b""
        async with asyncio.timeout(WAIT_S):
            while not got.endswith(b"\r\n0\r\n\r\n"):
                got += await client.reader.read(1 << 20)
        assert got.count(b'{"model":"a/m",') == 100
        assert b'"m"' not in got
        assert await settled(gateway, 3) == (3, 3, 0, 0)


async def test_a_stream_flows_without_a_task(gateway: LocalGateway, client: Client) -> None:
    answer = chunked(EVENT, EVENT, b"data: [DONE]\n\n")
    async with RawBackend("a", respond=responds(*answer)) as backend:
        gateway.rig.add(backend)
        for _ in range(3):
            client.send(stream=True)
            got = await client.until(b"0\r\n\r\n")
            assert got.count(EVENT) == 2
    assert numbers(gateway) == (2, 0)
    assert tally(gateway) == (3, 3, 0, 0)


async def test_the_counts_at_the_end_of_each_stream_are_read(gateway: LocalGateway, client: Client) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
    backend = Piecewise("a")
    async with backend:
        gateway.rig.add(backend)
        for _ in range(4):
            backend.pieces.put_nowait(chunked(EVENT)[0] + chunk(EVENT))
            client.send(stream=True)
            await client.until(EVENT)
            backend.pieces.put_nowait(chunk(usage))
            await client.until(usage)
            backend.pieces.put_nowait(LAST)
            await client.until(b"0\r\n\r\n")
    assert numbers(gateway) == (3, 0)
    work = gateway.rig.traffic.by_backend()["a"]
    assert (work.tokens_in, work.tokens_out) == (28, 8)


class Piecewise(RawBackend):
    """Sends its answers piece by piece, each when the test says so; None ends the connection."""

    def __init__(self, name: str) -> None:
        super().__init__(name, respond=self._play)
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def _play(self, writer: asyncio.StreamWriter, _: object) -> None:
        while (piece := await self.pieces.get()) is not None:
            writer.write(piece)
            if piece in {GOOD, LAST}:
                return
        writer.close()


async def begun_stream(gateway: LocalGateway, client: Client, backend: Piecewise) -> None:
    """Have a stream flow in the lane, after a request that made the route known."""
    backend.pieces.put_nowait(GOOD)
    gateway.rig.add(backend)
    await client.ask()
    backend.pieces.put_nowait(chunked(EVENT)[0] + chunk(EVENT))
    client.send(stream=True)
    await client.until(EVENT)
    assert numbers(gateway) == (1, 0)


async def held_in_lane(gateway: LocalGateway, client: Client, engine: HeldEngine) -> None:
    """Have a request wait in the lane, after one that made the route known."""
    client.send()
    await engine.until_held(1)
    engine.answer()
    await client.answer()
    client.send()
    await engine.until_held(1)
    assert numbers(gateway) == (1, 0)


async def test_a_stream_that_breaks_off_ends_with_an_error_event(
    gateway: LocalGateway, client: Client
) -> None:
    async with Piecewise("a") as backend:
        await begun_stream(gateway, client, backend)
        backend.pieces.put_nowait(chunk(EVENT))
        backend.pieces.put_nowait(None)
        assert b"The answer broke off" in await client.until(b"0\r\n\r\n")
        assert await settled(gateway, 2) == (2, 1, 1, 0)
    assert numbers(gateway) == (1, 1)
    assert gateway.rig.registry.node("a").health.failures == 1
    assert gateway.rig.prober.probed_soon == ["a"]


async def test_a_client_that_leaves_ends_its_stream(gateway: LocalGateway, client: Client) -> None:
    async with Piecewise("a") as backend:
        await begun_stream(gateway, client, backend)
        await client.close()
        assert await settled(gateway, 2) == (2, 1, 0, 1)
        backend.pieces.put_nowait(None)


async def test_a_client_that_reads_slowly_gets_every_byte(gateway: LocalGateway, client: Client) -> None:
    piece = b"data: " + b"x" * 100_000 + b"\n\n"
    async with Piecewise("a") as backend:
        await begun_stream(gateway, client, backend)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            backend.pieces.put_nowait(chunk(piece))
        backend.pieces.put_nowait(LAST)
        async with asyncio.timeout(WAIT_S):
            while not lane_of(gateway).handed_over:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        size = 0
        async with asyncio.timeout(WAIT_S):
            tail = b""
            while not tail.endswith(b"\r\n0\r\n\r\n"):
                data = await client.reader.read(1 << 20)
                size += data.count(b"x")
                tail = (tail + data)[-16:]
        assert size == 200 * 100_000
        assert await settled(gateway, 2) == (2, 2, 0, 0)


async def test_a_client_that_leaves_early_cancels_its_request(gateway: LocalGateway, client: Client) -> None:
    async with HeldEngine("a") as engine:
        gateway.rig.add(engine)
        await held_in_lane(gateway, client, engine)
        await client.close()
        assert await settled(gateway, 2) == (2, 1, 0, 1)
        await engine.until_held(0)
    assert numbers(gateway) == (1, 1)


async def test_a_backend_that_falls_is_left_for_another_one(gateway: LocalGateway, client: Client) -> None:
    async with HeldEngine("a") as engine, RawBackend("b", respond=responds(GOOD)) as other:
        gateway.rig.add(engine)
        gateway.rig.add(other)
        await held_in_lane(gateway, client, engine)
        gateway.rig.registry.record_fact("a", Unreached(Reason("refused", "It is down.")))
        head, _ = await client.answer()
        assert b"\r\nx-meshlight-backend: b\r\nx-meshlight-attempts: 2\r\n" in head
        assert await settled(gateway, 2) == (2, 2, 0, 0)
        await engine.until_held(0)
    assert numbers(gateway) == (1, 1)


async def test_a_long_wait_goes_on_in_a_task(gateway: LocalGateway, client: Client) -> None:
    async with HeldEngine("a") as engine:
        gateway.rig.add(engine)
        await held_in_lane(gateway, client, engine)
        timers = gateway.rig.relay.timers
        assert timers is not None
        [wait] = timers.waits
        wait.check()  # as after a second
        assert numbers(gateway) == (1, 1)
        engine.answer()
        assert b" 200 " in (await client.answer())[0]
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert gateway.rig.prober.probed_soon == []


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"500 Internal Server Error", b"404 Not Found"])
async def test_a_refusal_moves_on_to_the_next_backend(
    gateway: LocalGateway, client: Client, status: bytes
) -> None:
    answers = [GOOD, complete(b'{"error": {"message": "no"}}', JSON, status=status)]

    async def respond(writer: asyncio.StreamWriter, _: object) -> None:
        writer.write(answers.pop(0))

    async with RawBackend("a", respond=respond) as first, RawBackend("b", respond=responds(GOOD)) as other:
        gateway.rig.add(first)
        gateway.rig.add(other)
        await client.ask()
        head = await client.ask()
        assert b"\r\nx-meshlight-backend: b\r\nx-meshlight-attempts: 2\r\n" in head
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert numbers(gateway) == (1, 1)


async def test_a_connection_that_was_closing_is_tried_once_more(
    gateway: LocalGateway, client: Client
) -> None:
    turns = 0

    async def respond(writer: asyncio.StreamWriter, _: object) -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            writer.close()
        else:
            writer.write(GOOD)

    async with RawBackend("a", respond=respond) as backend:
        gateway.rig.add(backend)
        await client.ask()
        head = await client.ask()
        assert b" 200 " in head
        assert b"x-meshlight-attempts: 2" in head
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert numbers(gateway) == (1, 1)


async def test_a_backend_that_says_nothing_more_is_given_up(gateway: LocalGateway, client: Client) -> None:
    async with Piecewise("a") as backend:
        gateway.rig.add(backend, idle_s=0.05)
        backend.pieces.put_nowait(GOOD)
        await client.ask()
        backend.pieces.put_nowait(chunked(EVENT)[0] + chunk(EVENT))
        client.send(stream=True)
        assert b"sent nothing for 0.05 s" in await client.until(b"0\r\n\r\n")
        assert await settled(gateway, 2) == (2, 1, 1, 0)
        backend.pieces.put_nowait(None)
    assert numbers(gateway) == (1, 1)


async def test_the_next_request_may_come_before_the_answer(gateway: LocalGateway, client: Client) -> None:
    async with HeldEngine("a") as engine:
        engine.says = GOOD
        gateway.rig.add(engine)
        await held_in_lane(gateway, client, engine)
        client.send()
        engine.answer_all()
        for _ in range(2):
            assert b" 200 " in (await client.answer())[0]
        assert await settled(gateway, 3) == (3, 3, 0, 0)
    assert numbers(gateway) == (1, 0)


async def test_a_new_key_of_the_backend_is_used_at_once(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        for _ in range(2):
            await client.ask()
        link = gateway.rig.links.get("a")
        assert link is not None
        link.set_secret("another")
        await client.ask()
        assert [request.header(b"authorization") for request in backend.posts] == [
            [],
            [],
            [b"Bearer another"],
        ]
    assert numbers(gateway) == (2, 0)


async def test_a_request_in_the_lane_ends_before_the_service_does() -> None:
    async with HeldEngine("a") as engine:
        stack = AsyncExitStack()
        gateway = await stack.enter_async_context(running(None))
        gateway.rig.add(engine)
        client = await Client(gateway).open()
        await held_in_lane(gateway, client, engine)
        closing = asyncio.create_task(stack.aclose())
        for _ in range(20):  # until the server has told its connections
            await asyncio.sleep(0)
        engine.answer()
        head, _ = await client.answer()
        assert b" 200 " in head
        assert b"\r\nconnection: close\r\n" in head
        await client.close()
        async with asyncio.timeout(WAIT_S):
            await closing
        assert tally(gateway) == (2, 2, 0, 0)


async def test_a_request_that_takes_too_long_is_cut_off_when_the_service_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with HeldEngine("a") as engine:
        stack = AsyncExitStack()
        gateway = await stack.enter_async_context(running(None, limits=Limits(drain_s=0.05)))
        gateway.rig.add(engine)
        client = await Client(gateway).open()
        await held_in_lane(gateway, client, engine)
        async with asyncio.timeout(WAIT_S):
            await stack.aclose()
        assert "1 requests were still running" in caplog.text
        assert tally(gateway) == (2, 1, 0, 1)
        await client.close()


async def test_a_fault_before_anything_was_sent_is_the_other_roads(
    gateway: LocalGateway, client: Client
) -> None:
    faults = [ValueError()]

    def is_paused() -> bool:
        if faults:
            raise faults.pop()
        return False

    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await client.ask()
        gateway.rig.is_paused = is_paused
        assert b" 200 " in await client.ask()
        assert not faults
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert numbers(gateway) == (0, 0)


class Names:
    """Looks names up when the test lets it."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def __call__(self, _: str) -> list[str]:
        self.may_answer.wait(WAIT_S)
        return ["127.0.0.1"]


@pytest.fixture
def names(gateway: LocalGateway) -> Names:
    names = Names()
    gateway.rig.resolver = Resolver(names, count(step=100).__next__)  # it forgets at once
    gateway.rig.connect_s = WAIT_S
    return names


async def opening(gateway: LocalGateway, client: Client, backend: RawBackend, names: Names) -> None:
    """Have a request in the lane wait for its connection, after one that made the route known."""
    gateway.rig.add(backend, url=backend.url.replace("127.0.0.1", "engine.test"))
    names.may_answer.set()
    await client.ask()
    names.may_answer.clear()
    client.send()
    async with asyncio.timeout(WAIT_S):
        while numbers(gateway) != (1, 0):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
    assert connecting() == 1


def connecting() -> int:
    """Return how many connections are being opened."""
    tasks = [task.get_coro() for task in asyncio.all_tasks()]
    return sum("Connector" in repr(coroutine) for coroutine in tasks)


async def test_many_that_start_at_once_need_no_tasks(gateway: LocalGateway, client: Client) -> None:
    others = [await Client(gateway).open() for _ in range(3)]
    async with HeldEngine("a") as engine:
        engine.says = GOOD
        gateway.rig.add(engine)
        await held_in_lane(gateway, client, engine)
        for other in others:
            other.send()
        await engine.until_held(4)
        assert engine.accepted == 4
        engine.answer_all()
        for one in (client, *others):
            assert b" 200 " in (await one.answer())[0]
            await one.close()
        assert await settled(gateway, 5) == (5, 5, 0, 0)
    assert numbers(gateway) == (4, 0)


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_request_is_sent_when_its_connection_is_there(
    gateway: LocalGateway, client: Client, names: Names, is_late: bool
) -> None:
    async with RawBackend("a", respond=responds(CLOSING)) as backend:
        await opening(gateway, client, backend, names)
        if is_late:
            timers = gateway.rig.relay.timers
            assert timers is not None
            [wait] = timers.waits
            wait.check()  # as after a second
            await asyncio.sleep(0)
        names.may_answer.set()
        head, _ = await client.answer()
        assert b" 200 " in head
        assert b"\r\nx-meshlight-attempts: 1\r\n" in head
        assert (backend.accepted, len(backend.posts)) == (2, 2)
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert numbers(gateway) == (1, is_late)


async def test_a_key_that_comes_while_connecting_is_the_one_that_is_sent(
    gateway: LocalGateway, client: Client, names: Names
) -> None:
    async with RawBackend("a", respond=responds(CLOSING)) as backend:
        await opening(gateway, client, backend, names)
        link = gateway.rig.links.get("a")
        assert link is not None
        link.set_secret("another")
        names.may_answer.set()
        assert b" 200 " in (await client.answer())[0]
        assert [request.header(b"authorization") for request in backend.posts] == [[], [b"Bearer another"]]
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert numbers(gateway) == (1, 1)


async def test_a_client_that_leaves_ends_the_connecting(
    gateway: LocalGateway, client: Client, names: Names
) -> None:
    async with RawBackend("a", respond=responds(CLOSING)) as backend:
        await opening(gateway, client, backend, names)
        await client.close()
        assert await settled(gateway, 2) == (2, 1, 0, 1)
        await asyncio.sleep(0)
        assert connecting() == 0
        names.may_answer.set()
        assert backend.accepted == 1
    assert numbers(gateway) == (1, 1)


async def test_a_backend_that_falls_is_not_connected_to(
    gateway: LocalGateway, client: Client, names: Names
) -> None:
    async with (
        RawBackend("a", respond=responds(CLOSING)) as backend,
        RawBackend("b", respond=responds(GOOD)) as other,
    ):
        await opening(gateway, client, backend, names)
        gateway.rig.add(other)
        gateway.rig.registry.record_fact("a", Unreached(Reason("refused", "It is down.")))
        head, _ = await client.answer()
        assert b"\r\nx-meshlight-backend: b\r\nx-meshlight-attempts: 2\r\n" in head
        assert connecting() == 0
        names.may_answer.set()
        assert await settled(gateway, 2) == (2, 2, 0, 0)
        assert backend.accepted == 1
    assert numbers(gateway) == (1, 1)


@pytest.mark.parametrize("lane", [True, False])
async def test_a_backend_that_refuses_connections_is_left_for_another_one(lane: bool) -> None:
    async with (
        running(None, Config(lane=lane)) as gateway,
        RawBackend("b", respond=responds(GOOD)) as other,
    ):
        client = await Client(gateway).open()
        async with RawBackend("a", respond=responds(CLOSING)) as backend:
            for each in (backend, other):
                gateway.rig.add(each)
            assert b"\r\nx-meshlight-backend: a\r\n" in await client.ask()
        head = await client.ask()
        assert b"\r\nx-meshlight-backend: b\r\nx-meshlight-attempts: 2\r\n" in head
        assert await settled(gateway, 2) == (2, 2, 0, 0)
        await client.close()
        assert gateway.rig.state("a") == ("unhealthy", "refused")
        assert gateway.rig.prober.probed_soon == ["a"]
        assert numbers(gateway) == (lane, lane)


class Faulty(Symptoms):
    """Fails, as nothing of ours should."""

    def prompt(self, backend: str, model: str, body: bytes, counted: int) -> None:  # noqa: ARG002 - Symptoms'
        raise ValueError


async def test_a_fault_of_ours_frees_the_route(gateway: LocalGateway, client: Client) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        gateway.rig.traffic.symptoms = Faulty()
        for _ in range(3):
            assert b" 200 " in await client.ask(messages=["x" * LEARNED_FROM])
        assert await settled(gateway, 3) == (3, 0, 3, 0)
    assert numbers(gateway) == (2, 0)
