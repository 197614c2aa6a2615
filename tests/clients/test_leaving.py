"""A client that disconnects from a translated stream: the backend is released at once, as without translation."""

import time
from contextlib import aclosing
from statistics import median

from anthropic import AsyncAnthropic

from clients.rig import added
from clients.test_ollama import client_of
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from node import WAIT_S, Node

CHAT = "/v1/chat/completions"
MODEL = "llama-3.2-3b"
LIMIT_S = 0.25
TRIES = 3


async def late(engine: SimulatedEngine, count: int, gone_at: float) -> float:
    """Return how many seconds after its client the backend was released."""
    left_at = (await engine.abandoned(count, CHAT))[-1].left_at
    assert left_at is not None
    return left_at - gone_at


async def test_anthropics_client_leaves_in_mid_stream(node: Node) -> None:
    waits = []
    async with (
        SimulatedEngine("mlx", speed=1, pace=StepGate()) as engine,
        AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S) as client,
    ):
        await added(node, "mlx", engine.url)
        for count in range(1, TRIES + 1):
            stream = await client.messages.create(
                model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "COUNT"}], stream=True
            )
            async for event in stream:
                if event.type == "content_block_delta":
                    break
            gone_at = time.monotonic()
            await stream.close()
            waits.append(await late(engine, count, gone_at))
        shown = await node.backend("mlx")
    assert median(waits) <= LIMIT_S
    assert (shown["requests"]["cancelled"], shown["in_flight"]) == (TRIES, 0)
    assert shown["health"]["state"] == "healthy"


async def test_ollamas_client_leaves_in_mid_stream(node: Node) -> None:
    waits = []
    async with SimulatedEngine("mlx", speed=1, pace=StepGate()) as engine, client_of(node) as client:
        await added(node, "mlx", engine.url)
        for count in range(1, TRIES + 1):
            asked = [{"role": "user", "content": "COUNT"}]
            async with aclosing(await client.chat(model=MODEL, messages=asked, stream=True)) as stream:
                assert (await anext(stream)).message.content
                gone_at = time.monotonic()
            waits.append(await late(engine, count, gone_at))
        shown = await node.backend("mlx")
    assert median(waits) <= LIMIT_S
    assert (shown["requests"]["cancelled"], shown["in_flight"]) == (TRIES, 0)
