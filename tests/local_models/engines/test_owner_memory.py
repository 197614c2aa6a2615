"""Who is loaded, who leaves and who waits when memory is short."""

import asyncio

import pytest

from local_models.engines.test_owner import refused
from local_models.fake_engines import GB, GUEST, Rig, a_model
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalModelSettings
from meshlight.domain.errors import Conflict
from meshlight.domain.local_views import DeviceView
from meshlight.local_models.interfaces import EngineFailed


async def test_an_idle_model_leaves_for_another_and_the_other_starts_when_it_is_gone() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    await rig.use("a")
    rig.starter.holds_stops = True
    request = rig.ask("b")
    await rig.turn(3)
    assert rig.states() == {"a": "draining", "b": "waiting"}
    reason = rig.view("b").reason
    assert reason is not None
    assert reason.text == "Waits until a has left the memory."
    rig.starter.engine("a").end()
    await rig.turn()
    assert (await request).model == "model"
    assert rig.starter.alive() == ["b"]


async def test_what_fits_beside_the_others_evicts_nobody() -> None:
    rig = Rig(a_model("a", 5), a_model("b", 5))
    await rig.use("a")
    await rig.use("b")
    assert rig.starter.alive() == ["a", "b"]


async def test_what_can_never_fit_is_refused_at_once_with_the_numbers_and_nobody_leaves() -> None:
    rig = Rig(a_model("a", 4), a_model("big", 20))
    await rig.use("a")
    why = await refused(rig.ask("big"))
    assert why.code == "no-memory"
    assert why.text == "Needs 20.0 GB, 10.0 GB can be had: models may take 10.0 GB in all."
    assert why.fix == "Use a smaller quantisation or context or close other programs."
    with pytest.raises(Conflict, match=r"Needs 20\.0 GB, 10\.0 GB can be had") as error:
        await rig.owner.load("big")
    assert error.value.hint == why.fix
    assert rig.starter.alive() == ["a"]
    assert rig.states()["big"] == "on-disk"


async def test_a_kept_model_stays_and_is_named() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.follow(LocalModelSettings(id="a", keep=True), memory="10 GB")
    await rig.turn(100)
    why = await refused(rig.ask("b"))
    assert why.text == "Needs 6.0 GB, 4.0 GB can be had: models may take 10.0 GB in all, and a is kept."
    assert why.fix == "Unload a, use a smaller quantisation or context or raise `memory` below `[local]`."
    assert rig.view("b").fits == "never"
    assert rig.starter.alive() == ["a"]


async def test_a_busy_model_is_waited_for() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    first = rig.ask("a")
    await rig.turn()
    await first
    second = rig.ask("b")
    await rig.turn(60)
    reason = rig.view("b").reason
    assert reason is not None
    assert reason.text == "Needs 6.0 GB, and waits until a has answered."
    assert rig.starter.alive() == ["a"]
    again = rig.ask("a")  # requests for a ready model pass at once
    await rig.turn()
    await again
    rig.answered("a")
    await rig.turn(5)
    assert rig.starter.alive() == ["a"]
    rig.answered("a")
    await rig.turn()
    assert rig.starter.alive() == ["b"]
    assert (await second).model == "model"


async def test_models_wait_in_the_order_in_which_they_were_asked_for() -> None:
    rig = Rig(*(a_model(name, 6) for name in "abcd"))
    await rig.use("a")
    rig.in_flight["a"] = 1
    requests = {name: rig.ask(name) for name in "bcd"}
    extra = rig.ask("b")
    await rig.turn(2)
    reason = rig.view("d").reason
    assert reason is not None
    assert reason.text == "Waits for memory, after c."
    rig.answered("a")
    for name in "bcd":
        await rig.turn(2)
        assert rig.starter.alive() == [name]
        await requests[name]
        if name == "b":
            await extra
            rig.answered("b")
        rig.answered(name)


async def test_a_model_that_can_never_fit_does_not_wait_in_line() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6), a_model("big", 20))
    rig.in_flight["a"] += 1
    await rig.use("a")
    waiting = rig.ask("b")
    await rig.turn()
    assert (await refused(rig.ask("big"))).code == "no-memory"
    assert not waiting.done()
    rig.answered("a")
    await rig.turn()
    await waiting


async def test_a_model_that_is_loading_is_never_evicted() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.starter.loads_at_once = False
    load = asyncio.ensure_future(rig.owner.load("a", wait=True))
    request = rig.ask("b")
    await rig.turn(30)
    assert rig.states() == {"a": "loading", "b": "waiting"}
    rig.starter.engine("a").load()
    await rig.turn()
    assert (await load).state == "ready"
    await rig.turn(1)
    assert rig.starter.alive() == ["b"]  # nobody used it
    rig.starter.engine("b").load()
    await rig.turn()
    await request


async def test_a_request_that_was_only_selected_protects_its_model() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    await rig.use("a")
    rig.in_flight["a"] += 1  # selected, and on its way to `route`
    rig.ask("b")
    await rig.turn(5)
    assert rig.starter.alive() == ["a"]
    await rig.owner.close()


async def test_memory_that_other_programs_free_is_noticed() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.in_flight["a"] += 1
    await rig.use("a")
    request = rig.ask("b")
    await rig.turn(2)
    rig.memory.budget = 12 * GB
    await rig.turn(2)
    await request
    assert rig.starter.alive() == ["a", "b"]


async def test_memory_that_others_take_while_it_waits_is_noticed() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.in_flight["a"] += 1
    await rig.use("a")
    request = rig.ask("b")
    await rig.turn(2)
    rig.memory.budget = 5 * GB
    await rig.turn(2)
    assert (await refused(request)).code == "no-memory"
    assert rig.states()["b"] == "on-disk"


async def test_guests_evict_nobody() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6), a_model("c", 4))
    await rig.use("a")
    why = await refused(rig.ask("b", GUEST))
    assert why.text == "Needs 6.0 GB, 4.0 GB can be had: a peer's request unloads nothing here."
    await rig.use("c", GUEST)
    assert rig.starter.alive() == ["a", "c"]


async def test_a_guest_does_not_inherit_the_right_to_evict() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.in_flight["a"] += 1
    await rig.use("a")
    owners = rig.ask("b")
    await rig.turn()
    guests = rig.ask("b", GUEST)
    await rig.turn()
    assert not guests.done()
    owners.cancel()
    await rig.turn(2)
    assert (await refused(guests)).code == "no-memory"
    rig.answered("a")
    await rig.turn(60)
    assert rig.starter.alive() == ["a"]


async def test_a_guest_takes_no_memory_that_the_owner_waits_for() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6), a_model("c", 2))
    rig.in_flight["a"] += 1
    await rig.use("a")
    owners = rig.ask("b")
    await rig.turn()
    assert "is wanted by a request of this machine" in (await refused(rig.ask("c", GUEST))).text
    rig.answered("a")
    await rig.turn()
    await owners


async def test_nobody_is_evicted_for_a_request_that_was_given_up() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.in_flight["a"] += 1
    await rig.use("a")
    request = rig.ask("b")
    await rig.turn()
    request.cancel()
    await rig.turn(2)
    rig.answered("a")
    await rig.turn(40)
    assert rig.states() == {"a": "ready", "b": "on-disk"}


async def test_a_broken_model_evicts_somebody_once_at_most() -> None:
    rig = Rig(a_model("a", 6), a_model("broken", 6))
    await rig.use("a")
    rig.starter.error = EngineFailed(Reason("broken", "It is broken.", "Get it again."))
    await refused(rig.ask("broken"))
    rig.starter.error = None
    await rig.use("a")
    await rig.turn(31)
    why = await refused(rig.ask("broken"))
    assert "nothing is unloaded for it, because its last load failed. It is broken." in why.text
    assert why.fix.startswith("Get it again. Load it by hand")
    assert rig.starter.alive() == ["a"]
    await rig.owner.load("broken", wait=False)
    await rig.turn()
    assert rig.starter.alive() == ["broken"]


async def test_no_more_than_so_many_are_loaded() -> None:
    rig = Rig(*(a_model(name) for name in "abcd"), max_loaded=2)
    for name in "abcd":
        await rig.use(name)
        await rig.turn(10)
    assert rig.starter.alive() == ["c", "d"]


async def test_all_places_are_kept() -> None:
    rig = Rig(a_model("a"), a_model("b"))
    rig.follow(LocalModelSettings(id="a", keep=True), max_loaded=1)
    await rig.turn()
    why = await refused(rig.ask("b"))
    assert why.text.startswith("1 model may be loaded at a time, and no place can be had")
    assert "raise `max_loaded`" in why.fix


async def test_the_context_is_the_largest_that_fits_beside_the_others() -> None:
    model = a_model("a", 2, context_max=131_072, kv_bytes_per_token=GB // 8_192)
    rig = Rig(model, a_model("b", 3), budget=8)
    view = rig.view("a")
    assert (view.context, view.fits) == (32_768, "now")
    await rig.use("b")
    view = rig.view("a")
    assert (view.context, view.need_bytes // GB) == (16_384, 3)
    await rig.use("a")
    assert rig.starter.engine("a").context == 16_384
    assert rig.view("a").context == 16_384
    assert rig.starter.alive() == ["b", "a"]


async def test_what_is_measured_counts() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    await rig.turn()
    rig.starter.engine("a").resident = 7 * GB
    rig.starter.engine("a").load()
    await rig.turn()
    await request
    memory = rig.owner.memory()
    assert memory.models_bytes == 7 * GB
    assert memory.budget_bytes > 10 * GB  # what it holds beyond its mapped weights is not available to others
    assert rig.owner.fit(2 * GB) == ("now", 0)
    assert rig.owner.fit(9 * GB)[0] == "after-unloading"
    assert rig.owner.fit(14 * GB)[0] == "never"
    assert rig.owner.fit(14 * GB)[1] == 14 * GB - memory.budget_bytes


async def test_devices_with_memory_are_counted_and_asked_before_each_load() -> None:
    rig = Rig(a_model("a", 14), a_model("b", 6))
    rig.starter.found = (DeviceView(name="gpu", total_bytes=9 * GB, free_bytes=8 * GB + (1 << 30)),)
    await rig.use("a")
    assert rig.owner.devices == rig.starter.found
    assert rig.starter.asked == 1
    assert rig.owner.memory().budget_bytes == 18 * GB
    rig.starter.found = (DeviceView(name="gpu", total_bytes=9 * GB, free_bytes=1 << 30),)
    await rig.use("b")
    assert rig.starter.asked == 2
    assert rig.starter.alive() == ["b"]


async def test_the_graphics_of_apple_have_no_memory_of_their_own() -> None:
    rig = Rig(a_model("a"))
    rig.memory.is_apple = True
    apple = Rig(a_model("a"))
    apple.memory = rig.memory
    apple.owner = type(apple.owner)(apple.deps(), apple.owner._policy.settings)
    await apple.use("a")
    assert apple.starter.asked == 0
