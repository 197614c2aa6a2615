"""A ranked route."""

from meshlight.domain.route_score import RouteScore


def test_a_changed_one_differs_in_that_alone() -> None:
    score = RouteScore(backend="a", model="m", tier="ready", why="Healthy.", place="p")
    changed = score.changed(why="It is down.", tier="excluded")
    assert (score.why, score.tier, changed.why, changed.tier) == (
        "Healthy.",
        "ready",
        "It is down.",
        "excluded",
    )
    assert (changed.backend, changed.model, changed.place) == ("a", "m", "p")
    assert changed.facts is score.facts
