"""Each backend is probed on its own schedule, whatever the others do."""

import asyncio
from collections import Counter
from itertools import count, pairwise

import pytest

from fake_clock import backend
from mesh.fake_backends import LOADING, REFUSED, Room, models, reply, settle
from meshlight.domain.backend import Reason
from meshlight.domain.errors import NotFound, ReadTimeout, SecretError
from meshlight.domain.health import Answered, Unreached

LATE = ReadTimeout("It did not answer in time.")


def gaps(instants: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(instants)]


async def test_a_new_backend_is_probed_at_once_and_then_every_five_seconds() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    await room.live(30)
    assert wire.asked[0] == 1000.0
    assert set(gaps(wire.asked)) == {5.0}
    assert room.state("a") == ("healthy", "ok")
    assert room.registry.snapshot.routes == {"m": ("a",)}


async def test_the_probes_of_many_are_spread_over_the_period() -> None:
    places = count()
    room = Room(spread=lambda: next(places) % 50 / 50)
    wires = [room.put(backend(f"b{n}", url=f"http://127.0.0.1:{9000 + n}"), models("m")) for n in range(50)]
    await room.live(20)
    per_instant = Counter(instant for wire in wires for instant in wire.asked if instant > 1006)
    assert max(per_instant.values()) == 5
    assert all(set(gaps(wire.asked)[1:]) == {5.0} for wire in wires)
    assert all(0.5 <= gaps(wire.asked)[0] <= 5.5 for wire in wires)


async def test_a_backend_that_hangs_delays_no_other() -> None:
    room = Room()
    slow = room.put(backend("slow"), None)
    fast = room.put(backend("fast"), models("m"))
    await room.live(30)
    assert len(slow.asked) == 1
    assert len(fast.asked) == 7
    slow.release(LATE)
    await settle()
    assert room.state("slow") == ("unhealthy", "timed-out")


async def test_a_healthy_backend_that_fails_is_asked_again_after_a_second_and_then_believed() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    await room.live(6)
    wire.says = REFUSED
    await room.live(4)
    assert room.state("a") == ("healthy", "ok")
    await room.live(1.25)
    assert room.state("a") == ("unhealthy", "refused")
    assert gaps(wire.asked)[-1] == 1.0
    wire.says = models("m")
    await room.live(7)
    assert room.state("a") == ("healthy", "ok")
    assert 1.0 in gaps(wire.asked)[-3:]


async def test_one_that_is_down_nearby_is_asked_every_five_seconds_and_one_far_off_ever_seldomer() -> None:
    room = Room()
    near = room.put(backend("near"), REFUSED)
    lan = room.put(backend("lan", ring="lan", url="http://10.0.0.2:1"), REFUSED)
    far = room.put(backend("far", ring="company", url="http://10.0.0.3:1"), REFUSED)
    await room.live(240)
    assert set(gaps(near.asked)) == set(gaps(lan.asked)) == {5.0}
    assert gaps(far.asked)[:9] == [5.0, 5.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


async def test_a_wait_is_never_shortened_by_the_spread() -> None:
    room = Room(spread=lambda: 0.99)
    wire = room.put(backend("a"), reply(b"{}", 401))
    await room.live(70)
    assert gaps(wire.asked) == [pytest.approx(66, abs=0.25)]


async def test_a_refused_key_is_tried_once_a_minute() -> None:
    room = Room()
    wire = room.put(backend("a"), reply(b"{}", 401))
    await room.live(180)
    assert room.state("a") == ("unhealthy", "unauthorized")
    assert gaps(wire.asked) == [60.0, 60.0, 60.0]


async def test_one_that_asks_to_come_back_later_is_left_alone_until_then() -> None:
    room = Room()
    wire = room.put(backend("a"), reply(b"{}", 429, retry_after="30"))
    await room.live(29.5)
    assert room.state("a") == ("unhealthy", "rate-limited")
    assert len(wire.asked) == 1
    wire.says = models("m")
    await room.live(1)
    assert len(wire.asked) == 2


async def test_one_that_loads_its_model_is_asked_every_second() -> None:
    room = Room()
    wire = room.put(backend("a"), reply(LOADING, 503))
    await room.live(10)
    assert room.state("a") == ("warming", "loading")
    assert set(gaps(wire.asked)) == {1.0}
    wire.says = models("m")
    await room.live(1)
    assert room.state("a") == ("healthy", "ok")


async def test_traffic_hurries_a_probe_but_at_most_once_a_second() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    await room.live(2)
    before = len(wire.asked)
    for _ in range(20):
        room.prober.probe_soon("a")
        await settle()
    assert len(wire.asked) == before + 1
    await room.live(0.5)
    room.prober.probe_soon("a")
    await settle()
    assert len(wire.asked) == before + 1
    await room.live(0.5)
    assert len(wire.asked) == before + 2, "the second cause is not forgotten, only put off"


@pytest.mark.parametrize(
    "answer", [reply(b"{}", 401), reply(b"{}", 403), reply(b"{}", 429, retry_after="60")]
)
async def test_traffic_hurries_no_probe_where_the_answer_is_certain(answer: object) -> None:
    room = Room()
    wire = room.put(backend("a"), answer)  # type: ignore[arg-type]
    await room.live(10)
    room.prober.probe_soon("a")
    await room.live(10)
    assert len(wire.asked) == 1


async def test_a_cloud_is_not_asked_more_often_however_much_traffic_there_is() -> None:
    room = Room()
    wire = room.put(backend("a", ring="cloud", url="https://api.example.com"), models("m"))
    for _ in range(12):
        await room.live(5)
        room.prober.probe_soon("a")
    assert gaps(wire.asked) == [60.0]


async def test_a_cloud_is_asked_at_once_but_seldom_whether_it_was_the_key_that_it_refused() -> None:
    room = Room()
    wire = room.put(backend("a", ring="cloud", url="https://api.example.com"), models("m"))
    await room.live(20)
    wire.says = reply(b"{}", 401)
    room.prober.probe_soon("a", for_key=True)
    await settle()
    assert room.state("a") == ("unhealthy", "unauthorized")
    assert len(wire.asked) == 2
    wire.says = models("m")
    await room.live(130)
    before = len(wire.asked)
    for _ in range(20):
        room.prober.probe_soon("a", for_key=True)
        await room.live(0.5)
    assert len(wire.asked) <= before + 1


async def test_a_hurried_probe_finds_what_traffic_met() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    await room.live(2)
    wire.says = REFUSED
    room.registry.record_fact("a", Unreached(Reason("refused", "Connection refused.")))
    room.prober.probe_soon("a")
    await settle()
    assert room.registry.node("a").health.bad == 2


async def test_a_busy_mlx_that_stays_silent_is_not_taken_for_dead() -> None:
    room = Room()
    wire = room.put(backend("a", kind="mlx"), models("m"))
    await room.live(1)
    room.busy.add("a")
    wire.says = LATE
    await room.live(60)
    assert room.state("a") == ("healthy", "ok")
    await room.live(12)
    assert room.state("a") == ("unhealthy", "timed-out")


async def test_patience_begins_anew_after_an_answer() -> None:
    room = Room()
    wire = room.put(backend("a", kind="mlx"), models("m"))
    room.busy.add("a")
    for _ in range(4):
        wire.says = models("m")
        await room.live(6)
        wire.says = LATE
        await room.live(40)
    assert room.state("a") == ("healthy", "ok")


@pytest.mark.parametrize(("kind", "is_busy"), [("mlx", False), ("llamacpp", True)])
async def test_silence_without_an_excuse_is_a_failure(kind: str, is_busy: bool) -> None:
    room = Room()
    wire = room.put(backend("a", kind=kind), models("m"))
    await room.live(1)
    if is_busy:
        room.busy.add("a")
    wire.says = LATE
    await room.live(6.25)
    assert room.state("a") == ("unhealthy", "timed-out")


async def test_one_that_is_taken_out_is_asked_no_more_and_its_running_probe_is_ended() -> None:
    room = Room()
    wire = room.put(backend("a"), None)
    await settle()
    room.registry.remove("a")
    await settle()
    assert wire.given_up == 1
    await room.live(20)
    assert len(wire.asked) == 1
    assert room.clock.armed == []


async def test_a_locked_keyring_is_told_with_its_fix_and_a_check_after_the_unlocking_recovers() -> None:
    room = Room()
    room.purse.locked = SecretError("locked", "The keyring is locked.", "Unlock it.")
    wire = room.put(backend("a", has_secret=True), models("m"))
    await settle()
    health = room.registry.node("a").health
    assert (health.state, health.reason) == (
        "unhealthy",
        Reason("secret-locked", "The keyring is locked.", "Unlock it."),
    )
    assert wire.asked == [], "nobody is asked without the key"
    room.purse.locked, room.purse.kept["a"] = None, "sk-1"
    assert isinstance((await room.prober.check("a")).fact, Answered)
    assert wire.keys == [b"Bearer sk-1"]
    assert room.purse.retries == 1, "the keyring is asked anew, not its last failure"
    await room.live(1)
    assert room.state("a") == ("healthy", "ok")


async def test_one_that_is_switched_off_is_asked_only_by_an_explicit_check() -> None:
    room = Room()
    wire = room.put(backend("a", enabled=False), models("m"))
    await room.live(60)
    assert wire.asked == []
    probe = await room.prober.check("a")
    assert probe.models == ("m",)
    assert room.state("a") == ("unknown", "not-checked")
    await room.live(60)
    assert len(wire.asked) == 1


async def test_switching_off_ends_the_probe_and_on_again_probes_at_once() -> None:
    room = Room()
    wire = room.put(backend("a"), None)
    await settle()
    room.registry.put(backend("a", enabled=False))
    await settle()
    assert wire.given_up == 1
    wire.says = models("m")
    room.registry.put(backend("a"))
    await settle()
    assert room.state("a") == ("healthy", "ok")


async def test_a_check_joins_the_probe_that_runs() -> None:
    room = Room()
    wire = room.put(backend("a"), None)
    await settle()
    checks = [asyncio.create_task(room.prober.check("a")) for _ in range(3)]
    await settle()
    wire.release(models("m"))
    assert all([isinstance((await check).fact, Answered) for check in checks])
    assert len(wire.asked) == 1


async def test_a_check_anew_does_not_join_a_probe_with_the_old_key() -> None:
    room = Room()
    room.purse.kept["a"] = "old"
    wire = room.put(backend("a", has_secret=True), None)
    await settle()
    room.purse.kept["a"] = "new"
    check = asyncio.create_task(room.prober.check("a", anew=True))
    await settle()
    wire.release(models("m"))
    await check
    assert wire.keys == [b"Bearer old", b"Bearer new"]
    await room.live(12)
    assert len(wire.asked) == 4, "and there is still one schedule"


async def test_who_gives_up_a_check_leaves_the_probe_to_the_others() -> None:
    room = Room()
    wire = room.put(backend("a"), None)
    check = asyncio.create_task(room.prober.check("a"))
    await settle()
    check.cancel()
    await settle()
    wire.release(models("m"))
    await settle()
    assert room.state("a") == ("healthy", "ok")


async def test_a_check_of_one_that_is_removed_meanwhile_says_so() -> None:
    room = Room()
    room.put(backend("a"), None)
    check = asyncio.create_task(room.prober.check("a"))
    await settle()
    room.registry.remove("a")
    with pytest.raises(NotFound, match="'a'"):
        await check


async def test_a_check_of_one_that_moves_meanwhile_asks_at_its_new_address() -> None:
    room = Room()
    room.put(backend("a"), None)
    check = asyncio.create_task(room.prober.check("a"))
    await settle()
    room.put(backend("a", url="http://127.0.0.1:7001"), models("new"))
    assert (await check).models == ("new",)


async def test_a_check_of_nobody_is_not_found() -> None:
    with pytest.raises(NotFound):
        await Room().prober.check("ghost")


async def test_a_probe_that_breaks_is_not_the_last() -> None:
    room = Room()
    wire = room.put(backend("a"), None)
    check = asyncio.create_task(room.prober.check("a"))
    await settle()
    wire.release(ZeroDivisionError("a fault of the kind's own"))
    with pytest.raises(ZeroDivisionError):
        await check
    wire.says = models("m")
    await room.live(6)
    assert room.state("a") == ("healthy", "ok")


async def test_the_end_of_the_service_ends_every_probe_and_all_schedules() -> None:
    room = Room()
    hanging = room.put(backend("a"), None)
    calm = room.put(backend("b"), models("m"))
    await settle()
    await room.prober.close()
    assert hanging.given_up == 1
    await room.live(20)
    assert len(calm.asked) == 1
