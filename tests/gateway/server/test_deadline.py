"""A deadline that is moved often and missed once."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest

from meshlight.gateway.server.deadline import Deadline


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """A loop whose clock the test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, call))
        return self.timers[-1]

    def turn(self, now: float) -> None:
        while due := [timer for timer in self.timers if timer.when <= now and not timer.is_cancelled]:
            first = min(due, key=lambda timer: timer.when)
            self.now = first.when
            self.timers.remove(first)
            first.call()
        self.now = now


class Watched:
    def __init__(self) -> None:
        self.loop = Loop()
        self.missed: list[float] = []
        self.deadline = Deadline(
            cast("asyncio.AbstractEventLoop", cast("Any", self.loop)),
            lambda: self.missed.append(self.loop.now),
        )


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_is_missed_once_and_may_be_set_again(watched: Watched) -> None:
    watched.deadline.due_in(10)
    watched.loop.turn(100)
    watched.deadline.due_in(10)
    watched.loop.turn(200)

    assert watched.missed == [10, 110]


def test_moving_it_on_sets_no_new_timer(watched: Watched) -> None:
    watched.deadline.due_in(10)
    timer = watched.loop.timers[0]
    for now in range(1, 9):
        watched.loop.turn(now)
        watched.deadline.due_in(10)

    assert watched.loop.timers == [timer]
    watched.loop.turn(50)
    assert watched.missed == [18]


def test_an_earlier_deadline_is_kept(watched: Watched) -> None:
    watched.deadline.due_in(60)
    watched.deadline.due_in(10)
    watched.loop.turn(100)

    assert watched.missed == [10]


def test_a_lifted_deadline_is_not_missed_and_leaves_its_timer_to_the_next(watched: Watched) -> None:
    watched.deadline.due_in(10)
    watched.deadline.lift()
    watched.deadline.due_in(20)
    assert len(watched.loop.timers) == 1
    watched.loop.turn(15)
    watched.deadline.lift()
    watched.loop.turn(100)
    assert watched.missed == []
    watched.deadline.due_in(10)
    watched.loop.turn(200)
    assert watched.missed == [110]


def test_a_closed_deadline_leaves_no_timer(watched: Watched) -> None:
    watched.deadline.due_in(10)
    watched.deadline.close()
    watched.deadline.close()
    watched.loop.turn(100)

    assert watched.missed == []


def test_once_closed_it_holds_nobody() -> None:
    class Owner:
        def __init__(self) -> None:
            self.deadline = Deadline(cast("asyncio.AbstractEventLoop", Loop()), self.missed)

        def missed(self) -> None:
            raise AssertionError

    owner = Owner()
    deadline, alive = owner.deadline, weakref.ref(owner)
    deadline.close()
    del owner
    assert alive() is None
