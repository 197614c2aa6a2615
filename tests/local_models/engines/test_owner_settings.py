"""What happens to engines when the settings or the files change under them; kept models."""

from msgspec.structs import replace

from local_models.engines.test_owner import refused
from local_models.fake_engines import Rig, a_model
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalModelSettings
from meshlight.domain.local_views import DeviceView
from meshlight.local_models.interfaces import EngineFailed

KEPT = LocalModelSettings(id="a", keep=True)


async def test_a_kept_model_is_loaded_at_the_start_and_stays() -> None:
    rig = Rig(a_model("a"))
    rig.follow(KEPT)
    await rig.turn(5_000)
    view = rig.view("a")
    assert (view.state, view.keep, view.expires_in_s) == ("ready", True, None)


async def test_a_kept_model_may_be_named_by_another_name_and_come_later() -> None:
    rig = Rig()
    rig.follow(LocalModelSettings(id="short", keep=True))
    await rig.turn()
    rig.catalog.models["a"] = a_model("a", names=("short",))
    rig.owner.catalog_changed()
    await rig.turn()
    assert rig.starter.alive() == ["a"]


async def test_a_kept_model_that_crashes_comes_back_after_growing_pauses() -> None:
    rig = Rig(a_model("a"))
    rig.starter.found = (DeviceView(name="gpu", total_bytes=4 << 30, free_bytes=4 << 30),)
    rig.follow(KEPT)
    await rig.turn()
    for pause_s in (5, 10, 30, 60):
        rig.starter.engine("a").end()
        await rig.turn(pause_s - 1)
        assert rig.starter.alive() == []
        await rig.turn(1)
        assert rig.starter.alive() == ["a"]


async def test_a_kept_model_that_fails_evicts_nobody_again() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    await rig.use("b")
    rig.starter.error = EngineFailed(Reason("broken", "It is broken."))
    rig.follow(KEPT)
    await rig.turn(1)
    rig.starter.error = None
    await rig.use("b")
    await rig.turn(100)
    assert rig.starter.alive() == ["b"]
    await rig.owner.unload("b")
    await rig.turn(31)
    assert rig.starter.alive() == ["a"]


async def test_a_kept_model_without_room_says_so_and_comes_when_there_is_some() -> None:
    rig = Rig(a_model("a", 6), budget=5)
    rig.follow(KEPT)
    await rig.turn(1)
    reason = rig.view("a").reason
    assert reason is not None
    assert reason.text.startswith("Needs 6.0 GB, 5.0 GB can be had")
    rig.memory.budget *= 2
    await rig.turn(30)
    assert rig.starter.alive() == ["a"]


async def test_a_kept_model_that_was_unloaded_by_hand_stays_away_until_it_is_asked_for() -> None:
    rig = Rig(a_model("a"))
    rig.follow(KEPT)
    await rig.turn()
    await rig.owner.unload("a")
    await rig.turn(100)
    assert rig.starter.alive() == []
    await rig.use("a")
    await rig.turn(5_000)
    assert rig.starter.alive() == ["a"]


async def test_a_context_leaves_room_for_kept_models_that_are_still_to_come() -> None:
    big = a_model("big", 2, context_max=32_768, kv_bytes_per_token=10**9 // 8_192)
    rig = Rig(a_model("a", 4), big, budget=8)
    rig.follow(KEPT)
    rig.starter.error = EngineFailed(Reason("broken", "It is broken."))
    await rig.turn(1)
    rig.starter.error = None
    await rig.use("big")
    assert rig.starter.engine("big").context == 16_384
    await rig.turn(30)
    assert rig.starter.alive() == ["big", "a"]


async def test_another_context_is_followed_when_the_model_is_idle() -> None:
    rig = Rig(a_model("a"))
    rig.in_flight["a"] += 1
    await rig.use("a")
    rig.follow(LocalModelSettings(id="a", context=2_048, args=("--temp", "0.6")))
    await rig.turn(10)
    assert rig.states() == {"a": "ready"}
    rig.answered("a")
    await rig.turn()
    assert rig.states() == {"a": "on-disk"}
    await rig.use("a")
    engine = rig.starter.engine("a")
    assert (engine.context, engine.args) == (2_048, ("--temp", "0.6"))


async def test_settings_that_do_not_matter_to_the_engine_leave_it_alone() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.follow(LocalModelSettings(id="a", idle_s=5.0))
    await rig.turn(3)
    assert rig.states() == {"a": "ready"}
    await rig.turn(2)
    assert rig.states() == {"a": "on-disk"}


async def test_settings_that_change_during_a_load_are_followed_after_it() -> None:
    rig = Rig(a_model("a"))
    rig.follow(KEPT)
    rig.starter.loads_at_once = False
    await rig.turn()
    rig.follow(replace(KEPT, context=2_048))
    await rig.turn()
    rig.starter.engine("a").load()
    rig.starter.loads_at_once = True
    await rig.turn()
    assert [engine.context for engine in rig.starter.engines] == [4_096, 2_048]
    assert rig.starter.alive() == ["a"]


async def test_a_hidden_model_ends_its_answers_and_gets_no_more() -> None:
    rig = Rig(a_model("a"))
    rig.in_flight["a"] += 1
    await rig.use("a")
    rig.follow(LocalModelSettings(id="a", hidden=True))
    assert (await refused(rig.ask("a"))).code == "hidden"
    assert rig.states() == {"a": "draining"}
    assert rig.starter.alive() == ["a"]
    rig.answered("a")
    await rig.turn()
    assert rig.states() == {"a": "on-disk"}
    assert rig.view("a").hidden


async def test_a_file_that_vanishes_and_returns_while_it_is_loaded() -> None:
    rig = Rig(a_model("a"))
    rig.in_flight["a"] += 1
    await rig.use("a")
    rig.catalog.models["a"] = a_model("a", is_missing=True)
    rig.owner.catalog_changed()
    assert (await refused(rig.ask("a"))).code == "missing"
    rig.catalog.models["a"] = a_model("a")
    rig.owner.catalog_changed()
    assert rig.states() == {"a": "ready"}
    rig.catalog.models["a"] = a_model("a", is_missing=True)
    rig.owner.catalog_changed()
    rig.answered("a")
    await rig.turn()
    assert rig.states() == {"a": "missing"}
    assert rig.starter.alive() == []


async def test_a_renamed_model_is_another_one() -> None:
    rig = Rig(a_model("a"))
    rig.in_flight["a"] += 1
    await rig.use("a")
    rig.catalog.models = {"b": replace(a_model("a"), id="b")}
    rig.owner.catalog_changed()
    assert rig.states() == {"b": "on-disk", "a": "draining"}
    await rig.use("b")
    rig.answered("a")
    await rig.turn()
    assert rig.states() == {"b": "ready"}
    assert "a" not in rig.owner._slots


async def test_what_waits_for_memory_and_vanishes_is_refused() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    rig.in_flight["a"] += 1
    await rig.use("a")
    request = rig.ask("b")
    await rig.turn()
    del rig.catalog.models["b"]
    rig.owner.catalog_changed()
    assert (await refused(request)).code == "missing"


async def test_switching_local_models_off_ends_all() -> None:
    rig = Rig(a_model("a"), a_model("b"))
    rig.follow(KEPT)
    await rig.use("b")
    rig.follow(KEPT, enabled=False)
    await rig.turn()
    assert rig.starter.alive() == []
    assert (await refused(rig.ask("b"))).code == "local-disabled"
    rig.follow(KEPT)
    await rig.turn()
    assert rig.starter.alive() == ["a"]


async def test_a_setting_that_can_not_be_read_changes_nothing() -> None:
    rig = Rig(a_model("a"))
    rig.follow(memory="plenty")
    assert rig.owner.memory().budget_bytes == rig.memory.budget


async def test_who_waited_for_a_model_that_vanishes_during_its_load_is_answered_still() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    await rig.turn()
    rig.catalog.models["a"] = a_model("a", is_missing=True)
    rig.owner.catalog_changed()
    rig.starter.engine("a").load()
    await rig.turn(5)
    await request
    assert rig.starter.alive() == ["a"]
    rig.answered("a")
    await rig.turn()
    assert rig.starter.alive() == []
