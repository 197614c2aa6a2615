from hypothesis import given
from hypothesis import strategies as st

from meshlight.desktop.supervisor import Backoff, CrashHistory, delay_s, record_crash

BACKOFF = Backoff()


def delays(lives: list[float], fraction: float) -> list[float | None]:
    """The pauses after each of these lives, each of which begins when the pause before it is over."""
    now, crashes, pauses = 0.0, CrashHistory(), list[float | None]()
    for lived in lives:
        now += lived
        crashes = record_crash(crashes, now, lived, BACKOFF)
        pauses.append(delay_s(crashes, fraction, BACKOFF))
        now += pauses[-1] or 0.0
    return pauses


def test_a_service_that_dies_at_once_is_started_ever_later_and_then_given_up() -> None:
    assert delays([0.0] * 5, 1.0) == [1.0, 2.0, 4.0, 8.0, None]


def test_chance_takes_up_to_half_of_the_pause_away() -> None:
    assert delays([0.0] * 4, 0.0) == [0.5, 1.0, 2.0, 4.0]


def test_after_a_minute_of_life_the_first_pause_is_short_again() -> None:
    assert delays([0.0, 0.0, 61.0, 61.0], 1.0) == [1.0, 2.0, 1.0, 1.0]


def test_deaths_that_are_minutes_apart_are_never_given_up_and_pause_half_a_minute_at_most() -> None:
    pauses = delays([40.0] * 30, 1.0)
    assert None not in pauses
    assert max(s for s in pauses if s is not None) == 30.0


@given(st.lists(st.floats(0, 200), max_size=40), st.floats(0, 1))
def test_no_pause_is_shorter_than_half_a_second_or_longer_than_thirty(
    lives: list[float], fraction: float
) -> None:
    assert all(s is None or 0.5 <= s <= 30.0 for s in delays(lives, fraction))
