"""The last hour can be told: nothing is sampled, and what is kept is bounded."""

import json

import msgspec

from fake_clock import Clock, backend
from meshlight.domain.backend import Reason
from meshlight.domain.health import Answered, Unreached
from meshlight.mesh.history import INCIDENTS, STEPS, History
from meshlight.mesh.registry import Registry

DOWN = Reason("refused", "Connection refused.")


def test_the_steps_between_two_changes_follow_from_the_first() -> None:
    clock = Clock()
    registry = Registry(clock)
    history = History(registry, clock)
    registry.put(backend("a"))
    clock.pass_time(5)
    registry.record_fact("a", Answered(0.010))
    clock.pass_time(15)
    registry.record_fact("a", Unreached(DOWN))
    clock.pass_time(5)
    track = history.past().backends["a"]
    assert track.states == ("unknown", "healthy", "healthy", "healthy", "unhealthy", "unhealthy")
    assert track.latency_ms == (None, 10.0, 10.0, 10.0, 10.0, 10.0)


def test_a_switched_off_backend_is_told_as_disabled() -> None:
    clock = Clock()
    registry = Registry(clock)
    history = History(registry, clock)
    registry.put(backend("a"))
    clock.pass_time(5)
    registry.put(backend("a", enabled=False))
    assert history.past().backends["a"].states == ("unknown", "disabled")


def test_incidents_have_their_age_and_the_words_of_the_wire() -> None:
    clock = Clock()
    registry = Registry(clock)
    history = History(registry, clock)
    registry.put(backend("a"))
    registry.record_fact("a", Unreached(DOWN))
    clock.pass_time(12)
    told = json.loads(msgspec.json.encode(history.past()))
    assert told["incidents"] == [
        {
            "backend": "a",
            "from": "unknown",
            "to": "unhealthy",
            "reason": "refused",
            "text": DOWN.text,
            "ago_s": 12.0,
        }
    ]


def test_a_week_weighs_no_more_than_an_hour() -> None:
    clock = Clock()
    registry = Registry(clock)
    history = History(registry, clock)
    registry.put(backend("a"))
    for turn in range(3 * STEPS):
        clock.pass_time(5)
        registry.record_fact("a", Unreached(DOWN))
        registry.record_fact("a", Answered(turn / 1000))
        registry.record_fact("a", Answered(turn / 1000))
    past = history.past()
    assert len(past.backends["a"].states) == STEPS
    assert len(past.incidents) == INCIDENTS
    registry.remove("a")
    assert history.past().backends == {}
