"""The lane and the other road with the same bytes: what client and backends get is the same, and what is counted."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from backends.certificates import client_trusting, server_context
from faults.raw import RawBackend
from gateway.lan.guest_gateway import GuestGateway, guest_gateway
from gateway.local_gateway import KEY, LocalGateway, running
from meshlight.domain.backend import Kind
from meshlight.domain.config import Config
from meshlight.domain.rules import Routing
from meshlight.http_client.address import parse_address
from servers.byte_server import Peer, Request, chunk

PATIENCE_S = 20.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
_TIMES = re.compile(rb'"created_at":"[^"]*"|_duration":\d+')
GOOD = (
    b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"Hello there, how can I help?"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}}'
)
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
ERROR = b'{"error":{"message":"no such thing","type":"invalid_request_error","code":"x"}}'
PAGE = b"<html><body>a page that is long enough to be taken for an answer</body></html>"
LINE = b'{"model":"m","message":{"role":"assistant","content":"word"},"done":false}\n'
LAST_LINE = b'{"model":"m","done":true,"prompt_eval_count":9,"eval_count":3}\n'
BODIES = {
    b"application/json": [GOOD, b"{}", b"", ERROR, b'{"ok": true, "padding": "' + b"x" * 300 + b'"}'],
    b"text/event-stream": [
        EVENT * 3 + b"data: [DONE]\n\n",
        EVENT,
        b"data: " + ERROR + b"\n\n",
        EVENT + b"data: {",
    ],
    b"application/x-ndjson": [LINE * 3 + LAST_LINE, LINE, b'{"error":"no such thing"}\n', LINE + b'{"mess'],
    b"text/html; charset=utf-8": [PAGE],
}


@dataclass(frozen=True)
class Answer:
    """What the first backend does with one request."""

    status: int
    content_type: bytes
    body: bytes
    framing: str
    headers: tuple[bytes, ...]
    cuts: tuple[int, ...]
    """Where the bytes are cut into writes of their own, in thousandths."""
    ends_at: int
    """After how many thousandths the connection ends; over 1000 for never."""
    closes: bool

    def raw(self) -> bytes:
        lines = [
            b"HTTP/1.1 %d Some Words" % self.status,
            b"content-type: " + self.content_type,
            *self.headers,
        ]
        body = b"" if self.status == 204 else self.body
        if self.status == 204:
            pass  # bytes after such an answer would meet the next request, or not
        elif self.framing == "length":
            lines.append(b"content-length: %d" % len(body))
        elif self.framing == "chunked":
            lines.append(b"transfer-encoding: chunked")
            half = len(body) // 2
            body = b"".join(chunk(piece) for piece in (body[:half], body[half:]) if piece) + chunk(b"")
        if self.closes:
            lines.append(b"connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Asked:
    """One request of the client."""

    path: str
    headers: tuple[bytes, ...]
    fields: bytes
    cuts: tuple[int, ...]
    answer: Answer
    model: bytes = b"m"
    is_split: bool = False
    """Whether its body is sent after its head."""

    def pieces(self, port: int) -> list[bytes]:
        raw = self.raw(port)
        if self.is_split:
            head, end, body = raw.partition(b"\r\n\r\n")
            return [head + end, *pieces(body, self.cuts)]
        return pieces(raw, self.cuts)

    def raw(self, port: int) -> bytes:
        body = b'{"model": "%b", %b"messages": [{"role": "user", "content": "hi"}]}' % (
            self.model,
            self.fields,
        )
        lines = [
            b"POST %b HTTP/1.1" % self.path.encode(),
            b"host: 127.0.0.1:%d" % port,
            *self.headers,
            b"Content-Length: %d" % len(body),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


ANSWERS = st.builds(
    lambda kind, index, **fields: Answer(
        content_type=kind, body=BODIES[kind][index % len(BODIES[kind])], **fields
    ),
    kind=st.sampled_from([*BODIES, b"application/json", b"text/event-stream"]),
    index=st.integers(0, 9),
    status=st.sampled_from([200] * 20 + [201, 204, 302, 400, 401, 404, 422, 429, 500, 503]),
    framing=st.sampled_from(["length", "length", "chunked", "chunked", "end"]),
    headers=st.lists(
        st.sampled_from(
            [
                b"x-request-id: theirs",
                b"set-cookie: a=b",
                b"connection: x-private",
                b"x-private: 1",
                b"retry-after: 1",
                b"x-ratelimit-remaining: 7",
                b"bad name: 1",
                b"x-odd: \x01",
            ]
        ),
        max_size=3,
        unique=True,
    ).map(tuple),
    cuts=st.lists(st.integers(1, 999), max_size=3).map(lambda cuts: tuple(sorted(cuts))),
    ends_at=st.sampled_from([2_000] * 6 + [0, 20, 300, 700, 990]),
    closes=st.booleans(),
)
REQUESTS = st.builds(
    Asked,
    path=st.sampled_from(
        ["/v1/chat/completions"] * 4
        + [
            "/v1/completions",
            "/v1/embeddings",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/api/chat",
            "/api/chat",
            "/api/generate",
            "/chat/completions",
            "/v1/chat/completions?a=b",
        ]
    ),
    headers=st.lists(
        st.sampled_from(
            [
                b"content-type: application/json",
                b"accept: */*",
                b"accept-encoding: gzip, deflate",
                b"anthropic-version: 2023-06-01",
                b"Content-Type: text/plain; charset=utf-8",
                b"content-type: multipart/form-data; boundary=x",
                b"user-agent: fuzz",
                b"accept: text/event-stream",
                b"x-stainless-retry-count: 0",
                b"traceparent: 00-1-2-03",
                b"origin: http://evil.example",
                b"connection: close",
                b"Connection: keep-alive",
                b"X-Length: 5",
                b"x-meshlight-via: other-node",
                b"content-encoding: gzip",
                b"sec-fetch-site: cross-site",
                b"expect: 100-continue",
            ]
        ),
        max_size=3,
        unique=True,
    ).flatmap(
        lambda headers: st.sampled_from(
            [b"authorization: Bearer " + KEY.encode()] * 9 + [b"authorization: Bearer no"]
        ).map(lambda key: (key, *headers))
    ),
    fields=st.sampled_from(
        [
            b"",
            b"",
            b'"stream": true, ',
            b'"stream": false, ',
            b'"Model": "n", ',
            b'"model": "n", ',
            b"{",
            b'"max_tokens": 5, ',
            b'"keep_alive": "5m", ',
            b'"keep_alive": "odd", ',
            b'"fallbacks": ["n"], ',
            b'"previous_response_id": "resp_1", ',
            b'"container": "container_1", ',
        ]
    ),
    cuts=st.just(()) | st.lists(st.integers(1, 999), max_size=2).map(lambda cuts: tuple(sorted(cuts))),
    answer=ANSWERS,
    model=st.sampled_from([b"m"] * 6 + [b"a/m", b"m:latest", b"hf.co/m", b"alias", b"none"]),
    is_split=st.booleans(),
)
PLAIN_REQUESTS = st.builds(
    Asked,
    path=st.sampled_from(["/v1/chat/completions", "/v1/messages", "/api/chat"]),
    headers=st.just((b"authorization: Bearer " + KEY.encode(),)),
    fields=st.sampled_from([b"", b'"stream": true, ', b'"keep_alive": 5, ']),
    cuts=st.just(()) | st.lists(st.integers(1, 999), max_size=2).map(lambda cuts: tuple(sorted(cuts))),
    answer=ANSWERS,
    is_split=st.booleans(),
)
"""Those that the lane takes, but for what the answers are."""


@dataclass(frozen=True)
class Mesh:
    """Who asks, and what is behind the gateway."""

    is_alone: bool = True
    """Whether the first backend is the only one."""
    kind: Kind = "openai-compatible"
    is_tls: bool = False
    is_guest: bool = False
    """Whether a peer asks."""


MESHES = st.builds(
    Mesh,
    is_alone=st.booleans(),
    kind=st.sampled_from(["openai-compatible", "llamacpp", "mlx", "ollama", "openai", "peer"]),
    is_tls=st.integers(0, 4).map(lambda number: not number),
    is_guest=st.booleans(),
)


class Scripted(RawBackend):
    """Answers each POST as it is told."""

    def __init__(self, name: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(name, tls=tls)
        self.next: Answer | None = None

    async def answer_post(self, peer: Peer, request: Request) -> None:  # noqa: ARG002 - a RawBackend's
        assert self.next is not None
        raw = self.next.raw()
        end = len(raw) * self.next.ends_at // 1_000
        for piece in pieces(raw[:end], self.next.cuts):
            peer.writer.write(piece)
            await peer.writer.drain()
            await asyncio.sleep(0)
        if self.next.ends_at <= 1_000 or self.next.closes or self.next.framing == "end":
            peer.writer.close()


class Plain(RawBackend):
    """Answers each POST well."""

    async def answer_post(self, peer: Peer, request: Request) -> None:  # noqa: ARG002 - a RawBackend's
        await peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(GOOD)
            + GOOD
        )


def pieces(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *(len(raw) * cut // 1_000 for cut in cuts), len(raw)]
    return [piece for start, end in pairwise(places) if (piece := raw[start:end])]


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return one answer, its body without framing; marked if it ends too early."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial + b"<end>"
    lower = head.lower()
    if lower.startswith(b"http/1.1 100"):
        return head + await read_answer(reader)
    body, mark = b"", b""
    try:
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        elif not lower.startswith(b"http/1.1 204") and (found := _LENGTH.search(lower)):
            body = await reader.readexactly(int(found[1]))
    except asyncio.IncompleteReadError as error:
        body, mark = body + error.partial, b"<cut>"
    named = re.sub(rb"req_[0-9a-f]+_\d+", b"req_ID", head + body)
    timeless = _TIMES.sub(b"TIME", named)
    return (timeless if timeless == named else _LENGTH.sub(b"\r\n", timeless)) + mark


class Road:
    """One gateway with its two backends, and all that can be seen of it."""

    def __init__(self, gateway: LocalGateway | GuestGateway, first: Scripted, second: RawBackend) -> None:
        self.gateway = gateway
        self.backends = first, second
        self.port = gateway.port if isinstance(gateway, GuestGateway) else int(gateway.url.rpartition(":")[2])
        self._client: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, asked: Asked) -> bytes:
        self.backends[0].next = asked.answer
        if self._client is None:
            self._client = await (
                self.gateway.connect()
                if isinstance(self.gateway, GuestGateway)
                else asyncio.open_connection("127.0.0.1", self.port)
            )
        reader, writer = self._client
        for piece in asked.pieces(self.port):
            writer.write(piece)
            for _ in range(3):
                await asyncio.sleep(0)
            if reader.at_eof() or writer.is_closing():  # it was refused, and closed: nobody reads the rest
                break
        answer = await read_answer(reader)
        head = answer.partition(b"\r\n\r\n")[0].lower()
        if b"\r\nconnection: close" in head or answer.endswith((b"<end>", b"<cut>")):
            answer += b"<rest>" + await reader.read()
            await self.close()
        return self.named(answer)

    def named(self, raw: bytes) -> bytes:
        """Return bytes with names instead of ports."""
        for backend in self.backends:
            raw = raw.replace(b":%d" % backend.port, b":" + backend.name.encode())
        return raw.replace(b":%d" % self.port, b":gateway")

    async def close(self) -> None:
        if self._client is not None:
            self._client[1].close()
            self._client = None

    def seen(self) -> dict[str, Any]:
        rig = self.gateway.rig
        nodes = rig.registry.snapshot.nodes
        return {
            "requests": [[self.named(request.raw) for request in backend.posts] for backend in self.backends],
            "router": rig.traffic.router.requests(),
            "backends": {k: changed(v, first_byte_ms=None) for k, v in rig.traffic.by_backend().items()},
            "models": {k: changed(v, first_byte_ms=None) for k, v in rig.traffic.by_model().items()},
            "load": dict(rig.traffic.load),
            "health": {
                name: (node.health.state, node.health.reason.code, node.health.failures, node.health.bad)
                for name, node in nodes.items()
            },
            "probes": rig.prober.probed_soon,
            "keep": dict.fromkeys(nodes, rig.relay._chooser.kept.is_empty),
            "used": {
                name: link.channel is not None and link.channel.was_used
                for name in nodes
                if (link := rig.links.get(name)) is not None
            },
            "proven": {name: link.is_proven for name in nodes if (link := rig.links.get(name)) is not None},
        }


@lru_cache(1)
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what backends behind TLS show, and what trusts that."""
    tls, authority = server_context("good")
    return tls, client_trusting(authority)


@asynccontextmanager
async def opened(mesh: Mesh, config: Config) -> AsyncIterator[LocalGateway | GuestGateway]:
    async with guest_gateway(config) if mesh.is_guest else running(None, config) as gateway:
        yield gateway


async def compare(requests: Sequence[Asked], mesh: Mesh) -> int:
    """Send the same requests on both roads; return how many were begun in the lane."""
    tls, trusting = certificates() if mesh.is_tls else (None, None)
    async with (
        Scripted("a", tls) as a1,
        Plain("b") as b1,
        Scripted("a", tls) as a2,
        Plain("b") as b2,
        opened(mesh, Config()) as with_lane,
        opened(mesh, Config(lane=False)) as without,
    ):
        roads = Road(with_lane, a1, b1), Road(without, a2, b2)
        for road in roads:
            road.gateway.rig.tls = trusting
            # A busy machine may halt one road for longer than its limits: then the two would differ in that.
            road.gateway.rig.connect_s = road.gateway.rig.idle_s = PATIENCE_S
            road.gateway.rig.registry.route_by(Routing(policy="priority", aliases={"alias": "m"}))
            for backend in road.backends[: 1 if mesh.is_alone else 2]:
                assert parse_address(backend.url).port == backend.port
                road.gateway.rig.add(backend, kind=mesh.kind)
        for asked in requests:
            on, off = await asyncio.gather(*(road.ask(asked) for road in roads))
            assert on == off, (asked, on, off)
            assert roads[0].seen() == roads[1].seen()
        for road in roads:
            await road.close()
        assert without.lane is not None
        assert not without.lane.begun
        assert with_lane.lane is not None
        return with_lane.lane.begun


def warm_up() -> Asked:
    """Return a request after which the route is known and a connection waits."""
    answer = Answer(200, b"application/json", GOOD, "length", (), (), 2_000, closes=False)
    headers = (b"authorization: Bearer " + KEY.encode(),)
    return Asked("/v1/chat/completions", headers, b"", (), answer)


def translated() -> Asked:
    """Return a request that is translated for a backend of MLX."""
    return replace(warm_up(), path="/v1/messages", fields=b'"max_tokens": 5, ')


TRANSLATED = st.builds(
    lambda **fields: replace(translated(), **fields),
    answer=ANSWERS | st.just(warm_up().answer),
    fields=st.sampled_from((b"", *[b'"max_tokens": 5, '] * 3, b'"max_tokens": 5, "new": 1, ')),
    model=st.sampled_from((b"m", b"m", b"alias", b"none")),
)


@settings(max_examples=40)
@given(st.lists(TRANSLATED, min_size=1, max_size=4), st.booleans())
def test_both_roads_translate_alike(requests: list[Asked], is_alone: bool) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            mesh = Mesh(is_alone=is_alone, kind="mlx")
            await compare([warm_up(), translated(), translated(), *requests, translated(), warm_up()], mesh)

    asyncio.run(run())


@settings(max_examples=60)
@given(st.lists(REQUESTS | PLAIN_REQUESTS, min_size=1, max_size=4), MESHES)
def test_both_roads_do_the_same_with_the_same_bytes(requests: list[Asked], mesh: Mesh) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await compare([warm_up(), *requests, warm_up(), warm_up()], mesh)

    asyncio.run(run())


@pytest.mark.parametrize("mesh", [Mesh(), Mesh(kind="ollama", is_tls=True), Mesh(is_guest=True)])
def test_what_is_compared_is_the_lane(mesh: Mesh) -> None:
    async def run() -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await compare([warm_up(), warm_up(), replace(warm_up(), is_split=True)], mesh)

    assert asyncio.run(run()) == 2


def test_what_is_compared_of_translations_is_the_lane() -> None:
    usual = translated()
    stream, odd = (
        replace(usual, fields=usual.fields + more) for more in (b'"stream": true, ', b'"new": {"x": 1}, ')
    )
    named = replace(usual, model=b"alias")
    requests = [warm_up(), usual, usual, usual, odd, named, named, usual, stream]

    async def run() -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await compare(requests, Mesh(kind="mlx"))

    assert asyncio.run(run()) == 5
