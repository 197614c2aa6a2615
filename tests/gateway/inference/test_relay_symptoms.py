"""What the relay reports of requests that go wrong, so that findings can be made of it; of the others, nothing."""

import asyncio

import pytest

from faults.held import HeldEngine
from faults.raw import complete
from gateway.rig import Rig
from meshlight.domain.errors import MeshlightError
from meshlight.gateway.inference.context_guard import LEARNED_FROM
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.mesh.symptoms import Symptoms
from meshlight.simulator.engine import SimulatedEngine


class Recorded(Symptoms):
    """Records what it is told."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.departures: list[tuple[str, str, float]] = []
        self.prompts: list[tuple[str, str, int]] = []

    def failed(self, backend: str, model: str) -> None:
        self.failures.append((backend, model))

    def left(self, backend: str, model: str, after_s: float) -> None:
        self.departures.append((backend, model, after_s))

    def prompt(self, backend: str, model: str, body: bytes, counted: int) -> None:
        assert body.startswith(b"{")
        self.prompts.append((backend, model, counted))


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def told(rig: Rig) -> Recorded:
    rig.traffic.symptoms = recorded = Recorded()
    return recorded


async def test_a_good_answer_tells_only_what_its_prompt_counted(rig: Rig, told: Recorded) -> None:
    async with SimulatedEngine("llamacpp", "a", ["m"]) as engine:
        rig.add(engine)
        for stream in (False, True):
            await rig.send(messages=[{"role": "user", "content": "hi " * LEARNED_FROM}], stream=stream)
        await rig.send()  # too small for anything to be learned from its count
    assert (told.failures, told.departures) == ([], [])
    assert [(backend, model) for backend, model, _ in told.prompts] == [("a", "m")] * len(told.prompts)
    assert told.prompts[0][2] > 0


@pytest.mark.parametrize(("status", "is_told"), [(500, True), (503, True), (501, False), (400, False)])
async def test_an_answer_of_500_or_more_is_a_failure(
    rig: Rig, told: Recorded, status: int, is_told: bool
) -> None:
    async with SimulatedEngine("llamacpp", "a", ["m"]) as engine:
        rig.add(engine)
        await engine.fault("status", status=status, scope="inference")
        await rig.send()
    assert told.failures == ([("a", "m")] if is_told else [])


async def test_an_answer_that_breaks_off_is_a_failure_at_any_time(rig: Rig, told: Recorded) -> None:
    async with SimulatedEngine("llamacpp", "a", ["m"]) as engine:
        rig.add(engine)
        await engine.fault("reset-body", scope="inference", count=1)
        await rig.send(stream=True)
        await engine.fault("reset-headers", scope="inference")
        with pytest.raises(MeshlightError):
            await rig.send()
    assert told.failures == [("a", "m"), ("a", "m")]


async def test_a_client_that_leaves_before_the_first_byte_is_told_with_how_long_it_waited(
    rig: Rig, told: Recorded
) -> None:
    async with HeldEngine("a") as engine:
        rig.add(engine, slots=1)
        gone = [DisconnectListeners() for _ in range(2)]
        tasks = [asyncio.create_task(rig.send(disconnect=one)) for one in gone]
        await engine.until_held(1)
        assert rig.traffic.waiting() == {"m": 1}
        rig.clock.pass_time(7)
        gone[1].fire()
        await tasks[1]
        gone[0].fire()
        await tasks[0]
        engine.says = complete(b"{}")
        assert told.departures == [("", "m", 7.0), ("a", "m", 7.0)]
