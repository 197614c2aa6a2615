"""An engine from outside: it starts, answers, remembers, and is gone without a trace."""

import asyncio
import gc
import math

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from simulator.clients import Json

CHAT = "/v1/chat/completions"
ASK = {"model": "llama-3.2-3b", "messages": [{"role": "user", "content": "hello"}]}
STREAM = ASK | {"stream": True}


async def test_it_tells_its_name_and_that_it_is_a_demo(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("vllm", "Rosa") as engine:
        reply = await http.post(engine.url + CHAT, json=ASK)
    text = reply.json()["choices"][0]["message"]["content"]
    assert "Rosa" in text
    assert "vLLM" in text
    assert "demo" in text
    assert reply.headers["x-demo"] == "meshlight"


async def test_it_remembers_what_it_was_asked(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("openai") as engine:
        await http.get(engine.url + "/v1/models?x=1", headers={"X-Probe": "yes"})
        await http.post(engine.url + CHAT, json=ASK)
        probe, call = await engine.received(2)
    assert (probe.method, probe.target, probe.path) == ("GET", "/v1/models?x=1", "/v1/models")
    assert probe.header("x-probe") == "yes"
    assert (probe.status, probe.body) == (200, b"")
    assert call.json() == ASK
    assert call.connection == probe.connection
    assert call.first_byte_at is not None
    assert call.ended_at is not None
    assert call.at <= call.first_byte_at <= call.ended_at
    assert engine.calls() == [call]
    assert engine.in_flight == 0


async def test_it_sees_a_client_leave_in_the_middle_of_a_stream(http: httpx.AsyncClient) -> None:
    gate = StepGate()
    async with SimulatedEngine("vllm", speed=1, pace=gate) as engine:
        async with http.stream("POST", engine.url + CHAT, json=STREAM) as reply:
            async for _ in reply.aiter_bytes():
                break
            assert engine.in_flight == 1
        (gone,) = await engine.abandoned()
        assert gone.left_at is not None
        assert gone.first_byte_at is not None
        assert gone.left_at >= gone.first_byte_at
        await engine.idle()


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["whole", "stream"])
async def test_it_sees_a_client_leave_before_the_first_byte(http: httpx.AsyncClient, body: Json) -> None:
    async with SimulatedEngine("llamacpp", first_token_s=60, pace=StepGate()) as engine:
        asked = asyncio.create_task(http.post(engine.url + CHAT, json=body))
        await engine.received()
        asked.cancel()
        (gone,) = await engine.abandoned()
    assert gone.first_byte_at is None
    assert gone.sent == 0


async def test_an_endless_answer_ends_when_nobody_listens(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("ollama") as engine:
        loop = STREAM | {"messages": [{"role": "user", "content": "LOOP"}]}
        async with http.stream("POST", engine.url + CHAT, json=loop) as reply:
            async for chunk in reply.aiter_bytes():
                assert b"tick" in chunk
                break
        await engine.abandoned()


async def test_a_gate_lets_one_token_pass_at_a_time(http: httpx.AsyncClient) -> None:
    gate = StepGate()
    async with (
        SimulatedEngine("openai", speed=1, pace=gate, length=3) as engine,
        http.stream("POST", engine.url + CHAT, json=STREAM) as reply,
    ):
        lines = (line async for line in reply.aiter_lines() if line)
        assert '"role"' in await anext(lines)
        assert "This" in await anext(lines)
        gate.step()
        assert "is" in await anext(lines)
        gate.open()
        assert [line async for line in lines][-1] == "data: [DONE]"


async def test_it_can_be_started_again_on_the_same_port(http: httpx.AsyncClient) -> None:
    engine = SimulatedEngine("openai")
    await engine.start()
    port = engine.port
    assert (await http.get(engine.url + "/v1/models")).status_code == 200
    await engine.stop()
    with pytest.raises(httpx.ConnectError):
        await http.get(engine.url + "/v1/models")
    await engine.start()
    assert engine.port == port
    assert (await http.get(engine.url + "/v1/models")).status_code == 200
    await engine.stop()


async def test_it_says_so_when_its_port_is_taken() -> None:
    async with SimulatedEngine("openai") as first:
        with pytest.raises(OSError, match="in use"):
            await SimulatedEngine("openai", port=first.port).start()
        with pytest.raises(OSError, match="in use"):
            await SimulatedEngine("openai", control_port=first.port).start()
        second = SimulatedEngine("openai", port=first.port)
        await second.start(anywhere=True)
        assert second.port not in {0, first.port}
        await second.stop()


async def test_stopping_ends_what_hangs_and_leaves_nothing(http: httpx.AsyncClient) -> None:
    before = asyncio.all_tasks()
    engine = SimulatedEngine("mlx")
    await engine.start()
    await engine.fault("hang-headers")
    asked = asyncio.create_task(http.get(engine.url + "/health"))
    await engine.received()
    await engine.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        await asked
    assert asyncio.all_tasks() == before
    assert engine.connections == 0
    gc.collect()


async def test_waiting_for_what_does_not_come_says_what_came(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("openai", "Rosa") as engine:
        await http.get(engine.url + "/v1/models")
        with pytest.raises(TimeoutError, match="1 of 2 requests to /v1/ came to Rosa"):
            await engine.received(2, "/v1/", within_s=0.01)
        with pytest.raises(TimeoutError, match="0 of 1 requests to any path were given up"):
            await engine.abandoned(within_s=0.01)
        await engine.connected(1)
        assert engine.hang_up() == 1
        await engine.connected(0)


async def test_it_forgets_old_requests_where_told_to_and_still_counts(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("openai", keep=2) as engine:
        for _ in range(5):
            await http.get(engine.url + "/v1/models")
        assert len(engine.requests) == 2
        assert len(await engine.received(5)) == 2
        assert engine.request_log.total == 5


async def test_an_idle_connection_is_ended_after_its_time(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("openai", idle_s=0.01) as engine:
        await http.get(engine.url + "/v1/models")
        await engine.connected(0)
    async with SimulatedEngine("openai", idle_s=math.inf) as engine:
        await http.get(engine.url + "/v1/models")
        assert engine.connections == 1


async def test_a_hundred_of_them_fit_in_one_loop(http: httpx.AsyncClient) -> None:
    engines = [SimulatedEngine("llamacpp", f"node {i}", control_port=None) for i in range(100)]
    for engine in engines:
        await engine.start()
    replies = await asyncio.gather(*(http.get(engine.url + "/health") for engine in engines))
    assert [reply.json() for reply in replies] == [{"status": "ok"}] * 100
    for engine in engines:
        await engine.stop()


async def test_it_answers_on_ipv6_too(http: httpx.AsyncClient) -> None:
    try:
        async with SimulatedEngine("openai", host="::1") as engine:
            assert engine.url.startswith("http://[::1]:")
            assert (await http.get(engine.url + "/v1/models")).status_code == 200
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
