"""Deadlines that are moved often and missed once, by one timer."""

import weakref
from collections.abc import Callable

import pytest

from meshlight.domain.deadlines import GRAIN_S, Deadline, Deadlines


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

    def call_later(self, delay: float, call: Callable[[], None], /) -> Timer:
        self.timers.append(Timer(self.now + delay, call))
        return self.timers[-1]

    def turn(self, now: float) -> None:
        while due := [timer for timer in self.set if timer.when <= now]:
            first = min(due, key=lambda timer: timer.when)
            self.now = first.when
            self.timers.remove(first)
            first.call()
        self.now = now

    @property
    def set(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]


class Watched:
    def __init__(self) -> None:
        self.loop = Loop()
        self.missed: list[float] = []
        self.deadlines = Deadlines()
        self.deadline = self.another()

    def another(self) -> Deadline:
        return Deadline(self.deadlines, self.loop, lambda: self.missed.append(self.loop.now))


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
    assert not watched.loop.timers


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


def test_many_share_a_timer(watched: Watched) -> None:
    others = [watched.another() for _ in range(3)]
    for wait_s, deadline in enumerate([*others, watched.deadline], 10):
        deadline.due_in(wait_s)

    assert len(watched.loop.set) == 1
    watched.loop.turn(11)
    assert len(watched.loop.set) == 1
    watched.loop.turn(100)
    assert watched.missed == [10, 11, 12, 13]


def test_those_that_are_close_to_each_other_are_looked_at_together(watched: Watched) -> None:
    others = [watched.another() for _ in range(3)]
    watched.deadline.due_in(10)
    for number, deadline in enumerate(others, 1):
        deadline.due_in(10 + number * GRAIN_S / 4)
    watched.loop.turn(100)

    assert watched.missed == [10, *[10 + GRAIN_S] * 3]


def test_an_error_in_one_keeps_no_other_from_being_missed(watched: Watched) -> None:
    def fail() -> None:
        raise ValueError

    failing = Deadline(watched.deadlines, watched.loop, fail)
    for deadline in (failing, watched.deadline):
        deadline.due_in(10)
    with pytest.raises(ValueError):  # noqa: PT011 - from the loop's turn
        watched.loop.turn(10)
    watched.loop.turn(10)

    assert watched.missed == [10]


def test_one_that_another_moves_on_is_not_missed(watched: Watched) -> None:
    moving = Deadline(watched.deadlines, watched.loop, lambda: watched.deadline.due_in(10))
    moving.due_in(10)
    watched.deadline.due_in(10)
    watched.loop.turn(100)

    assert watched.missed == [20]


def test_one_that_another_lifts_is_not_missed(watched: Watched) -> None:
    lifting = Deadline(watched.deadlines, watched.loop, watched.deadline.lift)
    lifting.due_in(10)
    watched.deadline.due_in(10)
    watched.loop.turn(100)
    assert watched.missed == []
    watched.deadline.due_in(10)
    watched.loop.turn(200)
    assert watched.missed == [110]


def test_once_closed_it_holds_nobody() -> None:
    class Owner:
        def __init__(self) -> None:
            self.deadline = Deadline(Deadlines(), Loop(), self.missed)

        def missed(self) -> None:
            raise AssertionError

    owner = Owner()
    deadline, alive = owner.deadline, weakref.ref(owner)
    deadline.close()
    del owner
    assert alive() is None
