"""What is held against a backend and what is not; the last route of a model is never blacked out."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from faults.raw import Caller, chat
from gateway.rig import Rig
from meshlight.domain.health import Answered
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from node import IN_ORDER, Node

CHAT = "/v1/chat/completions"


async def health(node: Node, name: str) -> tuple[str, str]:
    shown = (await node.backend(name))["health"]
    return shown["state"], shown["reason"]


async def test_three_failures_eject_and_the_last_route_is_tried_all_the_same(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("status", status=502, scope="inference")
        assert [(await node.chat()).status_code for _ in range(4)] == [502] * 4
        assert await health(node, "a") == ("unhealthy", "failing-requests")
        assert len(engine.calls()) == 4
        await engine.clear()
        assert (await node.chat()).status_code == 200


async def test_a_request_whose_good_routes_fail_tries_one_that_is_ejected_but_alive(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as ejected,
        SimulatedEngine("vllm", "b") as good,
        Node(tmp_path, [ejected, good], IN_ORDER) as node,
    ):
        await ejected.fault("status", status=500, scope="inference", count=3)
        for _ in range(3):
            assert (await node.chat()).headers["x-meshlight-backend"] == "b"
        assert await health(node, "a") == ("unhealthy", "failing-requests")
        await good.fault("refuse")
        answer = await node.chat()
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "a")


async def test_an_ejected_backend_is_used_again_after_its_pause() -> None:
    rig = Rig()
    async with (
        SimulatedEngine("llamacpp", "a", ["m"]) as first,
        SimulatedEngine("vllm", "b", ["m"]) as second,
    ):
        rig.add(first)
        rig.add(second)
        await first.fault("status", status=502, scope="inference", count=3)
        for _ in range(4):
            assert (await rig.send()).who == "b"
        assert len(first.calls()) == 3
        assert rig.state("a") == ("unhealthy", "failing-requests")
        for seconds, who in ((10, "b"), (25, "a")):
            rig.clock.pass_time(seconds)
            for _ in range(2):
                rig.registry.record_fact("a", Answered(0.01))
            assert (await rig.send()).who == who


async def test_a_slow_backend_that_lives_is_not_punished(tmp_path: Path) -> None:
    gate = StepGate()
    async with (
        SimulatedEngine("llamacpp", "a", first_token_s=1, pace=gate) as slow,
        SimulatedEngine("vllm", "b") as fast,
        Node(tmp_path, [slow, fast], IN_ORDER) as node,
    ):
        probes = slow.request_log.count("/v1/models")
        asking = asyncio.create_task(node.chat())
        await slow.received(probes + 1, "/v1/models")  # after a second somebody looks whether it lives
        gate.open()
        assert (await asking).headers["x-meshlight-backend"] == "a"
        assert await health(node, "a") == ("healthy", "ok")
        assert len(fast.calls()) == 0


@pytest.mark.parametrize("status", [400, 402, 409, 413, 422])
async def test_the_clients_own_mistake_comes_back_word_for_word_and_is_held_against_nobody(
    tmp_path: Path, status: int
) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=status, scope="inference")
        direct = await node.http.post(first.url + CHAT, json=chat())
        for _ in range(5):
            answer = await node.chat()
            assert (answer.status_code, answer.content) == (status, direct.content)
            assert answer.headers["x-meshlight-attempts"] == "1"
        assert await health(node, "a") == ("healthy", "ok")
        assert len(second.calls()) == 0


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_what_one_backend_cannot_do_goes_elsewhere_and_is_held_against_nobody(
    tmp_path: Path, status: int
) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=status, scope="inference")
        for _ in range(5):
            assert (await node.chat()).headers["x-meshlight-backend"] == "b"
        assert await health(node, "a") == ("healthy", "ok")


async def test_a_departed_client_is_held_against_nobody(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("hang-body", scope="inference")
        for count in range(1, 6):
            caller = await Caller.post(node, chat(stream=True))
            await caller.until(b"data: ")
            caller.hang_up(rudely=True)
            await engine.abandoned(count, CHAT)
        assert await health(node, "a") == ("healthy", "ok")
        assert (await node.backend("a"))["requests"]["cancelled"] == 5


@pytest.mark.parametrize("kind", ["reset-body", "close-body"])
async def test_three_broken_streams_eject_as_well(tmp_path: Path, kind: Any) -> None:
    async with SimulatedEngine("llamacpp", "a", speed=500) as engine, Node(tmp_path, [engine]) as node:
        await engine.fault(kind, scope="inference", after_bytes=1_000)
        for _ in range(3):
            caller = await Caller.post(node, chat(stream=True))
            await caller.rest()
            caller.hang_up()
        assert await health(node, "a") == ("unhealthy", "failing-requests")


async def test_a_good_answer_between_two_bad_ones_clears_the_record(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        for _ in range(3):
            await engine.fault("status", status=500, scope="inference", count=2)
            assert [(await node.chat()).status_code for _ in range(3)] == [500, 500, 200]
        assert await health(node, "a") == ("healthy", "ok")


async def test_a_request_that_no_backend_can_take_is_held_against_none(tmp_path: Path) -> None:
    """llama-server answers 500 to a picture when its model has no eyes: that is the request's fault."""
    async with (
        SimulatedEngine("llamacpp", "a") as one,
        SimulatedEngine("llamacpp", "b") as other,
        Node(tmp_path, [one, other], IN_ORDER) as node,
    ):
        for engine in (one, other):
            await engine.fault("status", status=500, scope="inference")
        assert [(await node.chat()).status_code for _ in range(4)] == [500] * 4
        assert [await health(node, name) for name in "ab"] == [("healthy", "ok")] * 2
