"""Two Meshlights on one computer, as two processes: they pair by host and port, and answer for each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netns.alone import Alone
from netns.engines import Engines, Wanted
from netns.node_process import HELLO, Home
from real.engines import free_port

pytestmark = pytest.mark.one_process
MODEL = "model-of-bo"


@pytest.fixture
async def homes(tmp_path: Path) -> AsyncIterator[tuple[Home, Home]]:
    anna, bo = (Home(Alone(name, tmp_path / name)) for name in ("anna", "bo"))
    try:
        engines = await Engines.on(bo.machine, Wanted(name="own", models=(MODEL,)))
        for home, wanted in ((anna, ()), (bo, engines.wanted)):
            await home.start(wanted, lan=f"browse = false\nport = {free_port()}\ndoor = {free_port()}")
        yield anna, bo
        await asyncio.gather(anna.stop(), bo.stop())
    finally:
        await asyncio.gather(anna.machine.stop(), bo.machine.stop())


async def test_two_pair_by_host_and_port_and_answer_for_each_other(homes: tuple[Home, Home]) -> None:
    anna, bo = homes
    seen = await bo.change("PATCH", "/peers", visible=True)
    agreed = await anna.pair(bo, host="127.0.0.1", port=seen["door"])
    await bo.change("PATCH", "/peers", visible=False)
    await anna.until(lambda state: MODEL in state.models)
    assert (await anna.chat(MODEL)).status_code == 200
    print(f"\nfirst answer {time.monotonic() - agreed:.2f} s after both had confirmed")
    body = {"model": MODEL, "stream": True, "messages": HELLO}
    async with anna.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line async for line in answer.aiter_lines() if line]
    assert len(lines) > 3
    assert lines[-1] == "data: [DONE]"

    await anna.change("DELETE", f"/peers/{bo.id}")
    await bo.until(lambda state: not state.peers["peers"])
    assert (await anna.chat(MODEL)).status_code == 404
