from functools import partial

import pytest

from fake_clock import Clock
from meshlight.domain.shared_timers import SharedTimers


def test_what_is_due_together_wakes_the_machine_once() -> None:
    clock = Clock()
    timers = SharedTimers(clock, clock.later)
    called: list[str] = []
    for name in "abc":
        timers.exact(5.0, partial(called.append, name))
    assert clock.armed == [5.0]
    clock.pass_time(5.0)
    assert called == ["a", "b", "c"]


def test_what_is_cancelled_is_not_called() -> None:
    clock = Clock()
    timers = SharedTimers(clock, clock.later)
    called: list[str] = []
    timers.exact(5.0, lambda: called.append("kept"))
    timers.exact(5.0, lambda: called.append("cancelled")).cancel()
    clock.pass_time(10.0)
    assert called == ["kept"]


def test_an_error_in_one_call_ends_no_other() -> None:
    clock = Clock()
    timers = SharedTimers(clock, clock.later)
    called: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    timers.exact(1.0, fail)
    timers.exact(1.0, lambda: called.append("second"))
    with pytest.raises(ZeroDivisionError):
        clock.pass_time(1.0)
    clock.pass_time(0.0)
    assert called == ["second"]


def test_regular_calls_of_one_period_fall_together_wherever_they_began() -> None:
    clock = Clock()
    timers = SharedTimers(clock, clock.later, phase_s=1.5)
    times: dict[float, list[float]] = {5.0: [], 5 / 3: []}

    def again(period: float) -> None:
        times[period].append(round(clock.now - 1000, 3))
        timers.regular(period, lambda: again(period))

    timers.regular(5.0, lambda: again(5.0))
    clock.pass_time(0.7)
    timers.regular(5 / 3, lambda: again(5 / 3))
    clock.pass_time(20)
    assert times[5.0] == [6.5, 11.5, 16.5]
    assert times[5 / 3][:5] == [3.167, 4.833, 6.5, 8.167, 9.833]


@pytest.mark.parametrize("delay", [0.2, 1.0, 5 / 3, 5.0, 30.0])
@pytest.mark.parametrize("began", [0.0, 0.1, 2.4, 2.6, 4.9])
def test_a_regular_call_comes_at_most_half_a_period_off(delay: float, began: float) -> None:
    clock = Clock()
    timers = SharedTimers(clock, clock.later, phase_s=0.5)
    clock.pass_time(began)
    timers.regular(delay, lambda: None)
    assert [pytest.approx(delay, abs=delay / 2 + 1e-3)] == clock.armed
