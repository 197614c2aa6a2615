"""A running stream is not disturbed by changes of the configuration, not even by the removal of its backend."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from faults.raw import Caller, chat, tune
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from node import Node

CHAT = "/v1/chat/completions"


async def write_the_file(node: Node) -> None:
    text = await asyncio.to_thread(node.config_file.read_text)
    await asyncio.to_thread(node.config_file.write_text, text.replace('name = "a"', 'name = "Renamed"'))
    async with node.http.stream("GET", "/mesh/events") as events:
        async for line in events.aiter_lines():
            if "Renamed" in line:
                return


async def change_the_settings(node: Node) -> None:
    answer = await node.http.patch("/mesh/settings", json={"routing": {"policy": "round-robin"}})
    assert answer.status_code == 200, answer.text


async def change_the_backend(node: Node) -> None:
    await tune(node, "a", idle_s=7, first_byte_s=7, ring="lan", name="Renamed")


async def move_the_backend(node: Node) -> None:
    await tune(node, "a", url="http://127.0.0.1:9", save_anyway=True)


async def switch_the_backend_off(node: Node) -> None:
    assert (await node.http.post("/mesh/backends/a/disable")).status_code == 200


async def remove_the_backend(node: Node) -> None:
    assert (await node.http.delete("/mesh/backends/a")).status_code == 204


@pytest.mark.parametrize(
    "change",
    [
        write_the_file,
        change_the_settings,
        change_the_backend,
        move_the_backend,
        switch_the_backend_off,
        remove_the_backend,
    ],
)
async def test_a_running_stream_goes_on_to_its_end(
    tmp_path: Path, change: Callable[[Node], Awaitable[None]]
) -> None:
    gate = StepGate()
    async with (
        SimulatedEngine("llamacpp", "a", speed=1, pace=gate) as engine,
        Node(tmp_path, [engine], 'routing.policy = "priority"') as node,
    ):
        caller = await Caller.post(node, chat(said="COUNT", stream=True))
        await caller.until(b'"content":"0"')
        await change(node)
        for number in range(1, 48):
            gate.step()
            await caller.until(b'"content":" %d"' % number)
        got = await caller.until(b"[DONE]")
        assert b"broke off" not in got
        caller.hang_up()
        snapshot = (await node.http.get("/mesh/snapshot")).json()
        assert snapshot["router"]["requests"] == {
            "total": 1,
            "successful": 1,
            "failed": 0,
            "cancelled": 0,
            "in_flight": 0,
        }


async def test_a_request_that_waits_for_its_first_byte_outlives_the_removal_of_its_backend(
    tmp_path: Path,
) -> None:
    gate = StepGate()
    async with (
        SimulatedEngine("llamacpp", "a", first_token_s=1, pace=gate) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        asking = asyncio.create_task(node.chat())
        await engine.received(1, CHAT)
        await remove_the_backend(node)
        assert (await node.chat()).status_code == 404
        gate.open()
        assert (await asking).status_code == 200
        await engine.idle()
        await engine.connected(0)  # nothing keeps what is not used any more


async def test_a_broken_file_disturbs_nothing(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await asyncio.to_thread(node.config_file.write_text, "this is = = no TOML")
        async with asyncio.timeout(5):
            while not (await node.http.get("/mesh/settings")).json()["notices"]:
                assert (await node.chat()).status_code == 200
        assert (await node.chat()).status_code == 200
