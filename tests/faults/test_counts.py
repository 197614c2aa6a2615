"""A burst spreads over equal backends, and whatever happens to a request, it is counted as ended once."""

import asyncio
from pathlib import Path

from faults.raw import Caller, chat, router
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FaultKind
from meshlight.simulator.protocols.text import StepGate
from node import Node

CHAT = "/v1/chat/completions"


async def test_thirty_requests_at_once_spread_evenly_over_three_backends(tmp_path: Path) -> None:
    gate = StepGate()
    async with (
        SimulatedEngine("vllm", "a", first_token_s=1, pace=gate) as a,
        SimulatedEngine("vllm", "b", first_token_s=1, pace=gate) as b,
        SimulatedEngine("vllm", "c", first_token_s=1, pace=gate) as c,
        Node(tmp_path, [a, b, c]) as node,
    ):
        asking = [asyncio.create_task(node.chat()) for _ in range(30)]
        for engine in (a, b, c):
            await engine.received(10, CHAT)
        counts = await router(node)
        assert (counts["total"], counts["in_flight"]) == (30, 30)
        gate.open()
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
        assert [len(engine.calls()) for engine in (a, b, c)] == [10, 10, 10]
        counts = await router(node)
        assert counts == {"total": 30, "successful": 30, "failed": 0, "cancelled": 0, "in_flight": 0}


async def test_every_kind_of_end_is_counted_once(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a", speed=500) as engine, Node(tmp_path, [engine]) as node:

        async def ended(**changed: int) -> None:
            """Check that just these counts went up, and that nothing is left over."""
            await engine.idle()
            for name, count in changed.items():
                expected[name] += count
            expected["total"] += sum(changed.values())
            assert await router(node) == expected

        expected = {"total": 0, "successful": 0, "failed": 0, "cancelled": 0, "in_flight": 0}
        await node.chat()
        await node.chat(stream=True)
        await ended(successful=2)
        await node.chat("nobody-has-this")
        await ended(failed=1)
        await node.http.post(CHAT, json={"model": "llama-3.2-3b"})  # no messages: the engine's own 400
        await ended(failed=1)
        unanswered: tuple[FaultKind, ...] = ("status", "loading", "close-early", "garbage", "html")
        for kind in unanswered:
            await engine.fault(kind, scope="inference")
            await node.chat()
            await ended(failed=1)
        broken: tuple[FaultKind, ...] = ("reset-body", "close-body", "wrong-length")
        for kind in broken:
            await engine.fault(kind, scope="inference")
            caller = await Caller.post(node, chat(stream=True))
            await caller.rest() if kind == "wrong-length" else await caller.until(b"broke off")
            caller.hang_up()
            await ended(failed=1)
        await engine.fault("hang-headers", scope="inference")
        caller = await Caller.post(node, chat())
        await engine.received(engine.request_log.count(CHAT), CHAT)
        await asyncio.wait_for(in_flight(node, 1), 5)
        caller.hang_up(rudely=True)
        await engine.abandoned(1, CHAT)
        await ended(cancelled=1)
        await engine.fault("refuse")
        await node.chat()
        await ended(failed=1)
        shown = (await node.http.get("/mesh/snapshot")).json()
        work = shown["backends"][0]["requests"]
        assert work["total"] == work["successful"] + work["failed"] + work["cancelled"]
        assert (shown["backends"][0]["in_flight"], work["in_flight"], work["cancelled"]) == (0, 0, 1)
        assert shown["models"][0]["requests"]["in_flight"] == 0


async def in_flight(node: Node, count: int) -> None:
    """Wait until so many requests are in flight."""
    while (await router(node))["in_flight"] != count:
        pass


async def test_an_attempt_that_failed_over_is_counted_at_its_backend_and_the_request_once(
    tmp_path: Path,
) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], 'routing.policy = "priority"') as node,
    ):
        await first.fault("status", status=500, scope="inference")
        assert (await node.chat()).status_code == 200
        assert await router(node) == {
            "total": 1,
            "successful": 1,
            "failed": 0,
            "cancelled": 0,
            "in_flight": 0,
        }
        assert (await node.backend("a"))["requests"]["failed"] == 1
        assert (await node.backend("b"))["requests"]["successful"] == 1
