"""The gate that tests hold in their hands."""

import asyncio

from meshlight.simulator.protocols.text import StepGate


async def test_steps_may_be_given_before_they_are_waited_for() -> None:
    gate = StepGate()
    gate.step(2)
    await gate(1)
    await gate(1)
    third = asyncio.ensure_future(gate(1))
    await asyncio.sleep(0)
    assert gate.waiting == 1
    gate.step()
    await third


async def test_a_wait_that_is_given_up_takes_no_step() -> None:
    gate = StepGate()
    first, second = (asyncio.ensure_future(gate(1)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    gate.step()
    await second
    assert gate.waiting == 0


async def test_an_open_gate_lets_all_pass() -> None:
    gate = StepGate()
    held = asyncio.ensure_future(gate(1))
    await asyncio.sleep(0)
    gate.open()
    await held
    await gate(1)
