"""When a client disconnects, the request to its backend ends at once."""

from pathlib import Path
from statistics import median

import pytest

from faults.raw import Caller, chat, router
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from node import Node

CHAT = "/v1/chat/completions"
LIMIT_S = 0.25
TRIES = 3


async def depart(
    node: Node, engine: SimulatedEngine, body: dict[str, object], sees: bytes, *, rudely: bool
) -> None:
    """Ask, wait until `sees` has come (or the backend works), hang up: the backend must see it in time.

    The median of a few tries, because a busy machine may stop this whole process for a while.
    """
    late = []
    for count in range(1, TRIES + 1):
        caller = await Caller.post(node, body)
        await engine.received(count, CHAT)
        if sees:
            await caller.until(sees)
        gone_at = caller.hang_up(rudely=rudely)
        observed = (await engine.abandoned(count, CHAT))[-1]
        assert observed.left_at is not None
        late.append(observed.left_at - gone_at)
    assert median(late) <= LIMIT_S
    counts = await router(node)
    assert (counts["cancelled"], counts["in_flight"], counts["failed"]) == (TRIES, 0, 0)
    shown = await node.backend(engine.name)
    assert shown["health"]["state"] == "healthy"
    assert (shown["requests"]["cancelled"], shown["in_flight"]) == (TRIES, 0)


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_the_first_byte_is_seen_upstream(
    tmp_path: Path, stream: bool, rudely: bool
) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("hang-headers", scope="inference")
        await depart(node, engine, chat(stream=stream), b"", rudely=rudely)


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_client_that_leaves_in_mid_stream_is_seen_upstream(tmp_path: Path, rudely: bool) -> None:
    async with (
        SimulatedEngine("llamacpp", "a", speed=1, pace=StepGate()) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        await depart(node, engine, chat(said="COUNT", stream=True), b'"0"', rudely=rudely)


async def test_a_client_that_leaves_while_a_whole_answer_is_made_is_seen_upstream(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("vllm", "a", first_token_s=1, pace=StepGate()) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        await depart(node, engine, chat(), b"", rudely=False)


async def test_a_client_that_leaves_in_the_middle_of_a_whole_answer_is_seen_upstream(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("hang-body", scope="inference")
        await depart(node, engine, chat(), b"\r\n\r\n{", rudely=False)


async def test_a_client_that_does_not_read_holds_the_backend_back_and_its_departure_is_seen(
    tmp_path: Path,
) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        caller = await Caller.post(node, chat(said="LOOP", stream=True))
        await engine.held_back()
        gone_at = caller.hang_up(rudely=True)
        (observed,) = await engine.abandoned(1, CHAT)
        assert observed.left_at is not None
        assert observed.left_at - gone_at <= LIMIT_S * 4  # megabytes lie between the two


async def test_a_request_that_its_client_never_finishes_reaches_no_backend(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        caller = await Caller.connect(node)
        caller.send(node, CHAT, 1_000, b'{"model": "llama-3.2-3b", ')
        caller.hang_up()
        assert (await node.chat()).status_code == 200
        assert len(engine.calls()) == 1
        assert (await router(node))["total"] == 1


async def test_a_departure_while_another_backend_is_tried_ends_that_one(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], 'routing.policy = "priority"') as node,
    ):
        await first.fault("status", status=503, scope="inference")
        await second.fault("hang-headers", scope="inference")
        caller = await Caller.post(node, chat())
        await second.received(1, CHAT)
        caller.hang_up()
        await second.abandoned(1, CHAT)
        await second.idle()
        counts = await router(node)
        assert (counts["cancelled"], counts["in_flight"]) == (1, 0)
