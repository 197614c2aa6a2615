import asyncio
import gc
import threading
import time
from asyncio import events
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node import Node
from security.hostile import AttackedNode, Hostile, LongestCallback
from security.wire import LOOPS, Echo, Gateway, running


@pytest.fixture(scope="module", params=LOOPS.keys())
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared_echo() -> Echo:
    return Echo()


@pytest.fixture
def echo(shared_echo: Echo) -> Echo:
    shared_echo.asked.clear()
    return shared_echo


@pytest.fixture(scope="module")
def gateway(loop_name: str, shared_echo: Echo) -> Iterator[Gateway]:
    with running(shared_echo, LOOPS[loop_name]) as found:
        yield found


@pytest.fixture(scope="module")
def longest() -> Iterator[LongestCallback]:
    found = LongestCallback()
    run = events.Handle._run

    def timed(handle: events.Handle) -> None:
        if threading.get_ident() != found.thread:
            run(handle)
            return
        begun = time.thread_time()
        run(handle)
        held_s = time.thread_time() - begun
        if held_s > found.held_s:
            task = getattr(getattr(handle, "_callback", None), "__self__", None)  # whose step it is
            found.held_s, found.by = held_s, f"{handle!r} {task!r}"[:500]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events.Handle, "_run", timed)
        yield found


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with Hostile() as backend:
        yield backend


@pytest.fixture(scope="module")
def attacked_node(
    longest: LongestCallback, hostile: Hostile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AttackedNode]:
    home: Path = tmp_path_factory.mktemp("home")
    made: list[AttackedNode] = []
    ready = threading.Event()
    over: list[Any] = []

    async def live() -> None:
        stop = asyncio.Event()
        over.append((asyncio.get_running_loop(), stop))
        try:
            async with Node(home, [hostile]) as node:
                made.append(AttackedNode(hostile, longest, node.key, node.url))
                longest.thread = threading.get_ident()
                ready.set()
                await stop.wait()
        finally:
            ready.set()

    def run() -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(live())

    gc.collect()
    gc.freeze()  # the tests' own objects are none of the node's
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    yield made[0]
    loop, stop = over[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    gc.unfreeze()
