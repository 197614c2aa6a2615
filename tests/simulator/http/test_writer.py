"""Each fault as a client sees it."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FaultKind
from meshlight.simulator.http.writer import LENGTH_TOO_MUCH, WEB_PAGE
from simulator.clients import Json, LineTo

CHAT = "/v1/chat/completions"
ASK = {"model": "llama-3.2-3b", "messages": [{"role": "user", "content": "hello"}]}
STREAM = ASK | {"stream": True}
GET = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("vllm") as engine:
        yield engine


async def read_until_it_breaks(
    http: httpx.AsyncClient, url: str, ask: Json
) -> tuple[int, bytes, Exception | None]:
    """The status, what came of the body, and the error that ended it."""
    got = b""
    async with http.stream("POST", url, json=ask) as reply:
        try:
            async for chunk in reply.aiter_raw():
                got += chunk
        except httpx.TransportError as error:
            return reply.status_code, got, error
    return reply.status_code, got, None


async def test_refuse_closes_the_door_and_idle_connections_and_keeps_the_port(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    assert (await http.get(engine.url + "/health")).status_code == 200
    await engine.fault("refuse")
    await engine.connected(0)
    with pytest.raises(httpx.ConnectError):
        await http.get(engine.url + "/health")
    port = engine.port
    await engine.clear()
    assert engine.port == port
    assert (await http.get(engine.url + "/health")).status_code == 200


async def test_another_fault_opens_a_door_that_refused(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    await engine.fault("refuse")
    await engine.fault("status", status=503)
    assert (await http.get(engine.url + "/health")).status_code == 503


async def test_refuse_lets_an_answer_under_way_go_on(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    async with http.stream("POST", engine.url + CHAT, json=STREAM) as reply:
        await engine.fault("refuse")
        assert (await reply.aread()).endswith(b"data: [DONE]\n\n")


async def test_hang_headers_takes_the_request_and_says_nothing(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    await engine.fault("hang-headers")
    with pytest.raises(httpx.ReadTimeout):
        await http.get(engine.url + "/health", timeout=0.1)
    (logged,) = await engine.abandoned()
    assert logged.fault == "hang-headers"
    assert logged.sent == 0


@pytest.mark.parametrize("ask", [ASK, STREAM], ids=["whole", "stream"])
async def test_hang_body_sends_some_bytes_and_then_nothing(
    engine: SimulatedEngine, http: httpx.AsyncClient, ask: Json
) -> None:
    await engine.fault("hang-body", after_bytes=10)
    async with http.stream("POST", engine.url + CHAT, json=ask) as reply:
        chunks = reply.aiter_raw()
        assert len(await anext(chunks)) == 10
        assert engine.in_flight == 1
    await engine.abandoned()


async def test_hang_body_by_itself_lets_one_event_pass(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    await engine.fault("hang-body")
    async with http.stream("POST", engine.url + CHAT, json=STREAM) as reply:
        lines = reply.aiter_lines()
        assert (await anext(lines)).startswith("data: ")


@pytest.mark.parametrize("kind", ["hang-body", "close-body"])
async def test_with_no_body_bytes_only_the_head_comes(
    engine: SimulatedEngine, http: httpx.AsyncClient, kind: FaultKind
) -> None:
    await engine.fault(kind, after_bytes=0)
    async with http.stream("POST", engine.url + CHAT, json=ASK) as reply:
        assert reply.status_code == 200
        assert engine.requests[0].first_byte_at is not None


async def test_reset_headers_resets_before_any_byte(engine: SimulatedEngine, line_to: LineTo) -> None:
    await engine.fault("reset-headers")
    async with line_to(engine) as line:
        await line.send(GET)
        with pytest.raises(ConnectionResetError):
            await line.answer()
    assert engine.requests[0].left_at is None


@pytest.mark.parametrize("ask", [ASK, STREAM], ids=["whole", "stream"])
async def test_reset_body_resets_in_the_middle(
    engine: SimulatedEngine, http: httpx.AsyncClient, ask: Json
) -> None:
    await engine.fault("reset-body", after_bytes=30)
    status, got, error = await read_until_it_breaks(http, engine.url + CHAT, ask)
    assert (status, len(got)) == (200, 30)
    assert isinstance(error, httpx.ReadError)


@pytest.mark.parametrize("ask", [ASK, STREAM], ids=["whole", "stream"])
async def test_close_body_ends_the_connection_before_the_bodys_end(
    engine: SimulatedEngine, http: httpx.AsyncClient, ask: Json
) -> None:
    await engine.fault("close-body", after_bytes=30)
    status, got, error = await read_until_it_breaks(http, engine.url + CHAT, ask)
    assert (status, len(got)) == (200, 30)
    assert isinstance(error, httpx.RemoteProtocolError)


async def test_a_stream_shorter_than_the_cut_lacks_only_its_end(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    await engine.fault("close-body", after_bytes=1_000_000)
    _, got, error = await read_until_it_breaks(http, engine.url + CHAT, STREAM)
    assert got.endswith(b"data: [DONE]\n\n")
    assert isinstance(error, httpx.RemoteProtocolError)


async def test_close_early_ends_in_peace_before_any_byte(engine: SimulatedEngine, line_to: LineTo) -> None:
    await engine.fault("close-early")
    async with line_to(engine) as line:
        await line.send(GET)
        assert await line.answer() == b""


async def test_garbage_is_no_http(engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
    await engine.fault("garbage")
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(engine.url + "/health")


async def test_html_is_a_web_page(engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
    await engine.fault("html")
    reply = await http.get(engine.url + "/v1/models")
    assert (reply.status_code, reply.content) == (200, WEB_PAGE)
    assert reply.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
async def test_status_answers_with_that_status(
    engine: SimulatedEngine, http: httpx.AsyncClient, status: int
) -> None:
    await engine.fault("status", status=status)
    reply = await http.post(engine.url + CHAT, json=ASK)
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == status
    assert "retry-after" not in reply.headers


async def test_a_status_may_say_when_to_come_back(engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
    await engine.fault("status", status=429, retry_after_s=7)
    assert (await http.get(engine.url + "/health")).headers["retry-after"] == "7"


async def test_loading_is_what_llamacpp_says_while_it_loads(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    await engine.fault("loading")
    for reply in (await http.get(engine.url + "/health"), await http.post(engine.url + CHAT, json=ASK)):
        assert reply.status_code == 503
        assert reply.json()["error"] == {"message": "Loading model", "type": "unavailable_error", "code": 503}


async def test_slow_waits_before_each_byte(http: httpx.AsyncClient) -> None:
    waits = []

    async def pace(seconds: float) -> None:
        waits.append(seconds)

    async with SimulatedEngine("openai", pace=pace) as engine:
        await engine.fault("slow", delay_s=0.3)
        reply = await http.get(engine.url + "/v1/models")
        assert reply.json()["object"] == "list"
        assert set(waits) == {0.3}
        assert len(waits) == engine.requests[0].sent


async def test_trickle_sends_the_same_bytes_one_by_one(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    text = {}
    for kind in (None, "trickle"):
        if kind:
            await engine.fault(kind)
        reply = await http.post(engine.url + CHAT, json=STREAM | {"max_tokens": 3})
        text[kind] = [
            line.partition('"choices"')[2] for line in reply.text.splitlines() if '"choices"' in line
        ]
    assert text[None] == text["trickle"]
    assert len(text[None]) == 5


@pytest.mark.parametrize("ask", [ASK, STREAM], ids=["whole", "stream"])
async def test_wrong_length_promises_more_than_it_sends(
    engine: SimulatedEngine, http: httpx.AsyncClient, ask: Json
) -> None:
    await engine.fault("wrong-length")
    async with http.stream("POST", engine.url + CHAT, json=ask) as reply:
        with pytest.raises(httpx.RemoteProtocolError):
            await reply.aread()
        sent = engine.requests[0].sent
        assert int(reply.headers["content-length"]) + LENGTH_TOO_MUCH > sent // 2


async def test_big_head_is_bigger_than_clients_like(engine: SimulatedEngine, line_to: LineTo) -> None:
    await engine.fault("big-head", size=200_000)
    async with line_to(engine) as line:
        await line.send(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert len((await line.answer()).partition(b"\r\n\r\n")[0]) > 200_000


async def test_a_fault_with_a_count_passes(engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
    await engine.fault("status", status=500, count=2)
    replies = [(await http.get(engine.url + "/health")).status_code for _ in range(4)]
    assert replies == [500, 500, 200, 200]
    assert engine.switch.hits == 2


async def test_health_may_fail_while_inference_works_and_the_other_way_round(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    async def both() -> tuple[int, int]:
        probe = await http.get(engine.url + "/health")
        work = await http.post(engine.url + CHAT, json=ASK)
        return probe.status_code, work.status_code

    await engine.fault("status", scope="probe")
    assert await both() == (500, 200)
    await engine.fault("status", scope="inference")
    assert await both() == (200, 500)
    await engine.fault("status", paths=("/v1/models", "/health"))
    assert await both() == (500, 200)


async def test_a_request_that_hangs_stays_hanging_when_the_fault_is_cleared(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    await engine.fault("hang-headers")
    hung = asyncio.create_task(http.get(engine.url + "/health"))
    await engine.received()
    await engine.clear()
    assert (await http.get(engine.url + "/health")).status_code == 200
    assert not hung.done()
    hung.cancel()
    await engine.abandoned()


async def test_http_1_0_clients_get_streams_that_end_with_the_connection(
    engine: SimulatedEngine, line_to: LineTo
) -> None:
    body = b'{"model":"llama-3.2-3b","prompt":"x","max_tokens":2,"stream":true}'
    async with line_to(engine) as line:
        await line.send(b"POST /v1/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        answer = await line.answer()
    assert b"chunked" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")
