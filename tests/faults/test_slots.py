"""A whole node in front of two engines with four slots each: more clients than slots, some of which leave."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.held import HeldEngine
from faults.raw import Caller, chat, router, tune
from node import WAIT_S, Node

Engines = tuple[Node, HeldEngine, HeldEngine]


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    first, second = HeldEngine("first"), HeldEngine("second")
    second.requests = first.requests  # one record of both, in the order in which requests come
    async with first, second, Node(tmp_path, [first, second]) as node:
        for engine in (first, second):
            await tune(node, engine.name, slots=4)
        yield node, first, second


async def waiting(node: Node, count: int) -> None:
    """Wait, by the event stream, until so many requests wait for the model."""
    async with asyncio.timeout(WAIT_S), node.http.stream("GET", "/mesh/events") as events:
        async for _ in events.aiter_lines():
            seen = (await node.http.get("/mesh/snapshot")).json()
            if [model["waiting"] for model in seen["models"]] == [count]:
                return


async def test_fifty_clients_are_answered_and_no_engine_sees_more_than_four(engines: Engines) -> None:
    node, first, second = engines

    async def ask(app: str) -> int:
        answer = await node.http.post("/v1/chat/completions", json=chat("m"), headers={"user-agent": app})
        return answer.status_code

    tasks = [asyncio.create_task(ask("first")) for _ in range(8)]
    await first.until_held(4)
    await second.until_held(4)
    tasks += [asyncio.create_task(ask(app)) for app in [*["greedy"] * 20, *["modest"] * 11, *["small"] * 11]]
    await waiting(node, 42)
    first.answer_all()
    second.answer_all()
    assert [await task for task in tasks] == [200] * 50
    assert (first.most, second.most, len(first.posts)) == (4, 4, 50)
    shares = Counter(post.headers["user-agent"] for post in first.posts[8:38])
    assert set(shares) == {"greedy", "modest", "small"}
    assert max(shares.values()) / min(shares.values()) <= 1.3, shares


async def test_ten_are_answered_as_soon_as_eight_that_hang_have_gone(engines: Engines) -> None:
    node, first, second = engines
    hung = [await Caller.post(node, chat("m")) for _ in range(8)]
    await first.until_held(4)
    await second.until_held(4)
    ordinary = [asyncio.create_task(node.chat("m")) for _ in range(10)]
    await waiting(node, 10)
    for client in hung:
        client.hang_up(rudely=True)
    await waiting(node, 2)
    await first.until_held(4)
    await second.until_held(4)
    first.answer_all()
    second.answer_all()
    assert [(await task).status_code for task in ordinary] == [200] * 10
    counts = await router(node)
    assert (counts["successful"], counts["cancelled"], counts["in_flight"]) == (10, 8, 0)


async def test_a_client_that_leaves_the_queue_was_sent_nowhere(engines: Engines) -> None:
    node, first, second = engines
    running = [asyncio.create_task(node.chat("m")) for _ in range(8)]
    await first.until_held(4)
    await second.until_held(4)
    leaving = [await Caller.post(node, chat("m")) for _ in range(3)]
    await waiting(node, 3)
    for client in leaving:
        client.hang_up()
    await waiting(node, 0)
    first.answer_all()
    second.answer_all()
    assert [(await task).status_code for task in running] == [200] * 8
    assert len(first.posts) == 8
    assert (await router(node))["cancelled"] == 3


async def test_the_queue_can_be_switched_off(tmp_path: Path) -> None:
    async with HeldEngine("only") as only, Node(tmp_path, [only], "[routing]\nqueue = false\n") as node:
        await tune(node, "only", slots=4)
        assert (await node.backend("only"))["slots"] == 4
        asked = [asyncio.create_task(node.chat("m")) for _ in range(9)]
        await only.until_held(9)
        only.answer_all()
        assert [(await task).status_code for task in asked] == [200] * 9
