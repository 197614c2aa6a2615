"""The reason for a choice is said in words that need no documentation."""

from typing import get_args

import pytest

from meshlight.domain.choice import RouteFacts, Step
from meshlight.domain.choice_words import seconds_text, tokens_text, why_first, why_later

WARM = RouteFacts(loaded=True, slots=2, in_flight=1, context=131_072, work_s=2.5)
COLD = RouteFacts(loaded=False, slots=2, in_flight=2, context=8_000, work_s=2.5, wait_s=10.0, load_s=20.0)


@pytest.mark.parametrize(
    ("step", "first", "later"),
    [
        ("rule", "preferred by the rule", "less preferred by the rule"),
        ("context", "its context of 128k holds the prompt", "its context of 8k is too small"),
        ("slot", "cellar is full", "it is full"),
        ("ring", "nearest", "farther away"),
        ("conversation", "same conversation", "the conversation was not here"),
        ("loaded", "warm here", "it has to load the model"),
        ("waiting", "fewest requests (1)", "more requests (2)"),
        ("busy", "fewest requests (1)", "more requests (2)"),
        ("time", "expected in 2.5 s", "expected in 32 s"),
    ],
)
def test_each_step_has_its_words(step: Step, first: str, later: str) -> None:
    assert why_first(step, WARM, COLD, "cellar") == first
    assert why_later(step, COLD) == later


def test_a_place_that_counts_as_full_because_it_would_load_is_not_said_to_be_full() -> None:
    cold = RouteFacts(loaded=False)
    assert why_first("slot", WARM, cold, "cellar") == "warm here"
    assert why_later("slot", cold) == "it has to load the model"


def test_a_context_that_is_not_known_is_not_said_to_hold_the_prompt() -> None:
    said = why_first("context", RouteFacts(), COLD, "cellar")
    assert said == "may hold the prompt: its context is not known"


def test_without_an_expectation_the_probes_decide() -> None:
    assert why_first("latency", RouteFacts(), RouteFacts(), "b") == "lower latency"
    assert why_later("latency", RouteFacts()) == "higher latency"


def test_no_step_is_without_words() -> None:
    for step in get_args(Step):
        assert why_first(step, RouteFacts(), RouteFacts(), "b")
        assert why_later(step, RouteFacts())


def test_sizes_and_times_are_written_as_people_do() -> None:
    assert [tokens_text(n) for n in (None, 512, 8_192, 128_000, 131_072)] == [
        "unknown size",
        "512",
        "8k",
        "128k",
        "128k",
    ]
    assert [seconds_text(s) for s in (0.25, 3.0, 12.4)] == ["0.2 s", "3.0 s", "12 s"]


@pytest.mark.parametrize("step", ["slot", "loaded"])
def test_a_place_that_loads_first_is_never_called_warm(step: Step) -> None:
    cold = RouteFacts(loaded=False)
    assert why_first(step, cold, cold, "cellar") == "done sooner, though it loads first"
