"""The listening port."""

import asyncio

import pytest

from meshlight.simulator.engine import SimulatedEngine


async def refuse_and_come_back() -> None:
    async with SimulatedEngine("openai") as engine:
        for _ in range(3):
            await engine.fault("refuse")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", engine.port)
            await engine.clear()
            _, writer = await asyncio.open_connection("127.0.0.1", engine.port)
            await engine.connected(1)
            writer.close()
            await writer.wait_closed()
            await engine.connected(0)


async def test_a_door_shuts_and_opens_on_the_same_port() -> None:
    await refuse_and_come_back()


def test_it_does_so_under_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop")  # Windows has none
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(refuse_and_come_back())


async def test_opening_twice_and_shutting_twice_changes_nothing() -> None:
    async with SimulatedEngine("openai") as engine:
        port = engine.port
        await engine._listener.open()
        assert engine.port == port
        await engine.fault("refuse")
        await engine.fault("refuse")
        assert not engine._listener.is_open


async def test_an_engine_that_refuses_is_started_refusing() -> None:
    engine = SimulatedEngine("openai")
    await engine.fault("refuse")
    await engine.start()
    assert engine.port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", engine.port)
    await engine.stop()
