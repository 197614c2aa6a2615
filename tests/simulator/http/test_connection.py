"""The wire: pipelines, uploads, slow readers, bad bytes."""

import asyncio

import httpx

from meshlight.simulator.engine import SimulatedEngine
from simulator.clients import LineTo

GET = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def test_requests_sent_at_once_are_answered_in_turn(line_to: LineTo) -> None:
    async with SimulatedEngine("openai") as engine, line_to(engine) as line:
        await line.send(GET + GET + LAST)
        assert (await line.answer()).count(b"HTTP/1.1 200 OK") == 3
        assert [logged.connection for logged in engine.requests] == [1, 1, 1]


async def test_a_request_may_come_byte_by_byte(line_to: LineTo) -> None:
    async with SimulatedEngine("openai") as engine, line_to(engine) as line:
        for byte in LAST:
            await line.send(bytes((byte,)))
        assert (await line.answer()).startswith(b"HTTP/1.1 200 OK")
        assert engine.requests[0].header("host") == "x"


async def test_who_asks_first_is_told_to_continue(line_to: LineTo) -> None:
    async with SimulatedEngine("openai") as engine, line_to(engine) as line:
        await line.send(b"POST /v1/completions HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await line.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        await line.send(b"{}")
        await engine.received()
        assert engine.requests[0].body == b"{}"


async def test_bytes_that_are_no_http_get_a_400(line_to: LineTo) -> None:
    async with SimulatedEngine("openai") as engine, line_to(engine) as line:
        await line.send(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await line.answer()).startswith(b"HTTP/1.1 400")
        assert engine.requests == []


async def test_who_asks_for_another_protocol_is_answered_in_this_one(line_to: LineTo) -> None:
    async with SimulatedEngine("openai") as engine, line_to(engine) as line:
        await line.send(b"GET /v1/models HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")
        assert await line.reader.readline() == b"HTTP/1.1 200 OK\r\n"


async def test_a_big_upload_arrives_whole(http: httpx.AsyncClient) -> None:
    body = b'{"model":"llama-3.2-3b","prompt":"' + b"x" * 20_000_000 + b'"}'
    async with SimulatedEngine("openai") as engine:
        reply = await http.post(engine.url + "/v1/completions", content=body)
        assert reply.status_code == 200
        assert engine.requests[0].body == body


async def test_a_reader_that_does_not_read_holds_the_engine_back(line_to: LineTo) -> None:
    body = b'{"model":"llama-3.2-3b","prompt":"LOOP","stream":true}'
    ask = b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with SimulatedEngine("openai") as engine, line_to(engine) as line:
        # A StreamReader stops reading its socket by itself once its own buffer is full.
        await line.send(ask)
        await engine.held_back()
        (logged,) = engine.requests
        stopped_at = logged.sent
        for _ in range(100):
            await asyncio.sleep(0)
        assert logged.sent == stopped_at
        async with asyncio.timeout(5):
            while logged.sent == stopped_at:
                await line.reader.read(1 << 16)


async def test_an_engine_that_breaks_off_by_its_own_mistake_lets_the_client_go(line_to: LineTo) -> None:
    async def broken(seconds: float) -> None:
        raise RuntimeError(f"no clock for {seconds} s")

    body = b'{"model":"llama-3.2-3b","prompt":"x"}'
    async with SimulatedEngine("openai", first_token_s=1, pace=broken) as engine, line_to(engine) as line:
        await line.send(b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert await line.answer() == b""
        await engine.idle()
