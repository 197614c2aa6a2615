"""Where the last requests went: recorded where there was a choice, and worked out where there was none."""

from fake_clock import Clock, FakeMesh, backend, read
from meshlight.domain.choice_words import ONLY_ONE
from meshlight.domain.events import RouteTraffic
from meshlight.mesh.decisions import KEPT, Decision, Decisions


def test_those_without_a_choice_are_told_together_and_those_with_one_each() -> None:
    clock = Clock()
    decisions = Decisions(clock)
    decisions.record(Decision(model="m", backend="a", why="warm here", loaded=True, waited_s=2.04))
    clock.now += 3.0
    told = decisions.drain(
        [
            RouteTraffic(backend="a", model="m", started=1),
            RouteTraffic(backend="b", model="n", started=7),
            RouteTraffic(backend="c", model="n", ok=1),
        ]
    )
    assert [(d.model, d.backend, d.why, d.count, d.age_s) for d in told] == [
        ("n", "b", ONLY_ONE, 7, 0.0),
        ("m", "a", "warm here", 1, 3.0),
    ]
    assert (told[1].loaded, told[1].kept, told[1].waited_s) == (True, None, 2.0)
    assert decisions.drain([RouteTraffic(backend="a", model="m", ok=1)]) == ()
    clock.now += 1.0
    assert [d.age_s for d in decisions.latest()] == [1.0, 4.0]


def test_only_the_last_few_are_kept() -> None:
    decisions = Decisions(Clock())
    for number in range(KEPT + 5):
        decisions.record(Decision(model=f"m{number}", backend="a", why="its turn"))
    assert [d.model for d in decisions.drain([])] == [f"m{number}" for number in range(5, KEPT + 5)]
    assert len(decisions.latest()) == KEPT


async def test_events_and_snapshot_tell_them() -> None:
    fake = FakeMesh()
    fake.registry.put(backend("a"))
    reader = fake.hub.subscribe(None)
    [(_, _, before)] = await read(reader)
    assert before["decisions"] == []
    fake.traffic.reserve("a", "m").close("ok")
    fake.clock.pass_time(0.25)
    [(_, _, event)] = await read(reader)
    assert [(d["backend"], d["why"]) for d in event["decisions"]] == [("a", ONLY_ONE)]
    assert "queues" not in event
    assert [d.backend for d in fake.publisher.view().decisions] == ["a"]
