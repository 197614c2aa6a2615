"""The registry is the single owner: facts in, immutable snapshots out."""

import pytest

from fake_clock import Clock, backend
from meshlight.backends.base import Probe
from meshlight.domain.backend import Reason
from meshlight.domain.errors import NotFound
from meshlight.domain.health import Answered, Failed, Refused, Unreached
from meshlight.mesh.registry import Change, Registry

DOWN = Reason("refused", "Connection refused.")


def heard(registry: Registry) -> list[Change]:
    changes: list[Change] = []
    registry.listen(changes.append)
    return changes


def test_a_snapshot_never_changes_after_it_was_taken() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    before = registry.snapshot
    registry.record_fact("a", Answered(0.01), ("m",))
    assert before.nodes["a"].health.state == "unknown"
    assert before.routes == {}
    assert registry.snapshot.routes == {"m": ("a",)}


def test_a_change_of_state_is_told_once_with_from_and_to() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    changes = heard(registry)
    registry.record_fact("a", Unreached(DOWN))
    registry.record_fact("a", Unreached(DOWN))
    assert [c.incident for c in changes] == [("a", "unknown", "unhealthy")]


def test_facts_that_nobody_can_see_are_nobodys_event() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_fact("a", Answered())
    changes = heard(registry)
    registry.record_fact("a", Failed(DOWN))
    assert registry.snapshot.nodes["a"].health.bad == 1
    assert changes == []


def test_a_latency_that_is_shown_as_before_is_nobodys_event_and_kept() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_fact("a", Answered(0.01))
    changes = heard(registry)
    registry.record_fact("a", Answered(0.01004))
    assert registry.snapshot.nodes["a"].health.latencies == (0.01, 0.01004)
    assert changes == []
    registry.record_fact("a", Answered(0.02))
    assert registry.snapshot.nodes["a"].health.latency_s == 0.01004
    assert changes == []
    registry.record_fact("a", Answered(0.02))
    assert [change.health for change in changes] == [("a",)]


def test_facts_about_a_switched_off_or_unknown_backend_are_dropped() -> None:
    registry = Registry(Clock())
    registry.put(backend("off", enabled=False))
    changes = heard(registry)
    registry.record_fact("off", Answered(), ("m",))
    registry.record_fact("nobody", Answered())
    assert changes == []


def test_another_address_is_another_backend_and_its_health_begins_anew() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_fact("a", Answered(), ("m",))
    registry.put(backend("a", url="http://127.0.0.1:9"))
    assert registry.snapshot.nodes["a"].health.state == "unknown"


def test_another_name_keeps_health_and_models() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_fact("a", Answered(), ("m",))
    registry.put(backend("a", priority=7))
    node = registry.snapshot.nodes["a"]
    assert (node.health.state, node.models, node.backend.priority) == ("healthy", ("m",), 7)


def test_switching_off_takes_its_models_out_and_on_again_checks_anew() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_fact("a", Answered(), ("m",))
    registry.put(backend("a", enabled=False))
    assert registry.snapshot.routes == {}
    registry.put(backend("a"))
    assert registry.snapshot.nodes["a"].health.state == "unknown"


def test_an_unknown_id_is_named() -> None:
    with pytest.raises(NotFound, match="'ghost'"):
        Registry(Clock()).node("ghost")


def test_what_was_believed_is_forgotten_without_an_alarm_and_the_next_fact_decides() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_fact("a", Answered(), ("m",))
    registry.record_fact("a", Unreached(DOWN))
    changes = heard(registry)
    registry.renew("a")
    assert registry.node("a").health.state == "unknown"
    assert registry.snapshot.routes == {"m": ("a",)}
    assert [(c.shape, c.incident) for c in changes] == [(("a",), None)]
    registry.record_fact("a", Answered())
    assert registry.node("a").health.reason.code == "ok"


def test_what_answers_tell_about_a_cloud_is_taken_once_a_second_for_each() -> None:
    clock = Clock()
    registry = Registry(clock)
    for name in ("a", "b"):
        registry.put(backend(name, kind="openai", ring="cloud"))
    changes = heard(registry)
    registry.record_about("a", {"Requests left": "499 of 500", "Tokens left": "9"})
    snapshot = registry.snapshot
    registry.record_about("a", {"Requests left": "498 of 500"})
    assert registry.snapshot is snapshot, "what was worked out from it still holds"
    registry.record_about("b", {"Requests left": "7 of 10"})
    clock.pass_time(1.0)
    registry.record_about("a", {"Requests left": "350 of 500"})
    registry.record_about("ghost", {"Requests left": "1"})
    assert [change.health for change in changes] == [("a",), ("b",), ("a",)]
    assert registry.snapshot.nodes["a"].about == {"Requests left": "350 of 500", "Tokens left": "9"}


def test_what_was_to_be_looked_at_goes_when_the_backend_is_down() -> None:
    registry = Registry(Clock())
    registry.put(backend("a"))
    registry.record_probe(
        "a", Probe(fact=Answered(), models=("m",), about={"Version": "1"}, warnings=("Look.",))
    )
    changes = heard(registry)
    registry.record_probe("a", Probe(fact=Refused(DOWN)))
    node = registry.snapshot.nodes["a"]
    assert (node.warnings, node.about, node.models) == ((), {"Version": "1"}, ("m",))
    assert [change.health for change in changes] == [("a",)]
