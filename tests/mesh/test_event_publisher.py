"""What the events tell adds up to the next snapshot."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fake_clock import FakeMesh, backend, read
from meshlight.domain.backend import Reason
from meshlight.domain.health import Answered, Failed, Unreached

DOWN = Reason("refused", "Connection refused at 127.0.0.1:8080 — is llama.cpp running?", "Start it.")


async def test_a_changed_state_goes_out_at_once_with_its_reason() -> None:
    fake = FakeMesh()
    fake.registry.put(backend("a"))
    reader = fake.hub.subscribe(None)
    await read(reader)
    fake.registry.record_fact("a", Unreached(DOWN))
    health, incident = await read(reader)
    assert health[1] == "health"
    assert incident[2] == {
        "seq": incident[0],
        "backend": "a",
        "from": "unknown",
        "to": "unhealthy",
        "reason": "refused",
        "text": DOWN.text,
    }


async def test_latencies_are_gathered_for_a_second() -> None:
    fake = FakeMesh()
    for name in "ab":
        fake.registry.put(backend(name))
        fake.registry.record_fact(name, Answered(0.010))
    reader = fake.hub.subscribe(None)
    await read(reader)
    fake.registry.record_fact("a", Answered(0.030))
    fake.registry.record_fact("b", Answered(0.050))
    fake.clock.pass_time(1.0)
    [(_, name, data)] = await read(reader)
    assert name == "health"
    assert [b["latency_ms"] for b in data["backends"]] == [20.0, 30.0]


async def test_traffic_goes_out_every_quarter_second_and_only_when_there_is_some() -> None:
    fake = FakeMesh()
    fake.registry.put(backend("a"))
    reader = fake.hub.subscribe(None)
    await read(reader)
    assert fake.clock.armed == []
    fake.traffic.start()
    ticket = fake.traffic.reserve("a", "m")
    fake.clock.pass_time(0.25)
    ticket.close("ok")
    fake.traffic.end("ok")
    fake.clock.pass_time(0.25)
    first, second = await read(reader)
    assert first[2]["routes"] == [
        {"backend": "a", "model": "m", "started": 1, "ok": 0, "failed": 0, "in_flight": 1}
    ]
    assert second[2]["routes"] == [
        {"backend": "a", "model": "m", "started": 0, "ok": 1, "failed": 0, "in_flight": 0}
    ]
    assert second[2]["router"]["successful"] == 1
    assert fake.clock.armed == []


async def test_an_idle_mesh_wakes_nobody() -> None:
    fake = FakeMesh()
    fake.registry.put(backend("a"))
    fake.registry.record_fact("a", Answered(0.01))
    fake.clock.pass_time(1.0)
    assert fake.clock.armed == []


def add_up(view: dict[str, Any], events: list[tuple[int, str, dict[str, Any]]]) -> dict[str, Any]:
    """What a page does with a snapshot and the events after it."""
    backends = {b["id"]: dict(b) for b in view["backends"]}
    requests = view["router"]["requests"]
    light = view["light"], view["light_reason"]
    for _, name, data in events:
        if name in {"health", "topology"}:
            light = data["light"], data["light_reason"]
        if name == "topology":
            for gone in data["removed"]:
                backends.pop(gone, None)
            backends |= {b["id"]: b for b in data["backends"]}
        elif name == "health":
            for change in data["backends"]:
                backends[change["id"]] |= change
        elif name == "traffic":
            requests = data["router"]
            for route in data["routes"]:
                if route["backend"] in backends:
                    counts = backends[route["backend"]]["requests"]
                    counts["total"] += route["started"]
                    counts["successful"] += route["ok"]
                    counts["failed"] += route["failed"]
    return {"backends": backends, "requests": requests, "light": light}


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "up", "down", "start", "ok", "fail", "time"]),
        st.sampled_from("abc"),
    ),
    max_size=40,
)


@given(ACTS)
async def test_a_snapshot_and_the_events_after_it_are_the_next_snapshot(acts: list[tuple[str, str]]) -> None:
    fake = FakeMesh()
    reader = fake.hub.subscribe(None)
    [(_, _, before)] = await read(reader)
    open_tickets: dict[str, list[Any]] = {}
    for act, name in acts:
        match act:
            case "put":
                fake.registry.put(backend(name))
            case "remove":
                fake.registry.remove(name)
            case "up":
                fake.registry.record_fact(name, Answered(0.01), ("m",))
            case "down":
                fake.registry.record_fact(name, Failed(DOWN))
            case "start":
                fake.traffic.start()
                open_tickets.setdefault(name, []).append(fake.traffic.reserve(name, "m"))
            case "ok" | "fail" if open_tickets.get(name):
                outcome = "ok" if act == "ok" else "failed"
                open_tickets[name].pop().close(outcome)
                fake.traffic.end(outcome)  # type: ignore[arg-type]
            case "time":
                fake.clock.pass_time(0.6)
    after = msgspec.to_builtins(fake.publisher.view())
    events = await read(reader) if fake.hub.seq > before["seq"] else []
    assert [event[0] for event in events] == list(range(before["seq"] + 1, after["seq"] + 1))
    added = add_up(before, events)
    assert added["requests"] == after["router"]["requests"]
    assert added["light"] == (after["light"], after["light_reason"])
    assert set(added["backends"]) == {b["id"] for b in after["backends"]}
    for shown in after["backends"]:
        mine = added["backends"][shown["id"]]
        assert mine["models"] == list(shown["models"])
        assert mine["health"]["state"] == shown["health"]["state"]
        assert mine["latency_ms"] == shown["latency_ms"]
        for count in ("total", "successful", "failed"):
            assert mine["requests"][count] == shown["requests"][count]


async def test_how_many_wait_is_in_the_snapshot_and_in_an_event_when_it_changes() -> None:
    fake = FakeMesh()
    fake.registry.put(backend("a"))
    fake.registry.record_fact("a", Answered(0.01), ("m",))
    fake.traffic.wait("m", 3)
    reader = fake.hub.subscribe(None)
    [(_, _, view)] = await read(reader)
    assert [model["waiting"] for model in view["models"]] == [3]
    fake.traffic.wait("m", 1)
    fake.clock.pass_time(0.25)
    fake.traffic.start()
    fake.clock.pass_time(0.25)
    waiting, other = (data for _, name, data in await read(reader) if name == "traffic")
    assert waiting["waiting"] == {"m": 1}
    assert "waiting" not in other
