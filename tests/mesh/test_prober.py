"""Each backend is probed on its own schedule, whatever the others do."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import cast

import pytest

from fake_clock import backend
from mesh.fake_backends import LOADING, REFUSED, FakeBackends, models, reply, settle
from meshlight.backends.base import OnDemand
from meshlight.domain.backend import Reason
from meshlight.domain.errors import NotFound, ReadTimeout, SecretError
from meshlight.domain.health import Answered, Unreached

LATE = ReadTimeout("It did not answer in time.")


def gaps(instants: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(instants)]


async def test_a_new_backend_is_probed_at_once_and_then_every_five_seconds() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await fake.live(30)
    assert upstream.requests[0] == 1000.0
    assert set(gaps(upstream.requests)) == {5.0}
    assert fake.state("a") == ("healthy", "ok")
    assert fake.registry.snapshot.routes == {"m": ("a",)}


async def test_the_probes_of_many_are_spread_over_the_period() -> None:
    fake = FakeBackends()
    wires = [fake.put(backend(f"b{n}", url=f"http://127.0.0.1:{9000 + n}"), models("m")) for n in range(50)]
    await fake.live(20)
    per_instant = Counter(instant for upstream in wires for instant in upstream.requests if instant > 1006)
    assert max(per_instant.values()) == 10
    assert all(set(gaps(upstream.requests)[1:]) == {5.0} for upstream in wires)
    assert all(0.5 <= gaps(upstream.requests)[0] <= 5.5 for upstream in wires)


async def test_a_backend_that_hangs_delays_no_other() -> None:
    fake = FakeBackends()
    slow = fake.put(backend("slow"), None)
    fast = fake.put(backend("fast"), models("m"))
    await fake.live(30)
    assert len(slow.requests) == 1
    assert len(fast.requests) == 7
    slow.release(LATE)
    await settle()
    assert fake.state("slow") == ("unhealthy", "timed-out")


async def test_it_has_settled_once_the_first_probes_have_ended_or_the_patience() -> None:
    fake = FakeBackends()
    slow = fake.put(backend("slow"), None)
    waiting = asyncio.create_task(fake.prober.settle(60.0))
    await settle()
    assert not waiting.done()
    await fake.prober.settle(0.0)
    slow.release(LATE)
    await waiting
    assert fake.state("slow") == ("unhealthy", "timed-out")


async def test_a_healthy_backend_that_fails_is_asked_again_after_a_second_and_then_believed() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await fake.live(6)
    upstream.answer = REFUSED
    await fake.live(4)
    assert fake.state("a") == ("healthy", "ok")
    await fake.live(1.25)
    assert fake.state("a") == ("unhealthy", "refused")
    assert gaps(upstream.requests)[-1] == 1.0
    upstream.answer = models("m")
    await fake.live(7)
    assert fake.state("a") == ("healthy", "ok")
    assert 1.0 in gaps(upstream.requests)[-3:]


async def test_one_that_is_down_nearby_is_asked_every_five_seconds_and_one_far_off_ever_seldomer() -> None:
    fake = FakeBackends()
    near = fake.put(backend("near"), REFUSED)
    lan = fake.put(backend("lan", ring="lan", url="http://10.0.0.2:1"), REFUSED)
    far = fake.put(backend("far", ring="company", url="http://10.0.0.3:1"), REFUSED)
    await fake.live(240)
    assert set(gaps(near.requests)) == set(gaps(lan.requests)) == {5.0}
    assert gaps(far.requests)[:9] == [5.0, 5.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


async def test_a_wait_is_never_shortened_by_the_spread() -> None:
    fake = FakeBackends(spread=lambda: 0.99)
    upstream = fake.put(backend("a"), reply(b"{}", 401))
    await fake.live(70)
    assert gaps(upstream.requests) == [pytest.approx(66, abs=0.25)]


async def test_a_refused_key_is_tried_once_a_minute() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), reply(b"{}", 401))
    await fake.live(180)
    assert fake.state("a") == ("unhealthy", "unauthorized")
    assert gaps(upstream.requests) == [60.0, 60.0, 60.0]


async def test_one_that_asks_to_come_back_later_is_left_alone_until_then() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), reply(b"{}", 429, retry_after="30"))
    await fake.live(29.5)
    assert fake.state("a") == ("unhealthy", "rate-limited")
    assert len(upstream.requests) == 1
    upstream.answer = models("m")
    await fake.live(1)
    assert len(upstream.requests) == 2


async def test_one_that_loads_its_model_is_asked_every_second() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), reply(LOADING, 503))
    await fake.live(10)
    assert fake.state("a") == ("warming", "loading")
    assert set(gaps(upstream.requests)) == {1.0}
    upstream.answer = models("m")
    await fake.live(1)
    assert fake.state("a") == ("healthy", "ok")


async def test_traffic_hurries_a_probe_but_at_most_once_a_second() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await fake.live(2)
    before = len(upstream.requests)
    for _ in range(20):
        fake.prober.probe_soon("a")
        await settle()
    assert len(upstream.requests) == before + 1
    await fake.live(0.5)
    fake.prober.probe_soon("a")
    await settle()
    assert len(upstream.requests) == before + 1
    await fake.live(0.5)
    assert len(upstream.requests) == before + 2, "the second cause is not forgotten, only put off"


async def test_what_is_known_here_anyway_is_looked_at_more_often() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await fake.live(2)
    fake.connections.put(fake.registry.node("a").backend).on_demand = cast("OnDemand", object())
    before = len(upstream.requests)
    for _ in range(3):
        fake.prober.probe_soon("a")
        await fake.live(0.25)
    assert len(upstream.requests) == before + 3


@pytest.mark.parametrize(
    "answer", [reply(b"{}", 401), reply(b"{}", 403), reply(b"{}", 429, retry_after="60")]
)
async def test_traffic_hurries_no_probe_where_the_answer_is_certain(answer: object) -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), answer)  # type: ignore[arg-type]
    await fake.live(10)
    fake.prober.probe_soon("a")
    await fake.live(10)
    assert len(upstream.requests) == 1


async def test_a_cloud_is_not_asked_more_often_however_much_traffic_there_is() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", ring="cloud", url="https://api.example.com"), models("m"))
    for _ in range(12):
        await fake.live(5)
        fake.prober.probe_soon("a")
    assert gaps(upstream.requests) == [60.0]


async def test_a_cloud_is_asked_at_once_but_seldom_whether_it_was_the_key_that_it_refused() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", ring="cloud", url="https://api.example.com"), models("m"))
    await fake.live(20)
    upstream.answer = reply(b"{}", 401)
    fake.prober.probe_soon("a", for_key=True)
    await settle()
    assert fake.state("a") == ("unhealthy", "unauthorized")
    assert len(upstream.requests) == 2
    upstream.answer = models("m")
    await fake.live(130)
    before = len(upstream.requests)
    for _ in range(20):
        fake.prober.probe_soon("a", for_key=True)
        await fake.live(0.5)
    assert len(upstream.requests) <= before + 1


async def test_a_hurried_probe_finds_what_traffic_met() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await fake.live(2)
    upstream.answer = REFUSED
    fake.registry.record_fact("a", Unreached(Reason("refused", "Connection refused.")))
    fake.prober.probe_soon("a")
    await settle()
    assert fake.registry.node("a").health.bad == 2


async def test_a_busy_mlx_that_stays_silent_is_not_taken_for_dead() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", kind="mlx"), models("m"))
    await fake.live(1)
    fake.busy.add("a")
    upstream.answer = LATE
    await fake.live(60)
    assert fake.state("a") == ("healthy", "ok")
    await fake.live(12)
    assert fake.state("a") == ("unhealthy", "timed-out")


async def test_patience_begins_anew_after_an_answer() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", kind="mlx"), models("m"))
    fake.busy.add("a")
    for _ in range(4):
        upstream.answer = models("m")
        await fake.live(6)
        upstream.answer = LATE
        await fake.live(40)
    assert fake.state("a") == ("healthy", "ok")


@pytest.mark.parametrize(("kind", "is_busy"), [("mlx", False), ("llamacpp", True)])
async def test_silence_without_an_excuse_is_a_failure(kind: str, is_busy: bool) -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", kind=kind), models("m"))
    await fake.live(1)
    if is_busy:
        fake.busy.add("a")
    upstream.answer = LATE
    await fake.live(6.25)
    assert fake.state("a") == ("unhealthy", "timed-out")


async def test_one_that_is_taken_out_is_asked_no_more_and_its_running_probe_is_ended() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), None)
    await settle()
    fake.registry.remove("a")
    await settle()
    assert upstream.cancelled == 1
    await fake.live(20)
    assert len(upstream.requests) == 1
    assert fake.clock.armed == []


async def test_a_locked_keyring_is_told_with_its_fix_and_a_check_after_the_unlocking_recovers() -> None:
    fake = FakeBackends()
    fake.store.locked = SecretError("locked", "The keyring is locked.", "Unlock it.")
    upstream = fake.put(backend("a", has_secret=True), models("m"))
    await settle()
    health = fake.registry.node("a").health
    assert (health.state, health.reason) == (
        "unhealthy",
        Reason("secret-locked", "The keyring is locked.", "Unlock it."),
    )
    assert upstream.requests == [], "nobody is asked without the key"
    fake.store.locked, fake.store.secrets["a"] = None, "sk-1"
    assert isinstance((await fake.prober.check("a")).fact, Answered)
    assert upstream.keys == [b"Bearer sk-1"]
    assert fake.store.retries == 1, "the keyring is asked anew, not its last failure"
    await fake.live(1)
    assert fake.state("a") == ("healthy", "ok")


async def test_one_that_is_switched_off_is_asked_only_by_an_explicit_check() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", enabled=False), models("m"))
    await fake.live(60)
    assert upstream.requests == []
    probe = await fake.prober.check("a")
    assert probe.models == ("m",)
    assert fake.state("a") == ("unknown", "not-checked")
    await fake.live(60)
    assert len(upstream.requests) == 1


async def test_switching_off_ends_the_probe_and_on_again_probes_at_once() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), None)
    await settle()
    fake.registry.put(backend("a", enabled=False))
    await settle()
    assert upstream.cancelled == 1
    upstream.answer = models("m")
    fake.registry.put(backend("a"))
    await settle()
    assert fake.state("a") == ("healthy", "ok")


async def test_a_check_joins_the_probe_that_runs() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), None)
    await settle()
    checks = [asyncio.create_task(fake.prober.check("a")) for _ in range(3)]
    await settle()
    upstream.release(models("m"))
    assert all([isinstance((await check).fact, Answered) for check in checks])
    assert len(upstream.requests) == 1


async def test_a_check_anew_does_not_join_a_probe_with_the_old_key() -> None:
    fake = FakeBackends()
    fake.store.secrets["a"] = "old"
    upstream = fake.put(backend("a", has_secret=True), None)
    await settle()
    fake.store.secrets["a"] = "new"
    check = asyncio.create_task(fake.prober.check("a", anew=True))
    await settle()
    upstream.release(models("m"))
    await check
    assert upstream.keys == [b"Bearer old", b"Bearer new"]
    await fake.live(12)
    assert len(upstream.requests) == 4, "and there is still one schedule"


async def test_who_gives_up_a_check_leaves_the_probe_to_the_others() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), None)
    check = asyncio.create_task(fake.prober.check("a"))
    await settle()
    check.cancel()
    await settle()
    upstream.release(models("m"))
    await settle()
    assert fake.state("a") == ("healthy", "ok")


async def test_a_check_of_one_that_is_removed_meanwhile_says_so() -> None:
    fake = FakeBackends()
    fake.put(backend("a"), None)
    check = asyncio.create_task(fake.prober.check("a"))
    await settle()
    fake.registry.remove("a")
    with pytest.raises(NotFound, match="'a'"):
        await check


async def test_a_check_of_one_that_moves_meanwhile_asks_at_its_new_address() -> None:
    fake = FakeBackends()
    fake.put(backend("a"), None)
    check = asyncio.create_task(fake.prober.check("a"))
    await settle()
    fake.put(backend("a", url="http://127.0.0.1:7001"), models("new"))
    assert (await check).models == ("new",)


async def test_a_check_of_nobody_is_not_found() -> None:
    with pytest.raises(NotFound):
        await FakeBackends().prober.check("ghost")


async def test_a_probe_that_breaks_is_not_the_last() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), None)
    check = asyncio.create_task(fake.prober.check("a"))
    await settle()
    upstream.release(ZeroDivisionError("a fault of the kind's own"))
    with pytest.raises(ZeroDivisionError):
        await check
    upstream.answer = models("m")
    await fake.live(6)
    assert fake.state("a") == ("healthy", "ok")


async def test_the_end_of_the_service_ends_every_probe_and_all_schedules() -> None:
    fake = FakeBackends()
    hanging = fake.put(backend("a"), None)
    calm = fake.put(backend("b"), models("m"))
    await settle()
    await fake.prober.close()
    assert hanging.cancelled == 1
    await fake.live(20)
    assert len(calm.requests) == 1
