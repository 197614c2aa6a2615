import asyncio

import pytest

from local_models.fake_engines import GB, GUEST, OWNER, Rig, a_model
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalModelSettings
from meshlight.domain.errors import BadRequest, Conflict, NotFound, RouteUnavailable
from meshlight.domain.local_models import Demand
from meshlight.local_models.interfaces import EngineFailed, Engines


async def refused(request: "asyncio.Task[object]") -> Reason:
    """Return why a request was refused."""
    with pytest.raises(RouteUnavailable) as error:
        await request
    return error.value.why


def test_it_is_what_the_others_expect() -> None:
    owner: Engines = Rig().owner
    assert owner.views() == []


async def test_a_request_starts_the_engine_and_gets_its_route() -> None:
    rig = Rig(a_model("a"))
    assert rig.states() == {"a": "on-disk"}
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    await rig.turn(2)
    assert rig.states() == {"a": "loading"}
    assert rig.owner.route_now("a", OWNER) is None
    rig.starter.engine("a").load()
    await rig.turn()
    route = await request
    assert rig.states() == {"a": "ready"}
    assert route.model == "model"
    assert route.auth == ((b"authorization", b"Bearer key of a"),)
    assert route.upstream.address == rig.starter.engine("a").address
    assert "key of a" not in repr(route)
    assert await rig.owner.route("a", OWNER) is route
    assert rig.owner.route_now("a", OWNER) is route
    view = rig.view("a")
    assert (view.in_flight, view.waiting, view.load_s, view.runner) == (1, 0, 2.0, "llama.cpp")
    assert view.idle_s is None


async def test_twenty_requests_during_one_load_start_one_engine() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    requests = [rig.ask("a") for _ in range(20)]
    await rig.turn()
    assert rig.view("a").waiting == 20
    rig.starter.engine("a").load()
    await rig.turn()
    assert len({id(await request) for request in requests}) == 1
    assert len(rig.starter.engines) == 1
    assert rig.starter.asked == 1


async def test_the_load_goes_on_when_the_client_has_left() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    await rig.turn()
    request.cancel()
    await rig.turn()
    rig.starter.engine("a").load()
    await rig.turn()
    assert rig.states() == {"a": "ready"}
    assert rig.view("a").waiting == 0


async def test_no_more_than_a_hundred_wait_for_one_load() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    requests = [rig.ask("a") for _ in range(101)]
    await rig.turn()
    with pytest.raises(RouteUnavailable) as error:
        await requests.pop()
    assert error.value.why.code == "loading-queue-full"
    assert error.value.retry_after_s == 10.0
    assert "10 s" in error.value.why.fix
    rig.starter.engine("a").load()
    await rig.turn()
    assert all(request.done() for request in requests)


async def test_an_idle_model_is_unloaded_after_its_time() -> None:
    rig = Rig(a_model("a"), a_model("b"), idle_s=900.0)
    rig.follow(LocalModelSettings(id="b", idle_s=60.0))
    await rig.use("a")
    await rig.use("b")
    assert rig.view("b").expires_in_s == 60.0
    await rig.turn(60)
    assert rig.starter.alive() == ["a"]
    await rig.turn(839)
    assert rig.starter.alive() == ["a"]
    await rig.turn(2)
    assert rig.starter.alive() == []
    assert rig.starter.engine("a").stops == [False]
    assert rig.states() == {"a": "on-disk", "b": "on-disk"}


async def test_a_request_counts_until_its_end_and_not_from_its_beginning() -> None:
    rig = Rig(a_model("a"), idle_s=900.0)
    request = rig.ask("a")
    await rig.turn(2_000)
    assert (await request).model == "model"
    rig.answered("a")
    await rig.turn(890)
    assert rig.starter.alive() == ["a"]
    await rig.turn(20)
    assert rig.starter.alive() == []


async def test_zero_means_never() -> None:
    rig = Rig(a_model("a"), idle_s=0.0)
    await rig.use("a")
    await rig.turn(4_000)
    assert rig.view("a").expires_in_s is None
    assert rig.starter.alive() == ["a"]


@pytest.mark.parametrize(("keep_alive_s", "until"), [(5.0, 5), (0.0, 0)])
async def test_a_request_may_say_how_long_its_model_stays(keep_alive_s: float, until: int) -> None:
    rig = Rig(a_model("a"), idle_s=900.0)
    await rig.use("a", Demand(keep_alive_s=keep_alive_s))
    if until:
        await rig.turn(until - 1)
        assert rig.starter.alive() == ["a"]
        await rig.turn(1)
    assert rig.starter.alive() == []


async def test_a_shorter_stay_of_a_loaded_model_is_heeded() -> None:
    rig = Rig(a_model("a"), idle_s=900.0)
    await rig.use("a")
    await rig.use("a", Demand(keep_alive_s=5.0))
    await rig.use("a")
    await rig.turn(6)
    assert rig.starter.alive() == []


async def test_a_request_after_one_that_unloads_at_its_end_is_answered_first() -> None:
    rig = Rig(a_model("a"))
    first, second = rig.ask("a", Demand(keep_alive_s=0.0)), rig.ask("a", Demand(keep_alive_s=0.0))
    await rig.turn()
    assert await first is await second
    rig.answered("a")
    await rig.turn(5)
    assert rig.starter.alive() == ["a"]
    rig.answered("a")
    await rig.turn()
    assert rig.starter.alive() == []


async def test_a_negative_stay_keeps_it_until_it_is_unloaded() -> None:
    rig = Rig(a_model("a", 6), a_model("b", 6))
    await rig.use("a", Demand(keep_alive_s=-1.0))
    await rig.turn(4_000)
    why = await refused(rig.ask("b"))
    assert "a is kept" in why.text
    await rig.owner.unload("a")
    await rig.use("b")
    assert rig.starter.alive() == ["b"]


async def test_a_guest_does_not_say_how_long_a_model_stays() -> None:
    rig = Rig(a_model("a"), idle_s=60.0)
    await rig.use("a", Demand(is_guest=True, keep_alive_s=-1.0))
    await rig.use("a", Demand(is_guest=True, keep_alive_s=-1.0))
    await rig.turn(61)
    assert rig.starter.alive() == []


async def test_failed_starts_tell_why_and_are_paused_for_longer_each_time() -> None:
    rig = Rig(a_model("a"))
    rig.starter.error = EngineFailed(Reason("broken", "It is broken.", "Get it again."))
    for pause_s in (30, 60, 90):
        assert (await refused(rig.ask("a"))).code == "broken"
        await rig.turn(pause_s - 1)
        why = await refused(rig.ask("a"))
        assert (why.code, why.text) == ("broken", "It is broken.")
        assert why.fix == "Get it again. It is tried again by a request in 1 s, or at once by Load."
        await rig.turn(1)
    assert rig.states() == {"a": "failed"}
    rig.starter.error = None
    await rig.use("a")
    assert rig.states() == {"a": "ready"}
    assert rig.view("a").reason is None


async def test_pauses_end_at_five_minutes() -> None:
    rig = Rig(a_model("a"))
    rig.starter.error = EngineFailed(Reason("broken", "It is broken."))
    for _ in range(12):
        with pytest.raises(Conflict, match="It is broken"):
            await rig.owner.load("a", wait=True)
    await rig.turn(299)
    assert "in 1 s" in (await refused(rig.ask("a"))).fix


async def test_a_load_that_fails_later_ends_the_process_and_tells_all() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    requests = [rig.ask("a") for _ in range(3)]
    await rig.turn()
    rig.starter.engine("a").fail()
    for request in requests:
        assert (await refused(request)).code == "broken"
    assert rig.starter.alive() == []
    assert rig.starter.engine("a").stops == [True]
    assert rig.owner.log("a").lines == ("log of a",)
    view = rig.view("a")
    assert view.reason is not None
    assert (view.state, view.reason.code) == ("failed", "broken")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadRequest("--host is not allowed.", "Remove it."), "bad-arguments"),
        (FileNotFoundError(2, "No such file"), "not-started"),
    ],
)
async def test_whatever_goes_wrong_at_the_start_is_told(error: Exception, code: str) -> None:
    rig = Rig(a_model("a"))
    rig.starter.error = error
    assert (await refused(rig.ask("a"))).code == code


async def test_even_an_unexpected_error_ends_the_load(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(a_model("a"))
    rig.starter.error = ZeroDivisionError()
    assert (await refused(rig.ask("a"))).code == "engine-ended"
    await rig.turn()
    assert "ZeroDivisionError" in caplog.text


async def test_a_load_that_hangs_is_ended() -> None:
    rig = Rig(a_model("a"), load_s=100.0)
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    await rig.turn(155)
    assert rig.states() == {"a": "loading"}
    await rig.turn(10)
    assert (await refused(request)).code == "load-too-slow"
    assert rig.starter.alive() == []


async def test_a_crash_is_told_and_the_next_request_starts_it_again() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a")
    rig.starter.engine("a").end(-11)
    await rig.turn()
    view = rig.view("a")
    assert view.reason is not None
    assert (view.state, view.reason.text) == ("on-disk", "It ended with -11.")
    assert rig.owner.log("a").lines == ("log of a",)
    await rig.use("a")
    assert rig.view("a").reason is None
    assert len(rig.starter.engines) == 2


async def test_three_crashes_in_ten_minutes_are_a_failure() -> None:
    rig = Rig(a_model("a"))
    for _ in range(3):
        await rig.use("a")
        rig.starter.engine("a").end()
        await rig.turn(10)
    assert rig.states() == {"a": "failed"}
    assert (await refused(rig.ask("a"))).code == "crashed"
    await rig.turn(30)
    await rig.use("a")
    rig.starter.engine("a").end()
    await rig.turn(31)
    assert (await refused(rig.ask("a"))).code == "crashed"  # the second failure pauses for 60 s


async def test_crashes_that_are_rare_are_no_failure() -> None:
    rig = Rig(a_model("a"), idle_s=0.0)
    for _ in range(4):
        await rig.use("a")
        rig.starter.engine("a").end()
        await rig.turn(301)
    assert rig.states() == {"a": "on-disk"}


async def test_a_file_that_was_replaced_is_tried_at_once() -> None:
    rig = Rig(a_model("a"))
    rig.starter.error = EngineFailed(Reason("broken", "It is broken."))
    await refused(rig.ask("a"))
    rig.starter.error = None
    rig.catalog.models["a"] = a_model("a", 2)
    rig.owner.catalog_changed()
    await rig.use("a")
    assert rig.starter.alive() == ["a"]


async def test_nothing_runs_it() -> None:
    rig = Rig(a_model("a"))
    rig.starter.label = ""
    why = await refused(rig.ask("a"))
    assert why.code == "no-runner"
    assert "models pull engine" in why.fix
    with pytest.raises(Conflict, match="Nothing on this machine can run"):
        await rig.owner.load("a")


async def test_unknown_models_are_not_found() -> None:
    rig = Rig(a_model("smollm"))
    with pytest.raises(NotFound) as error:
        await rig.owner.load("smolm\x1b[2J")
    assert "Did you mean smollm?" in error.value.hint
    assert "\x1b" not in error.value.title
    for call in (rig.owner.view, rig.owner.log):
        with pytest.raises(NotFound):
            call("other")
    with pytest.raises(NotFound):
        await rig.owner.unload("other")
    assert (await refused(rig.ask("other"))).code == "missing"


async def test_further_names_lead_to_the_same_engine() -> None:
    rig = Rig(a_model("owner/a:Q4", names=("a",)))
    route = await rig.use("owner/a:Q4")
    assert await rig.owner.route("a", OWNER) is route
    assert rig.view("a").id == "owner/a:Q4"


async def test_views_and_what_changed() -> None:
    rig = Rig(a_model("a"), a_model("b", 20, is_missing=True, store="hub", projector="p.gguf"))
    assert sorted(rig.owner.details_changed()) == ["a", "b"]
    assert rig.owner.details_changed() == []
    view = rig.view("b")
    assert view.reason is not None
    assert (view.state, view.fits, view.can_delete, view.sees_images) == ("missing", "never", False, True)
    assert view.reason.code == "missing"
    await rig.use("a")
    assert rig.owner.details_changed() == ["a"]
    assert rig.changes > 0
    await rig.turn(5)
    assert rig.owner.details_changed() == []
    assert rig.view("a").idle_s == 5.0
    del rig.catalog.models["b"]
    assert rig.owner.details_changed() == ["b"]


async def test_progress_is_told_or_guessed_by_the_last_load() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    for expected in (None, 0.25):
        rig.ask("a")
        await rig.turn(1)
        assert rig.view("a").progress == expected
        before = rig.changes
        await rig.turn(3)
        assert rig.changes > before
        rig.starter.engine("a").progress = 0.5
        assert rig.view("a").progress == 0.5
        rig.starter.engine("a").load()
        await rig.turn()
        await rig.owner.unload("a", force=True)
        rig.in_flight.clear()


async def test_all_engines_are_ended_at_the_close_and_nobody_waits_on() -> None:
    rig = Rig(a_model("ready"), a_model("loading"), a_model("waiting", 20), a_model("late"))
    await rig.use("ready")
    rig.starter.loads_at_once = False
    loading = rig.ask("loading")
    await rig.turn()
    await rig.owner.close()
    assert (await refused(loading)).code == "stopping"
    assert rig.starter.alive() == []
    assert (await refused(rig.ask("late"))).code == "stopping"
    await rig.turn(100)
    assert len(rig.starter.engines) == 2


async def test_what_was_learnt_outlives_a_restart() -> None:
    rig = Rig(a_model("a"))
    rig.starter.loads_at_once = False
    request = rig.ask("a")
    await rig.turn(3)
    rig.starter.engine("a").resident = 3 * GB
    rig.starter.engine("a").load()
    await rig.turn()
    await request
    assert rig.view("a").need_bytes == 3 * GB
    again = Rig(a_model("a"))
    again.records.data = rig.records.data
    assert (again.view("a").need_bytes, again.view("a").load_s) == (3 * GB, 3.0)
    assert again.owner.fit(8 * GB) == ("now", 0)


async def test_a_guest_wakes_a_model_if_there_is_room() -> None:
    rig = Rig(a_model("a"))
    await rig.use("a", GUEST)
    assert rig.starter.alive() == ["a"]
