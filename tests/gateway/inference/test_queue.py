"""The queue of a model on a clock that the test moves: who sleeps, who is woken, and what is left behind."""

import asyncio
from collections.abc import Sequence

import pytest

from fake_clock import Clock, backend
from meshlight.domain.api_types import QueueView, WaitingCaller
from meshlight.domain.fair_queue import Route
from meshlight.gateway.inference.queue import BEAT_S, RETRY_AFTER_S, ModelQueue, Place, Waited, told_slots
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Ticket, Traffic

ROUTE: Route = ("a", "", "m")


class Rig:
    """A queue in front of one route with two slots, both taken."""

    def __init__(self, longest: int = 500) -> None:
        self.clock = Clock()
        self.traffic = Traffic()
        self.routes: Sequence[Route] = (ROUTE,)
        self.limits: dict[Route, int] = {ROUTE: 2}
        self.queue = ModelQueue(
            lambda *route: self.limits.get(route), self.traffic, self.clock, self.clock.later, longest=longest
        )
        self.running = [self.traffic.reserve("a", "m") for _ in range(2)]
        self.beats = self.asked = 0

    def usable(self) -> Sequence[Route]:
        self.asked += 1
        return self.routes

    async def beat(self) -> None:
        self.beats += 1

    def place(self, caller: str = "app", *, limit_s: float = 300.0, beats: bool = False) -> Place:
        return Place(
            model="m",
            kind="any",
            routes=self.usable,
            caller=caller,
            name=caller,
            limit_s=limit_s,
            beat=self.beat if beats else None,
        )

    async def send(self, caller: str = "app", *, limit_s: float = 300.0, beats: bool = False) -> Waited:
        waited = await self.queue.wait(self.place(caller, limit_s=limit_s, beats=beats))
        if waited == "go":
            self.running.append(self.traffic.reserve("a", "m"))
        return waited

    def end(self, ticket: Ticket) -> None:
        self.running.remove(ticket)
        ticket.close("ok")
        self.queue.freed("m")


async def turn() -> None:
    """Let everything run that can."""
    for _ in range(6):
        await asyncio.sleep(0)


async def asleep(rig: Rig, *callers: str, limit_s: float = 300.0) -> list[asyncio.Task[Waited]]:
    tasks = [asyncio.create_task(rig.send(caller, limit_s=limit_s)) for caller in callers]
    await turn()
    return tasks


async def test_a_freed_slot_wakes_one_and_is_held_for_it_until_it_runs() -> None:
    rig = Rig()
    assert rig.queue.is_full(*ROUTE)
    assert not rig.queue.is_full("other", "", "m")
    first, second = await asleep(rig, "p", "q")
    assert rig.queue.waiting("m") == 2
    rig.end(rig.running[0])
    assert rig.queue.is_full(*ROUTE), "a new request finds no free slot before the woken one has run"
    await turn()
    assert (first.done(), second.done()) == (True, False)
    assert rig.traffic.in_flight(*ROUTE) == 2
    rig.end(rig.running[0])
    assert await second == "go"
    assert rig.traffic.waiting() == {}


async def test_the_waiting_are_counted_for_the_views() -> None:
    rig = Rig()
    tasks = await asleep(rig, "p", "q", "r")
    assert (rig.traffic.waiting(), rig.traffic.drain_waiting()) == ({"m": 3}, {"m": 3})
    assert rig.traffic.drain_waiting() == {}
    tasks[0].cancel()
    await turn()
    assert rig.traffic.drain_waiting() == {"m": 2}
    rig.limits[ROUTE] = 10
    rig.queue.look_again()
    await asyncio.gather(*tasks[1:])
    assert rig.traffic.drain_waiting() == {"m": 0}


async def test_who_waits_is_told_by_name_with_the_longest_wait_and_the_last_one() -> None:
    rig = Rig()
    assert rig.queue.look("m") is None
    tasks = await asleep(rig, "aider", "claude", "claude")
    rig.clock.pass_time(4.0)
    assert rig.queue.look("m") == QueueView(
        waiting=3, longest_s=4.0, callers=(WaitingCaller("claude", 2), WaitingCaller("aider", 1))
    )
    rig.end(rig.running[0])
    await turn()
    assert rig.queue.look("m") == QueueView(
        waiting=2, longest_s=4.0, expected_s=4.0, callers=(WaitingCaller("claude", 2),)
    )
    for task in tasks:
        task.cancel()
    await turn()
    assert rig.queue.look("m") is None


async def test_500_that_wait_cost_one_timer_each_and_nothing_while_time_passes() -> None:
    rig = Rig()
    tasks = await asleep(rig, *(f"app-{number % 5}" for number in range(500)))
    assert rig.clock.armed == [300.0] * 500
    rig.clock.pass_time(299.0)
    await turn()
    assert (rig.asked, rig.queue.waiting("m")) == (0, 500)
    rig.queue.look_again()
    assert rig.asked == 1, "once for all that may use the same routes"
    for task in tasks:
        task.cancel()
    await turn()
    assert (rig.queue.waiting("m"), rig.clock.armed) == (0, [])


async def test_too_many_and_too_late_are_told_with_the_true_state() -> None:
    rig = Rig(longest=2)
    first, second = await asleep(rig, "p", "q", limit_s=30.0)
    assert await rig.send() == "too-many"
    assert rig.queue.state("m", [ROUTE]) == "2 of 2 slots busy, 2 requests wait"
    assert rig.queue.retry_after_s("m") == RETRY_AFTER_S
    rig.clock.pass_time(17.5)
    rig.end(rig.running[0])
    assert await first == "go"
    assert rig.queue.state("m", [ROUTE]) == "2 of 2 slots busy, 1 request waits"
    assert rig.queue.retry_after_s("m") == 18.0, "as long as the last one waited"
    rig.clock.pass_time(12.5)
    assert await second == "late"
    assert (rig.queue.waiting("m"), rig.clock.armed) == (0, [])


async def test_one_that_leaves_gives_its_place_and_its_slot_to_the_next() -> None:
    rig = Rig()
    first, second, third = await asleep(rig, "p", "q", "r")
    first.cancel()
    await turn()
    rig.end(rig.running[0])  # for the second, which leaves before it runs
    second.cancel()
    assert await third == "go"
    assert (first.cancelled(), second.cancelled()) == (True, True)
    assert rig.traffic.in_flight(*ROUTE) == 2


async def test_time_that_is_up_as_the_slot_comes_counts_as_a_slot() -> None:
    rig = Rig()
    [task] = await asleep(rig, "p", limit_s=1.0)
    rig.end(rig.running[0])
    rig.clock.pass_time(1.0)
    assert await task == "go"
    assert rig.queue.is_full(*ROUTE)


async def test_without_any_route_there_is_nothing_to_wait_for() -> None:
    rig = Rig()
    tasks = await asleep(rig, "p", "q")
    rig.routes = ()
    rig.queue.look_again()
    assert [await task for task in tasks] == ["go", "go"]
    assert rig.clock.armed == []


async def test_a_beat_comes_every_ten_seconds_and_the_turn_is_not_missed_for_it() -> None:
    rig = Rig()
    task = asyncio.create_task(rig.send(beats=True))
    await turn()
    rig.clock.pass_time(BEAT_S - 0.1)
    await turn()
    assert rig.beats == 0
    for beats in (1, 2):
        rig.clock.pass_time(BEAT_S)
        await turn()
        assert rig.beats == beats
    rig.clock.pass_time(BEAT_S)
    rig.end(rig.running[0])  # both in the same turn
    assert await task == "go"
    assert (rig.beats, rig.clock.armed) == (2, [])


async def test_the_time_is_up_for_one_with_a_beat_too() -> None:
    rig = Rig()
    task = asyncio.create_task(rig.send(limit_s=BEAT_S, beats=True))
    await turn()
    rig.clock.pass_time(BEAT_S)
    assert await task == "late"


async def test_a_beat_that_fails_ends_the_wait() -> None:
    rig = Rig()

    async def fail() -> None:
        raise ConnectionResetError

    place = Place(model="m", kind="any", routes=lambda: (ROUTE,), caller="p", limit_s=99.0, beat=fail)
    task = asyncio.create_task(rig.queue.wait(place))
    await turn()
    rig.clock.pass_time(BEAT_S)
    with pytest.raises(ConnectionResetError):
        await task
    assert (rig.queue.waiting("m"), rig.clock.armed) == (0, [])


def test_the_slots_that_a_user_set_count_for_each_model_of_a_backend() -> None:
    registry = Registry(Clock())
    registry.put(backend("a", slots=4))
    registry.put(backend("b"))
    slots = told_slots(registry)
    assert [slots(name, "", "m") for name in ("a", "b", "gone")] == [4, None, None]
