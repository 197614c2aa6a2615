"""Speeds are learned from answers, forgotten in favour of what is usual, and never made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.choice import NO_PROMPT, Prompt
from meshlight.domain.kept_speed import Kept
from meshlight.domain.speed import (
    ENOUGH,
    FRESH_S,
    KEPT,
    SLOTS_KEPT_S,
    USUAL_ANSWER,
    USUAL_EVERY_S,
    Pace,
    Speeds,
)


def learned(*answers: tuple[float, float, int, int], at: float = 0.0) -> Speeds:
    """Speeds after answers of (first byte, total, prompt tokens, answer tokens)."""
    speeds = Speeds()
    for first_s, total_s, prompt, answer in answers:
        speeds.learn(at, first_s, total_s, prompt, answer)
    speeds.refresh(at)
    return speeds


def test_nothing_is_expected_where_nothing_was_seen() -> None:
    speeds = Speeds()
    speeds.refresh(0.0)
    assert speeds.work_s(Prompt(tokens=100)) is None
    assert speeds.usual_s(NO_PROMPT) is None
    assert speeds.kept() == Kept(answer=USUAL_ANSWER)


def test_a_stream_tells_how_fast_a_prompt_is_read_and_an_answer_written() -> None:
    speeds = learned((2.0, 12.0, 1_000, 101))
    assert speeds.read_s == pytest.approx(0.002)
    assert speeds.write_s == pytest.approx(0.1)
    assert speeds.begin_s is None
    assert speeds.work_s(Prompt(tokens=2_000, answer_tokens=10)) == pytest.approx(4.0 + 1.0)
    assert speeds.work_s(Prompt(tokens=2_000, answer_tokens=10), is_home=True) == pytest.approx(0.8 + 1.0)


def test_a_short_prompt_tells_how_long_any_answer_takes_to_begin() -> None:
    speeds = learned((0.5, 0.5, 10, 3))
    assert (speeds.begin_s, speeds.read_s, speeds.write_s) == (0.5, None, None)
    assert speeds.work_s(NO_PROMPT) == 0.5


def test_an_answer_in_one_piece_tells_how_fast_it_was_written() -> None:
    assert learned((4.0, 4.0, 1_000, 40)).write_s == pytest.approx(0.1)


def test_what_the_cache_or_the_loading_took_is_no_speed_of_the_prompt() -> None:
    speeds = learned((0.5, 0.5, 10, 3))
    speeds.learn(0.0, 0.1, 5.0, 8_000, 0, is_cached=True)
    speeds.learn(0.0, 20.5, 20.5, 10, 3, is_cold=True)
    speeds.refresh(0.0)
    assert speeds.read_s is None
    assert speeds.load_s == pytest.approx(20.0)


def test_what_the_engine_measured_counts_instead() -> None:
    speeds = Speeds()
    speeds.learn_timings(0.0, (500, 1.0), (100, 2.0))
    speeds.learn(0.0, 9.0, 9.0, 500, 100, is_timed=True)
    speeds.refresh(0.0)
    assert (speeds.read_s, speeds.write_s, speeds.begin_s) == (0.002, 0.02, None)


def test_a_slow_place_is_noticed_after_few_answers_and_tried_again_after_a_while() -> None:
    pace = Pace()
    for number in range(KEPT):
        pace.add(1.0, float(number))
    assert pace.at(10.0) == 1.0
    seen = []
    for number in range(10):
        pace.add(5.0, 10.0 + number)
        seen.append(pace.at(10.0 + number))
    assert seen.index(5.0) < KEPT
    assert pace.at(20.0 + FRESH_S) == 1.0, "what is usual"
    for number in range(ENOUGH):
        pace.add(5.0, 300.0 + number)
    assert pace.at(303.0) == 5.0


def test_a_place_at_half_its_speed_says_since_when() -> None:
    speeds = learned(*[(0.5, 0.5, 10, 3)] * KEPT)
    for number in range(KEPT):
        speeds.learn(10.0 + number, 1.5, 1.5, 10, 3)
        speeds.refresh(10.0 + number)
    assert speeds.slow_since == pytest.approx(14.0)
    for _ in range(KEPT):
        speeds.learn(30.0, 0.5, 0.5, 10, 3)
    speeds.refresh(30.0)
    assert speeds.slow_since is None


def busy() -> Speeds:
    """An engine that begins after 0.1 s and writes for ten seconds."""
    return learned(*[(0.1, 10.0, 10, 100)] * KEPT)


def test_slots_are_learned_from_first_bytes_that_waited() -> None:
    speeds = busy()
    for _ in range(2):
        speeds.learn_slots(0.0, 4, 9.0, 10)
    assert [speeds.learned_slots] == [None], "two may be chance"
    speeds.learn_slots(0.0, 4, 9.0, 10)
    assert [speeds.learned_slots] == [4]
    speeds.learn_slots(0.0, 5, 0.1, 10)
    speeds.refresh(0.0)
    assert [speeds.learned_slots] == [None], "one more was answered at once"


def test_an_engine_that_only_slows_down_has_no_slots() -> None:
    speeds = busy()
    for _ in range(10):
        speeds.learn_slots(0.0, 4, 1.0, 10)
    assert speeds.learned_slots is None


def test_learned_slots_are_tested_again() -> None:
    speeds = busy()
    for _ in range(3):
        speeds.learn_slots(0.0, 1, 9.0, 10)
    speeds.refresh(SLOTS_KEPT_S - 1)
    assert speeds.learned_slots == 1
    speeds.refresh(SLOTS_KEPT_S)
    assert speeds.learned_slots is None


def test_the_usual_speed_outlives_a_restart() -> None:
    speeds = learned(*[(0.5, 3.5, 10, 31)] * KEPT)
    again = Speeds(speeds.kept())
    again.refresh(0.0)
    assert again.work_s(NO_PROMPT) == pytest.approx(speeds.work_s(NO_PROMPT), rel=0.01)


@given(
    st.lists(
        st.tuples(st.floats(-1, 10_000), st.floats(-1, 10_000), st.integers(0, 10**6), st.integers(0, 10**6)),
        max_size=30,
    ),
    st.integers(0, 10**6),
)
def test_whatever_answers_say_no_time_is_negative_or_without_end(
    answers: list[tuple[float, float, int, int]], tokens: int
) -> None:
    speeds = Speeds()
    for number, (first_s, total_s, prompt, answer) in enumerate(answers):
        now = number * USUAL_EVERY_S / 3
        speeds.learn(now, first_s, total_s, prompt, answer)
        speeds.learn_slots(now, answer % 80, first_s, prompt)
        speeds.refresh(now)
        work_s = speeds.work_s(Prompt(tokens=tokens))
        assert work_s is None or 0 <= work_s < float("inf")


def test_answers_beside_others_take_longer_at_one_engine_and_not_behind_many() -> None:
    speeds = Speeds()
    assert speeds.slower_by(0) == speeds.slower_by(1) == 1.0
    assert 1.0 < speeds.slower_by(4) < speeds.slower_by(1_000)
    speeds.is_one_engine = False
    assert speeds.slower_by(4) == 1.0
