"""Loading and unloading by hand."""

import asyncio

import pytest

from local_models.engines.test_owner import refused
from local_models.fake_engines import Rig, a_model
from meshlight.domain.errors import Conflict


async def test_loading_by_hand_returns_at_once_or_when_it_is_loaded() -> None:
    rig = Rig(a_model("a"), a_model("b"))
    rig.starter.loads_at_once = False
    assert (await rig.owner.load("a")).state == "loading"
    waiting = asyncio.ensure_future(rig.owner.load("b", wait=True))
    await rig.turn()
    assert not waiting.done()
    rig.starter.engine("b").load()
    await rig.turn()
    assert (await waiting).state == "ready"
    assert (await rig.owner.load("b")).state == "ready"
    assert len(rig.starter.engines) == 2
    await rig.owner.close()


async def test_two_loads_of_one_model_are_one() -> None:
    rig = Rig(a_model("a"))
    loads = [asyncio.ensure_future(rig.owner.load("a", wait=True)) for _ in range(2)]
    request = rig.ask("a")
    await rig.turn()
    assert {(await load).state for load in loads} == {"ready"}
    await request
    assert len(rig.starter.engines) == 1


async def test_two_loads_that_exclude_each_other_are_done_one_after_the_other() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    loads = [asyncio.ensure_future(rig.owner.load(name, wait=True)) for name in "ab"]
    await rig.turn(2)
    assert [(await load).id for load in loads] == ["a", "b"]
    assert rig.starter.alive() == ["b"]


async def test_a_load_that_fails_is_told_to_who_waits() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    waiting = asyncio.ensure_future(rig.owner.load("a", wait=True))
    await rig.turn()
    rig.starter.engine("a").fail()
    with pytest.raises(Conflict, match="It is broken") as error:
        await waiting
    assert error.value.hint == "Get it again."


async def test_unloading_returns_when_the_process_is_gone() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.starter.holds_stops = True
    unloads = [asyncio.ensure_future(rig.owner.unload("a")) for _ in range(2)]
    await rig.turn(20)
    assert not any(unload.done() for unload in unloads)
    assert rig.states() == {"a": "draining"}
    rig.starter.engine("a").end()
    await rig.turn()
    assert [(await unload).state for unload in unloads] == ["on-disk", "on-disk"]
    assert (await rig.owner.unload("a")).state == "on-disk"


async def test_running_answers_may_end_before() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.in_flight["a"] += 1
    unload = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn(5)
    assert rig.starter.engine("a").stops == []
    rig.answered("a")
    await rig.turn()
    assert (await unload).state == "on-disk"


async def test_one_that_answers_on_stays_and_goes_on_with_what_came_meanwhile() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.in_flight["a"] += 1
    unload = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn(1)
    request = rig.ask("a")
    await rig.turn(8)
    assert not request.done()
    await rig.turn(1)
    with pytest.raises(Conflict, match="still answers 1 request after 10 s"):
        await unload
    await rig.turn()
    assert (await request).model == "model"
    assert rig.states() == {"a": "ready"}
    assert len(rig.starter.engines) == 1


async def test_force_cuts_at_once() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.in_flight["a"] += 1
    patient = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn(1)
    assert (await rig.owner.unload("a", force=True)).state == "on-disk"
    assert rig.starter.engine("a").stops == [True]
    assert (await patient).state == "on-disk"


async def test_force_hurries_an_end_that_takes_long() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.starter.holds_stops = True
    patient = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn(1)
    forced = asyncio.ensure_future(rig.owner.unload("a", force=True))
    await rig.turn()
    assert rig.starter.engine("a").stops == [False, True]
    rig.starter.engine("a").end(-9)
    await asyncio.gather(patient, forced)
    await rig.turn()


async def test_what_is_asked_for_while_it_is_unloaded_is_loaded_again() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.starter.holds_stops = True
    unload = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn()
    request = rig.ask("a")
    await rig.turn()
    rig.starter.engine("a").end()
    await rig.turn()
    await unload
    await request
    assert len(rig.starter.engines) == 2
    assert rig.starter.alive() == ["a"]


async def test_unloading_ends_a_load() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    load = asyncio.ensure_future(rig.owner.load("a", wait=True))
    await rig.turn()
    assert (await rig.owner.unload("a")).state == "on-disk"
    assert (await refused(request)).code == "unloaded"
    with pytest.raises(Conflict, match="It was unloaded"):
        await load
    assert rig.starter.alive() == []
    assert rig.view("a").reason is None
    rig.starter.loads_at_once = True
    await rig.use("a")


async def test_unloading_before_the_process_is_there_ends_it_too() -> None:
    rig = Rig(a_model("a"))
    await rig.owner.load("a")
    assert rig.starter.engines == []
    unload = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn()
    assert (await unload).state == "on-disk"
    assert rig.starter.alive() == []


async def test_what_waits_for_memory_can_be_called_off() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.in_flight["a"] += 1
    await rig.use("a")
    request = rig.ask("b")
    await rig.turn()
    await rig.owner.unload("b")
    assert (await refused(request)).code == "unloaded"
    rig.answered("a")
    await rig.turn(5)
    assert rig.starter.alive() == ["a"]


async def test_a_crash_while_it_drains_is_an_end_too() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.in_flight["a"] += 1
    unload = asyncio.ensure_future(rig.owner.unload("a"))
    await rig.turn(1)
    rig.starter.engine("a").end()
    await rig.turn()
    assert (await unload).state == "on-disk"
