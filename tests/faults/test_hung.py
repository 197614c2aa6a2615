"""A backend that hangs costs a client ten seconds at most, and the error names it."""

import asyncio
from pathlib import Path

import pytest

from faults.raw import Caller, chat, tune
from meshlight.domain.backend import Reason
from meshlight.domain.health import Broke, Fact, Failed, Limited
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from stopwatch import Stopwatch

CHAT = "/v1/chat/completions"
SILENT = Reason("timed-out", "It took the connection but did not answer in time.")


def tell(node: Node, name: str, *facts: Fact) -> None:
    """Let the registry hear facts, as a probe or a request would tell them."""
    for fact in facts:
        node.service._registry.record_fact(name, fact)


async def test_a_request_that_waits_on_a_hung_backend_moves_on_within_ten_seconds(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a", ["both", "only"]) as hung,
        SimulatedEngine("vllm", "b", ["both"]) as good,
        Node(tmp_path, [hung, good], IN_ORDER) as node,
    ):
        await hung.fault("hang-headers")
        stopwatch = Stopwatch()
        moved, stuck = await asyncio.gather(node.chat("both"), node.chat("only"))
        assert stopwatch.elapsed_s < 10
        assert (moved.status_code, moved.headers["x-meshlight-backend"]) == (200, "b")
        assert moved.headers["x-meshlight-attempts"] == "2"
        assert stuck.status_code == 503
        assert "a stopped answering" in stuck.json()["error"]["message"]
        assert int(stuck.headers["retry-after"]) > 0
        await hung.abandoned(2, CHAT)  # both were let go


async def test_a_route_that_hangs_already_is_tried_but_not_for_long(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as hung, Node(tmp_path, [hung]) as node:
        await hung.fault("hang-headers")
        tell(node, "a", Failed(SILENT), Failed(SILENT))
        stopwatch = Stopwatch()
        answer = await node.chat()
        assert stopwatch.elapsed_s < 10
        assert answer.status_code == 503
        assert "a stopped answering" in answer.json()["error"]["message"]
        assert len(hung.calls()) == 1


async def test_what_waits_for_a_first_byte_moves_on_when_the_probes_say_so(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("vllm", "a") as hung,
        SimulatedEngine("vllm", "b") as good,
        Node(tmp_path, [hung, good], IN_ORDER) as node,
    ):
        await hung.fault("hang-headers", scope="inference")
        asking = [asyncio.create_task(node.chat()) for _ in range(5)]
        await hung.received(5, CHAT)
        tell(node, "a", Failed(SILENT), Failed(SILENT))
        answers = await asyncio.gather(*asking)
        assert {answer.headers["x-meshlight-backend"] for answer in answers} == {"b"}
        await hung.abandoned(5, CHAT)
        assert (await node.backend("a"))["in_flight"] == 0


@pytest.mark.parametrize("after_bytes", [0, None])
async def test_an_answer_of_which_only_the_head_has_come_still_moves_on(
    tmp_path: Path, after_bytes: int | None
) -> None:
    async with (
        SimulatedEngine("vllm", "a") as hung,
        SimulatedEngine("vllm", "b") as good,
        Node(tmp_path, [hung, good], IN_ORDER) as node,
    ):
        await hung.fault("hang-body", scope="inference", after_bytes=after_bytes)
        caller = await Caller.post(node, chat(stream=True))
        await hung.received(1, CHAT)
        if after_bytes is None:
            await caller.until(b"data: ")
        tell(node, "a", Failed(SILENT), Failed(SILENT))
        if after_bytes is None:  # its first byte is out: it stays
            tell(node, "a", Failed(SILENT))
            assert len(good.calls()) == 0
        else:
            assert b"x-meshlight-backend: b" in await caller.until(b"[DONE]")
        caller.hang_up()


async def test_a_request_stays_where_it_is_when_only_other_requests_failed_there(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("hang-headers", scope="inference", count=1)
        caller = await Caller.post(node, chat())
        await first.received(1, CHAT)
        tell(node, "a", *[Broke(Reason("server-error", "It broke."))] * 3, Limited(SILENT, 30.0))
        assert (await node.chat()).headers["x-meshlight-backend"] == "b"
        assert (first.in_flight, len(second.calls())) == (1, 1)
        caller.hang_up()


async def test_the_first_byte_limit_is_the_backends_own(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as slow,
        SimulatedEngine("vllm", "b") as good,
        Node(tmp_path, [slow, good], IN_ORDER) as node,
    ):
        await tune(node, "a", first_byte_s=0.2)
        await slow.fault("hang-headers", scope="inference")
        assert (await node.chat()).headers["x-meshlight-backend"] == "b"
        await tune(node, "b", enabled=False)
        answer = await node.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "first_byte_too_late")
        assert "a sent nothing within 0.2 s" in answer.json()["error"]["message"]
        assert "first_byte_s" in answer.json()["error"]["hint"]
        assert (await node.backend("a"))["health"]["state"] == "healthy"


async def test_a_stream_that_falls_silent_is_ended_by_the_idle_limit(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await tune(node, "a", idle_s=0.2)
        await engine.fault("hang-body", scope="inference")
        answer = await node.chat(stream=True)
        assert "sent nothing for 0.2 s" in answer.text
        assert "[DONE]" not in answer.text
        await engine.abandoned(1, CHAT)
