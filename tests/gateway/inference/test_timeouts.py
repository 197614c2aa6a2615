"""How long a request waits for its first byte, and when its backend is probed meanwhile."""

import asyncio
from collections.abc import Callable

import pytest

from fake_clock import Clock, FakeTimer, backend
from meshlight.domain.backend import Backend
from meshlight.gateway.inference.timeouts import Cancellation, Cause, FirstByteTimer, FirstByteTimers, Waiting


class Eye:
    """A watcher that notes when it is asked to look."""

    def __init__(self, clock: Clock) -> None:
        self.lost = False
        self.looks: list[float] = []
        self._clock = clock
        self._start = clock()

    def request_probe(self, backend: Backend) -> None:  # noqa: ARG002 - a HealthWatcher
        self.looks.append(self._clock() - self._start)

    def is_lost(self, backend: Backend) -> bool:  # noqa: ARG002 - a HealthWatcher
        return self.lost


class Loop(Clock):
    """The stage's clock as an event loop keeps time."""

    def time(self) -> float:
        return self()

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        return self.later(delay, callback)


class Wait:
    """One wait, and how it ended."""

    def __init__(self, *, first_byte_s: float = 300.0, may_leave: bool = True) -> None:
        self.loop = Loop()
        self.eye = Eye(self.loop)
        self.cancellation = Cancellation()
        self.waiting: set[Waiting] = set()
        self.first_byte_timer = FirstByteTimer(
            backend("a", first_byte_s=first_byte_s),
            self.cancellation,
            self.eye,
            FirstByteTimers(self.loop),
            may_leave=may_leave,
            waiting=self.waiting,
        )

    async def after(self, seconds: float) -> Cause | None:
        """Let time pass, and return what has ended the wait by then."""
        self.loop.pass_time(seconds)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return self.cancellation.settle()
        return None


async def test_a_live_backend_is_waited_for_and_looked_at_every_other_second() -> None:
    wait = Wait()
    assert await wait.after(10) is None
    assert wait.eye.looks == [1, 3, 5, 7, 9]
    wait.first_byte_timer.end()
    assert not wait.loop.armed


async def test_a_backend_that_was_down_gets_one_more_probe_and_is_left() -> None:
    wait = Wait()
    wait.eye.lost = True
    assert await wait.after(4.9) is None
    assert await wait.after(0.2) == "fell"
    assert wait.eye.looks == [1, 3]


async def test_one_that_came_back_meanwhile_is_waited_for() -> None:
    wait = Wait()
    wait.eye.lost = True
    assert await wait.after(4) is None
    wait.eye.lost = False
    assert await wait.after(200) is None


async def test_what_may_not_leave_stays_with_a_lost_backend() -> None:
    wait = Wait(may_leave=False)
    wait.eye.lost = True
    assert await wait.after(299) is None
    assert await wait.after(1) == "first-byte"


@pytest.mark.parametrize("limit_s", [0.5, 1.0, 2.0, 6.0, 120.0])
async def test_the_backends_own_limit_ends_every_wait(limit_s: float) -> None:
    wait = Wait(first_byte_s=limit_s)
    assert await wait.after(limit_s - 0.1) is None
    assert await wait.after(0.11) == "first-byte"


async def test_waits_of_the_same_second_share_a_timer_and_each_has_its_own_time() -> None:
    wait = Wait()
    timers = FirstByteTimers(wait.loop)
    looks: list[float] = []

    class Look(Eye):
        def request_probe(self, backend: Backend) -> None:
            looks.append(round(wait.loop.now - 1000, 3))
            super().request_probe(backend)

    def one() -> FirstByteTimer:
        return FirstByteTimer(
            backend("a"), wait.cancellation, Look(wait.loop), timers, may_leave=True, waiting=wait.waiting
        )

    wait.first_byte_timer.end()
    first, second, third = one(), one(), one()
    wait.loop.pass_time(0.4)
    later = one()
    second.end()
    assert len(wait.loop.armed) == 2  # the one of `wait`, which finds nothing to do, and the one of the four
    wait.loop.pass_time(1.1)
    assert looks == [1.0, 1.0, 1.4]
    for timer in (first, third, later):
        timer.end()
        timer.end()
    assert not wait.loop.armed
    assert not wait.waiting


async def test_a_look_that_fails_does_not_end_those_of_the_others() -> None:
    loop, looks = Loop(), []
    timers = FirstByteTimers(loop)

    class Late:
        leaves = None

        def __init__(self, name: str) -> None:
            self.name = name

        def check(self) -> None:
            looks.append(self.name)
            if self.name == "bad":
                raise ValueError("no look")

        def fire(self, cause: Cause) -> None:
            raise AssertionError(cause)

    timers.add(Late("bad"), loop())
    loop.pass_time(0.5)
    timers.add(Late("young"), loop())
    with pytest.raises(ValueError, match="no look"):
        loop.pass_time(0.5)
    loop.pass_time(0.5)
    assert looks == ["bad", "young"]
    assert not timers.waits
