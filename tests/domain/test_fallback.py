"""Which other model answers while no route of the requested one is usable."""

from typing import Any

import pytest

from fake_clock import backend
from meshlight.domain.backend import Reason
from meshlight.domain.fallback import alternatives, with_fallback
from meshlight.domain.health import Health
from meshlight.domain.routing import Ranking, listed, rank, resolve
from meshlight.domain.rules import Routing, Rule
from meshlight.domain.snapshot import Node, Snapshot, index

UP = Health(state="healthy", reason=Reason("ok", "Answers."))
DOWN = Health(state="unhealthy", reason=Reason("unreachable", "Connection refused."))


def mesh(routing: Routing, **models: Any) -> Snapshot:
    """`a=(UP, "m")` is a backend of that health with those models."""
    nodes = {
        name: Node(backend=backend(name), health=health, models=tuple(ids))
        for name, (health, *ids) in models.items()
    }
    return Snapshot(nodes=nodes, routes=index(nodes), routing=routing)


def ranked(snapshot: Snapshot, name: str) -> Ranking:
    def rank_one(other: str) -> Ranking:
        return rank(snapshot, other, {}, now=0.0)

    return with_fallback(snapshot, rank_one(name), rank_one)


def ruled(*fallback: str, model: str = "m") -> Routing:
    return Routing(rules=(Rule(model=model, fallback=fallback),))


def test_nothing_is_tried_that_nobody_wrote_down() -> None:
    snapshot = mesh(Routing(), a=(DOWN, "m"), b=(UP, "n"))
    assert alternatives(snapshot, "m") == ()
    found = ranked(snapshot, "m")
    assert (found.model, found.fallback) == ("m", "")


def test_the_rules_fallback_answers_only_while_the_model_is_down() -> None:
    found = ranked(mesh(ruled("gone", "n"), a=(DOWN, "m"), b=(UP, "n")), "m")
    assert (found.asked, found.model, found.fallback) == ("m", "n", "m is down")
    assert [score.fallback for score in found.scores] == ["m is down"]
    found = ranked(mesh(ruled("n"), a=(UP, "m"), b=(UP, "n")), "m")
    assert (found.model, found.fallback) == ("m", "")


def test_without_a_usable_fallback_the_model_itself_is_the_last_resort() -> None:
    found = ranked(mesh(ruled("n"), a=(DOWN, "m"), b=(DOWN, "n")), "m")
    assert (found.model, found.fallback, len(found.candidates)) == ("m", "", 1)


def test_the_reason_says_whether_it_is_down_forbidden_or_gone() -> None:
    snapshot = mesh(ruled("n", model="*"), b=(UP, "n"))
    assert ranked(snapshot, "m").fallback == "m is not served"
    rules = (Rule(model="m", pin=("elsewhere",), fallback=("n",)),)
    snapshot = mesh(Routing(rules=rules), a=(UP, "m"), b=(UP, "n"))
    assert ranked(snapshot, "m").fallback == "m may not be used"
    snapshot = mesh(ruled("n", model="*"), a=(DOWN, "/home/u/m.gguf"), b=(UP, "n"))
    assert ranked(snapshot, "/home/u/m.gguf").fallback == "m.gguf is down"


def test_the_fallbacks_of_a_fallback_are_not_followed() -> None:
    rules = (Rule(model="m", fallback=("n",)), Rule(model="n", fallback=("o",)))
    found = ranked(mesh(Routing(rules=rules), a=(DOWN, "m"), b=(DOWN, "n"), c=(UP, "o")), "m")
    assert found.model == "m"


def test_a_backend_that_is_asked_for_by_name_has_no_fallback() -> None:
    snapshot = mesh(ruled("n"), a=(DOWN, "m"), b=(UP, "n"))
    assert alternatives(snapshot, "a/m") == ()


@pytest.mark.parametrize("alias", ["best", "be*", "?es[t]"])
def test_the_first_usable_model_of_a_list_answers(alias: str) -> None:
    routing = Routing(aliases={alias: ("gone", "m", "n")})
    assert resolve(mesh(routing, a=(UP, "m"), b=(UP, "n")), "best")[0] == "m"
    found = ranked(mesh(routing, a=(UP, "m"), b=(UP, "n")), "best")
    assert (found.model, found.fallback) == ("m", "")
    found = ranked(mesh(routing, a=(DOWN, "m"), b=(UP, "n")), "best")
    assert (found.asked, found.model, found.fallback) == ("best", "n", "m is down")


def test_a_pattern_is_for_names_that_nothing_else_stands_for() -> None:
    routing = Routing(aliases={"claude-exact": "n", "claude-*": "m", "*": "n"})
    snapshot = mesh(routing, a=(UP, "m"), b=(UP, "n", "claude-real"))
    names = ["claude-other", "claude-real", "claude-exact", "b/claude-real", "m", "anything"]
    assert [resolve(snapshot, name)[0] for name in names] == [
        "m",
        "claude-real",
        "n",
        "claude-real",
        "m",
        "n",
    ]
    assert not [name for name in listed(snapshot) if "*" in name]


def test_a_pattern_may_name_a_backend() -> None:
    snapshot = mesh(Routing(aliases={"gpt-*": ("b/m", "n")}), a=(UP, "m"), b=(UP, "m"), c=(UP, "n"))
    assert resolve(snapshot, "gpt-5") == ("m", ("b",))
    assert alternatives(snapshot, "gpt-5") == ("n",)
