"""Two people on one network pair their machines, and use each other's models: real engine, real services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from netns.engines import Wanted
from netns.namespaces import Lan, Machine
from netns.node_process import HELLO, Home
from real.engines import llama_server
from real.tiny_gguf import write_gguf

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.real, pytest.mark.one_process]
MODEL = "tiny-b"


async def real_engine(machine: Machine, folder: Path) -> Wanted:
    """Start llama.cpp on a machine, ready to answer."""
    file = write_gguf(folder / f"{MODEL}.gguf", MODEL)
    words = ["-m", str(file), "--alias", MODEL, "-c", "4096", "-np", "2", "-t", "1", "--jinja", "--no-webui"]
    await machine.run([str(llama_server()), *words, "--host", "127.0.0.1", "--port", "8080"])
    await machine.until_said("listening on http")
    return Wanted(name="llama", models=(MODEL,), port=8080)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def homes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Home, Home]]:
    llama_server()  # skips before anything is made
    async with Lan(["anna", "bo"]) as lan:
        a, b = (Home(machine) for machine in lan)
        engine = await real_engine(b.machine, tmp_path_factory.mktemp("llama"))
        await a.start()
        await b.start([engine])
        yield a, b
        await asyncio.gather(a.stop(), b.stop())


async def test_two_machines_see_each_other_pair_and_answer_for_each_other(
    homes: tuple[Home, Home],
) -> None:
    a, b = homes
    began = max(a.began, b.began)
    await a.until(lambda state: state.saw(b.id))
    await b.until(lambda state: state.saw(a.id))
    seen_s = time.monotonic() - began
    agreed = await a.pair(b)
    await a.until(lambda state: MODEL in state.models)
    answer = await a.chat(MODEL)
    answered_s = time.monotonic() - agreed
    assert answer.json()["choices"][0]["message"]["content"].startswith(f"I am {MODEL}")
    print(f"\nseen {seen_s:.2f} s after the start; first answer {answered_s:.2f} s after both had confirmed")


async def test_an_answer_comes_in_pieces_over_both_machines(homes: tuple[Home, Home]) -> None:
    a, _ = homes
    body = {"model": MODEL, "stream": True, "messages": HELLO}
    async with a.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line async for line in answer.aiter_lines() if line]
    assert answer.status_code == 200
    assert len(lines) > 5
    assert lines[-1] == "data: [DONE]"


async def test_unpairing_on_one_side_ends_it_on_both(homes: tuple[Home, Home]) -> None:
    a, b = homes
    began = time.monotonic()
    await b.change("DELETE", f"/peers/{a.id}")
    await b.until(lambda state: not state.peers["peers"])
    await a.until(lambda state: not state.peers["peers"] and MODEL not in state.models)
    print(f"\nunpaired on both {time.monotonic() - began:.2f} s after one had said so")
    assert (await a.chat(MODEL)).status_code == 404
    assert any("has ended the pairing" in notice for notice in (await a.state()).mesh["notices"])
