"""Health follows from facts: it never flaps on a single lost packet, and always says why."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.backend import RINGS, Reason, Ring
from meshlight.domain.health import (
    EJECT_MAX_S,
    Answered,
    Broke,
    Fact,
    Failed,
    Health,
    Limited,
    Loading,
    Refused,
    Served,
    Unreached,
    observe,
    probe_delay_s,
)

REFUSED = Reason("refused", "Connection refused at 127.0.0.1:8080 — is llama.cpp running?", "Start it.")
LOADING = Reason("loading", "llama.cpp is loading a model.", "Wait.")
ERROR = Reason("server-error", "It answers with an error (500).", "Look at its log.")


def after(*facts: Fact, start: Health | None = None, ring: Ring = "machine", step_s: float = 1.0) -> Health:
    health = start or Health()
    for place, fact in enumerate(facts):
        health = observe(health, fact, (place + 1) * step_s, ring)
    return health


def test_the_first_result_decides() -> None:
    assert after(Answered()).state == "healthy"
    assert after(Failed(REFUSED)).state == "unhealthy"
    assert after(Loading(LOADING)).state == "warming"


def test_one_bad_probe_of_a_healthy_backend_changes_nothing_and_two_take_it_down() -> None:
    assert after(Answered(), Failed(REFUSED)).state == "healthy"
    down = after(Answered(), Failed(REFUSED), Failed(REFUSED))
    assert (down.state, down.reason, down.since) == ("unhealthy", REFUSED, 3.0)


@pytest.mark.parametrize("ring", ["lan", "company", "cloud"])
def test_a_remote_backend_falls_at_the_third_bad_probe(ring: Ring) -> None:
    bad = Failed(REFUSED)
    assert after(Answered(), bad, bad, ring=ring).state == "healthy"
    assert after(Answered(), bad, bad, bad, ring=ring).state == "unhealthy"


def test_a_fallen_backend_rises_at_the_second_good_probe() -> None:
    fallen = after(Failed(REFUSED))
    once = after(Answered(), start=fallen)
    assert once.state == "unhealthy"
    assert once.reason == REFUSED
    assert after(Answered(), start=once).state == "healthy"


def test_a_loading_backend_is_healthy_as_soon_as_it_says_so() -> None:
    assert after(Loading(LOADING), Answered()).state == "healthy"


def test_loading_for_five_minutes_is_a_fault() -> None:
    stuck = after(*[Loading(LOADING)] * 400)
    assert (stuck.state, stuck.reason.code) == ("unhealthy", "loading-too-long")
    assert after(Loading(LOADING), start=stuck).reason.code == "loading-too-long"


def test_a_refused_key_is_certain_at_once_and_asked_again_once_a_minute() -> None:
    refused = after(Answered(), Refused(Reason("unauthorized", "It refuses the API key (401).")))
    assert refused.state == "unhealthy"
    assert probe_delay_s(refused, "machine", 2.0) == 60.0


def test_a_rate_limit_holds_until_the_time_the_server_named() -> None:
    limited = after(Answered(), Limited(Reason("rate-limited", "Too many requests."), 20.0))
    assert probe_delay_s(limited, "cloud", 2.0) == 20.0
    assert observe(limited, Answered(), 10.0, "cloud").state == "unhealthy"
    assert after(Answered(), Answered(), start=limited, step_s=30.0).state == "healthy"


def test_one_refused_connection_of_a_request_demotes_at_once() -> None:
    assert after(Answered(), Unreached(REFUSED)).state == "unhealthy"


def test_three_failed_requests_in_a_row_eject_for_longer_each_time() -> None:
    twice = after(Answered(), Broke(ERROR), Broke(ERROR))
    assert twice.state == "healthy"
    first = after(Broke(ERROR), start=twice)
    assert first.reason.code == "failing-requests"
    assert first.held_until == 1.0 + 30.0
    assert after(Answered(), start=first).state == "unhealthy"
    again = after(Answered(), Answered(), Broke(ERROR), Broke(ERROR), Broke(ERROR), start=first, step_s=40.0)
    assert again.held_until - 5 * 40.0 == 60.0


def test_one_that_is_seen_to_be_down_is_back_as_soon_as_it_is_seen_to_be_up() -> None:
    ejected = after(Answered(), Broke(ERROR), Broke(ERROR), Broke(ERROR))
    dead = after(Failed(REFUSED), start=ejected)
    assert dead.state == "unhealthy"
    assert after(Answered(), Answered(), start=dead).state == "healthy"


def test_a_served_request_forgives_earlier_failures() -> None:
    health = after(Answered(), Broke(ERROR), Broke(ERROR), Served(), Broke(ERROR), Broke(ERROR))
    assert health.state == "healthy"


def test_the_latency_shown_is_the_median_of_the_last_five() -> None:
    health = after(*[Answered(ms / 1000) for ms in (900, 10, 12, 11, 500, 13)])
    assert health.latency_s == 0.012


@pytest.mark.parametrize(
    ("health", "ring", "delay_s"),
    [
        (after(Answered()), "machine", 5.0),
        (after(Answered()), "cloud", 60.0),
        (after(Answered(), Failed(REFUSED)), "machine", 1.0),
        (after(Failed(REFUSED), Answered()), "lan", 1.0),
        (after(Loading(LOADING)), "machine", 1.0),
        (after(*[Failed(REFUSED)] * 9), "lan", 5.0),
        (after(*[Failed(REFUSED)] * 3), "company", 5.0),
        (after(*[Failed(REFUSED)] * 5), "company", 20.0),
        (after(*[Failed(REFUSED)] * 40), "company", 60.0),
    ],
)
def test_the_next_probe_comes_when_it_can_tell_something_new(
    health: Health, ring: Ring, delay_s: float
) -> None:
    assert probe_delay_s(health, ring, 100.0) == delay_s


FACTS = st.sampled_from(
    [
        Answered(0.01),
        Answered(),
        Failed(REFUSED),
        Loading(LOADING),
        Served(),
        Unreached(REFUSED),
        Broke(ERROR),
    ]
)


@given(st.lists(FACTS, max_size=60), st.sampled_from(RINGS))
def test_whatever_happens_the_reason_fits_the_state(facts: list[Fact], ring: Ring) -> None:
    health = after(*facts, ring=ring)
    assert (health.state == "healthy") == (health.reason.code == "ok")
    assert health.reason.text
    assert len(health.latencies) <= 5
    assert health.held_until <= len(facts) + EJECT_MAX_S


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_health_never_flaps(results: list[bool]) -> None:
    """Two changes of state never follow each other at neighbouring probes, but for the very first."""
    health, changes = Health(), []
    for place, good in enumerate(results):
        old, health = health, observe(health, Answered() if good else Failed(REFUSED), place, "machine")
        if old.state != health.state:
            changes.append(place)
    assert all(later - earlier >= 2 for earlier, later in pairwise(changes))
