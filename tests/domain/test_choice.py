"""The choice among routes: step by step, and the same for the same facts."""

from collections.abc import Callable, Mapping
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshlight.domain.choice import (
    NO_PROMPT,
    STEPS,
    Prompt,
    RouteFacts,
    Step,
    as_told,
    best,
    deciding_step,
    fits,
    may_begin,
    needed,
    places,
    worth_taking,
)
from meshlight.domain.rules import Policy

POLICIES: tuple[Policy, ...] = get_args(Policy)


def first(policy: Policy, *routes: RouteFacts, prompt: Prompt = NO_PROMPT) -> tuple[int, Step]:
    """Return the number of the first route, and the step that decided it."""
    found = places(policy, list(routes), prompt)
    ordered = sorted(found)
    return found.index(ordered[0]), deciding_step(policy, ordered[0], ordered[1])


def route(**facts: object) -> RouteFacts:
    return RouteFacts(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("better", "worse", "step"),
    [
        (route(ring=3, preference=0), route(preference=1), "rule"),
        (route(ring=1, context=8_000), route(context=4_000), "context"),
        (route(ring=1, slots=4, in_flight=3), route(slots=4, in_flight=4), "slot"),
        (route(ring=0, in_flight=9), route(ring=1), "ring"),
        (route(is_home=True, in_flight=2), route(loaded=True), "conversation"),
        (route(loaded=True, in_flight=2), route(loaded=False), "loaded"),
        (route(loaded=None, in_flight=2), route(loaded=False), "loaded"),
        (route(in_flight=1, latency_s=1.0), route(in_flight=2, latency_s=0.1), "waiting"),
        (route(slots=12, in_flight=3, work_s=1.0), route(slots=1, work_s=1.9), "time"),
        (route(loaded=False, load_s=9.0, work_s=1.0), route(slots=1, work_s=21.0), "time"),
        (route(work_s=1.0, latency_s=1.0), route(work_s=1.5, latency_s=0.1), "time"),
        (route(slots=4, latency_s=1.0), route(slots=4, in_flight=1, latency_s=0.1), "busy"),
        (route(latency_s=0.1), route(work_s=0.01, latency_s=0.2), "latency"),
        (route(turn=0), route(turn=1), "turn"),
    ],
)
def test_the_nearest_goes_first_unless_something_that_matters_more_differs(
    better: RouteFacts, worse: RouteFacts, step: Step
) -> None:
    prompt = Prompt(tokens=5_000, answer_tokens=1_000)
    assert first("local-first", better, worse, prompt=prompt) == (0, step)
    assert first("local-first", worse, better, prompt=prompt) == (1, step)


def test_a_cold_model_waits_for_nobody_but_is_not_loaded_where_a_warm_one_is_done_sooner() -> None:
    cold = route(loaded=False, load_s=20.0, work_s=2.0)
    busy = route(loaded=True, slots=1, in_flight=1, wait_s=5.0, work_s=2.0)
    assert first("local-first", cold, busy) == (1, "loaded")
    busy = route(loaded=True, slots=1, in_flight=1, wait_s=60.0, work_s=2.0)
    assert first("local-first", cold, busy) == (0, "slot")


def test_a_cold_model_of_a_known_speed_is_not_loaded_while_one_of_an_unknown_speed_is_warm() -> None:
    cold = route(loaded=False, load_s=4.0, work_s=2.0, latency_s=0.001)
    warm = route(loaded=True, latency_s=0.002)
    for policy in ("local-first", "priority", "least-busy"):
        assert first(policy, cold, warm) == (1, "loaded")
    full = route(loaded=True, latency_s=0.002, slots=1, in_flight=1)
    assert first("local-first", cold, full) == (0, "slot")


def test_no_prompt_goes_to_a_cloud_because_a_nearer_model_is_cold() -> None:
    cold = route(loaded=False, load_s=20.0, work_s=2.0)
    assert first("local-first", cold, route(ring=2, work_s=2.0)) == (1, "slot")
    assert first("local-first", cold, route(ring=3, work_s=2.0)) == (0, "ring")


def test_a_busy_place_without_known_slots_counts_as_full_while_it_takes_twice_as_long() -> None:
    cold = route(ring=1, loaded=False, load_s=20.0, work_s=2.0)
    assert first("local-first", route(in_flight=9, work_s=60.0), cold) == (1, "slot")
    assert first("local-first", route(in_flight=9, work_s=20.0), cold) == (0, "slot")
    assert first("local-first", route(in_flight=0, work_s=60.0), cold) == (0, "ring")


def test_a_request_waits_for_a_warm_model_where_that_is_sooner_than_loading_a_cold_one() -> None:
    cold = route(loaded=False, load_s=20.0, work_s=2.0)
    full = route(loaded=True, slots=1, in_flight=1, wait_s=5.0, work_s=2.0)
    assert may_begin([cold, full]) == [False, False]
    assert may_begin([cold, route(loaded=True, slots=1, in_flight=1, wait_s=50.0, work_s=2.0)]) == [
        True,
        False,
    ]
    small, large = route(context=1_000), route(context=9_000, slots=1, in_flight=1)
    assert may_begin([small, large], Prompt(tokens=5_000)) == [False, False]
    assert may_begin([small, large], Prompt(tokens=500, answer_tokens=5_000)) == [True, False]
    assert may_begin([small], Prompt(tokens=5_000)) == [True]


def test_worth_waiting_for_is_what_is_full_and_not_what_is_done_later() -> None:
    cold = route(loaded=False, load_s=20.0, work_s=2.0)
    full = route(loaded=True, slots=1, in_flight=1, wait_s=5.0, work_s=2.0)
    busy = route(in_flight=9, work_s=30.0)
    assert worth_taking([cold, full, busy]) == [False, True, False]
    assert worth_taking([cold, busy]) == [True, True]
    small, large = route(context=1_000, slots=1, in_flight=1), route(context=9_000, slots=1, in_flight=1)
    assert worth_taking([small, large], Prompt(tokens=5_000)) == [False, True]


def test_nobody_waits_for_an_account_that_is_used_up_or_sends_there_instead_of_waiting() -> None:
    full, held = route(slots=1, in_flight=1), route(ring=3, held_s=9.0)
    assert worth_taking([full, held]) == [True, False]
    assert worth_taking([held, held]) == [True, True]
    assert first("local-first", held, route(ring=4, loaded=False)) == (1, "slot")
    assert route(held_s=9.0, work_s=1.0).finish_s() == 10.0


def test_what_is_not_known_excludes_nothing() -> None:
    assert fits(route(), Prompt(tokens=10**9))
    assert not route(in_flight=100).is_full
    assert not route().must_load
    assert route(work_s=1.0, loaded=False).finish_s() is None


FACTS = st.builds(
    RouteFacts,
    preference=st.integers(0, 2),
    ring=st.integers(0, 3),
    priority=st.integers(-1, 1),
    turn=st.integers(0, 3),
    in_flight=st.integers(0, 5),
    slots=st.none() | st.integers(1, 4),
    loaded=st.sampled_from([None, True, False]),
    context=st.sampled_from([None, 2_048, 8_192]),
    is_home=st.booleans(),
    latency_s=st.none() | st.floats(0.001, 1),
    load_s=st.none() | st.floats(0, 60),
    wait_s=st.none() | st.floats(0, 60),
    work_s=st.none() | st.floats(0, 60),
    held_s=st.just(0.0) | st.floats(0, 60),
)
PROMPTS = st.builds(Prompt, tokens=st.integers(0, 10_000), answer_tokens=st.integers(0, 4_000))


@given(st.sampled_from(POLICIES), st.lists(FACTS, min_size=2, max_size=6), PROMPTS, st.randoms())
def test_the_order_is_total_and_does_not_depend_on_the_order_of_the_routes(
    policy: Policy, routes: list[RouteFacts], prompt: Prompt, random: object
) -> None:
    keys = sorted(place.key for place in places(policy, routes, prompt))
    shuffled = list(routes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(place.key for place in places(policy, shuffled, prompt)) == keys
    assert all(len(key) == len(STEPS[policy]) for key in keys)


@given(st.sampled_from(POLICIES), st.lists(FACTS, min_size=2, max_size=6), PROMPTS)
def test_the_step_that_is_named_is_the_one_that_decided(
    policy: Policy, routes: list[RouteFacts], prompt: Prompt
) -> None:
    best, second, *_ = sorted(places(policy, routes, prompt))
    at = STEPS[policy].index(deciding_step(policy, best, second))
    assert best.key[:at] == second.key[:at]
    assert best.key[at] < second.key[at] or best.key == second.key


@given(st.lists(FACTS, min_size=2, max_size=6), PROMPTS)
def test_a_full_place_is_never_first_while_one_that_fits_is_free(
    routes: list[RouteFacts], prompt: Prompt
) -> None:
    same = [r for r in routes if r.preference == 0]
    best = min(places("local-first", routes, prompt)).facts
    if best.is_full and best.preference == 0:
        free = [r for r in same if fits(r, prompt) and not r.is_full and not r.must_load]
        assert all(r.slots is None and r.in_flight for r in free)  # they count as full if they take too long


BETTER: tuple[Callable[[RouteFacts], Mapping[str, object]], ...] = (
    lambda _: {"preference": 0},
    lambda route: {"ring": max(route.ring - 1, 0)},
    lambda route: {"priority": route.priority - 1},
    lambda _: {"turn": -1},
    lambda route: {"in_flight": max(route.in_flight - 1, 0)},
    lambda route: {"slots": None if route.slots is None else route.slots + 1},
    lambda route: {"context": route.context and 2 * route.context},
    lambda _: {"is_home": True},
    lambda route: {"latency_s": route.latency_s and route.latency_s / 2},
    lambda route: {"work_s": route.work_s and route.work_s / 2},
    lambda route: {"load_s": route.load_s and route.load_s / 2},
    lambda route: {"wait_s": route.wait_s and route.wait_s / 2},
    lambda route: {"held_s": route.held_s / 2},
)
"""What makes a route better, and nothing else of it worse."""


@given(st.sampled_from(POLICIES), st.lists(FACTS, min_size=2, max_size=6), PROMPTS, st.sampled_from(BETTER))
def test_what_makes_the_first_route_better_never_puts_it_behind(
    policy: Policy,
    routes: list[RouteFacts],
    prompt: Prompt,
    better: Callable[[RouteFacts], Mapping[str, object]],
) -> None:
    found = places(policy, routes, prompt)
    first = found.index(min(found))
    changed = [*routes[:first], replace(routes[first], **better(routes[first])), *routes[first + 1 :]]
    again = places(policy, changed, prompt)
    assert again[first].key == min(again).key


@given(st.sampled_from(POLICIES), st.lists(FACTS, min_size=1, max_size=6), PROMPTS)
def test_the_best_is_found_without_putting_all_in_order(
    policy: Policy, routes: list[RouteFacts], prompt: Prompt
) -> None:
    found = places(policy, routes, prompt)
    order = sorted(range(len(routes)), key=lambda at: (found[at].key, at))
    for steps in (STEPS[policy], needed(STEPS[policy], routes)):
        chosen = best(steps, routes, prompt)
        assert found[chosen.first].key == found[order[0]].key
        assert chosen.first == order[0]
        if len(routes) > 1:
            assert (
                found[chosen.second].key[: STEPS[policy].index(chosen.step)]
                == (found[chosen.first].key[: STEPS[policy].index(chosen.step)])
            )
            assert chosen.step == deciding_step(policy, found[chosen.first], found[chosen.second])


@pytest.mark.parametrize(
    ("full", "told"),
    [
        (route(slots=1, in_flight=1, latency_s=0.1), (0, "slot")),
        (route(slots=1, in_flight=1, held_s=9.0, latency_s=0.1), (0, "slot")),
        (route(slots=1, in_flight=1, latency_s=0.9), (2, "latency")),
        (route(slots=1, in_flight=1, latency_s=0.1, ring=1), (2, "latency")),
        (route(slots=4, in_flight=4, latency_s=0.1), (2, "latency")),
        (route(slots=4, in_flight=3, latency_s=0.1), (2, "latency")),
    ],
)
def test_a_full_place_is_told_where_it_would_be_first_with_a_free_slot(
    full: RouteFacts, told: tuple[int, Step]
) -> None:
    """Two others are left, between which the latency decides."""
    routes = [full, route(slots=1, latency_s=0.2), route(slots=1, latency_s=0.3)]
    steps = STEPS["local-first"]
    found = as_told(best(steps, routes), steps, routes)
    assert (found.first, found.second, found.step) == (1, *told)


def test_times_are_worked_out_only_where_they_decide() -> None:
    called: list[None] = []
    warm, cold = route(loaded=True), route(loaded=False)
    best(
        STEPS["local-first"],
        [route(is_home=True, slots=2), route(slots=2)],
        NO_PROMPT,
        lambda: called.append(None),
    )
    assert not called
    best(STEPS["local-first"], [warm, cold], NO_PROMPT, lambda: called.append(None))
    assert len(called) == 1
