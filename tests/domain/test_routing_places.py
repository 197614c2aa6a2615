"""Routes to places behind one backend: ranked by their own health and load, taking turns where they are alike."""

import pytest

from fake_clock import backend
from meshlight.domain.backend import OK, Reason
from meshlight.domain.health import (
    EJECT_S,
    FAILURES_TO_EJECT,
    Answered,
    Broke,
    Failed,
    Health,
    Limited,
    Refused,
    Served,
    Unreached,
    observe_part,
)
from meshlight.domain.routing import Ranking, rank
from meshlight.domain.rules import Policy, Routing
from meshlight.domain.snapshot import Node, Snapshot, index

WHY = Reason("unreachable", "Nothing answers.")
UP = Health(state="healthy", reason=OK)
DOWN = Health(state="unhealthy", reason=WHY)


def mesh(health: Health = UP, policy: Policy = "local-first", **parts: Health) -> Snapshot:
    campus = Node(
        backend=backend("campus", ring="company"),
        health=health,
        models=("m", "n"),
        places={"m": ("x", "y", "z"), "n": ("z",)},
        parts=parts,
    )
    nodes = {"campus": campus}
    return Snapshot(nodes=nodes, routes=index(nodes), routing=Routing(policy=policy))


def order(found: Ranking) -> list[str]:
    return [score.place for score in found.scores]


def tiers(found: Ranking) -> dict[str, str]:
    return {score.place: score.tier for score in found.scores}


@pytest.mark.parametrize("policy", ["local-first", "priority", "least-busy", "fastest", "round-robin"])
def test_places_that_are_alike_take_turns(policy: Policy) -> None:
    first = [order(rank(mesh(policy=policy), "m", {}, 0.0, turn))[0] for turn in range(6)]
    assert first == ["x", "y", "z"] * 2
    assert order(rank(mesh(), "n", {}, 0.0)) == ["z"]


def test_the_least_busy_goes_first() -> None:
    load = {"campus": 5, "campus/x": 3, "campus/y": 2}
    assert order(rank(mesh(), "m", load, 0.0)) == ["z", "y", "x"]


def test_a_place_that_is_down_is_the_last_resort_and_says_why() -> None:
    found = rank(mesh(x=DOWN), "m", {}, 0.0)
    assert tiers(found) == {"y": "ready", "z": "ready", "x": "last-resort"}
    assert found.scores[-1].why == "x: Nothing answers."


def test_what_probes_say_of_the_backend_is_not_said_of_its_places() -> None:
    found = rank(mesh(DOWN, x=DOWN), "m", {}, 0.0)
    assert tiers(found) == {"y": "untried", "z": "untried", "x": "last-resort"}


def test_a_pause_ends() -> None:
    part: Health = UP
    for _ in range(FAILURES_TO_EJECT):
        part = observe_part(part, Broke(WHY), 10.0, "company")
    assert tiers(rank(mesh(x=part), "m", {}, 10.0 + EJECT_S - 1))["x"] == "last-resort"
    assert tiers(rank(mesh(x=part), "m", {}, 10.0 + EJECT_S))["x"] == "untried"
    assert observe_part(part, Answered(), 11.0, "company") == part
    assert observe_part(part, Answered(), 10.0 + EJECT_S, "company").is_spotless


@pytest.mark.parametrize("fact", [Unreached(WHY), Refused(WHY), Limited(WHY, 0.0)])
def test_one_good_look_is_enough_to_trust_a_part_again(fact: Unreached | Refused | Limited) -> None:
    part = observe_part(UP, fact, 0.0, "company")
    assert part.state == "unhealthy"
    for good in (Answered(), Served()):
        assert observe_part(part, good, 1.0, "company").is_spotless


def test_one_bad_look_is_not_enough_to_give_a_part_up() -> None:
    part = observe_part(UP, Failed(WHY), 0.0, "company")
    assert (part.state, part.is_spotless) == ("healthy", False)
    assert observe_part(part, Answered(), 1.0, "company").is_spotless


def test_a_good_look_takes_nothing_back_of_failed_requests() -> None:
    part = observe_part(UP, Broke(WHY), 0.0, "company")
    assert observe_part(part, Answered(), 1.0, "company") == part
    assert observe_part(part, Served(), 1.0, "company").is_spotless
