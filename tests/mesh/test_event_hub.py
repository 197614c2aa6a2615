"""Events are numbered; whoever misses one gets the whole picture instead."""

from fake_clock import FakeMesh, backend, read
from meshlight.domain.health import Answered
from meshlight.mesh.event_hub import KEPT_BYTES, QUEUE_MAX


async def test_a_new_reader_starts_with_a_snapshot_and_goes_on_with_the_next_number() -> None:
    fake = FakeMesh()
    reader = fake.hub.subscribe(None)
    [(seq, name, data)] = await read(reader)
    assert (name, data["seq"], data["backends"]) == ("snapshot", seq, [])
    fake.registry.put(backend("a"))
    [(following, name, _)] = await read(reader)
    assert (following, name) == (seq + 1, "topology")


async def test_a_reader_that_comes_back_gets_what_it_missed() -> None:
    fake = FakeMesh()
    other = fake.hub.subscribe(None)
    await read(other)
    fake.registry.put(backend("a"))
    last = fake.hub.seq
    fake.registry.put(backend("b"))
    fake.registry.put(backend("c"))
    missed = await read(fake.hub.subscribe(last))
    assert [event[0] for event in missed] == [last + 1, last + 2]


async def test_a_reader_that_missed_nothing_gets_nothing_twice() -> None:
    fake = FakeMesh()
    await read(fake.hub.subscribe(None))
    again = fake.hub.subscribe(fake.hub.seq)
    fake.registry.put(backend("a"))
    assert [name for _, name, _ in await read(again)] == ["topology"]


async def test_events_that_nobody_heard_are_a_gap() -> None:
    fake = FakeMesh()
    seq = fake.hub.seq
    fake.registry.put(backend("a"))
    fake.registry.put(backend("b"))
    [(_, name, data)] = await read(fake.hub.subscribe(seq))
    assert name == "snapshot"
    assert len(data["backends"]) == 2


async def test_a_number_from_the_future_gets_a_snapshot() -> None:
    [(_, name, _)] = await read(FakeMesh().hub.subscribe(10**9))
    assert name == "snapshot"


async def test_a_slow_reader_is_dropped_to_a_snapshot() -> None:
    fake = FakeMesh()
    slow = fake.hub.subscribe(None)
    await read(slow)
    for number in range(QUEUE_MAX + 5):
        fake.registry.put(backend("a", priority=number))
    [(seq, name, _)] = await read(slow)
    assert (seq, name) == (fake.hub.seq, "snapshot")
    fake.registry.record_fact("a", Answered(), ("m",))
    assert [event[1] for event in await read(slow)] == ["topology", "health", "incident"]


async def test_the_end_of_the_service_ends_every_stream() -> None:
    fake = FakeMesh()
    reader = fake.hub.subscribe(None)
    fake.hub.close()
    assert await reader.next() is None
    assert await fake.hub.subscribe(None).next() is None


async def test_what_making_a_snapshot_brings_out_does_not_follow_it_again() -> None:
    fake = FakeMesh()
    fake.registry.put(backend("a"))
    reader = fake.hub.subscribe(None)
    other = fake.hub.subscribe(None)
    await read(other)
    fake.traffic.reserve("a", "m").close("ok")
    [(seq, _, data)] = await read(reader)
    assert data["backends"][0]["requests"]["successful"] == 1
    assert [name for _, name, _ in await read(other)] == ["traffic"]
    fake.registry.put(backend("b"))
    assert [number for number, _, _ in await read(reader)] == [seq + 1]


async def test_what_no_event_tells_of_gives_everybody_a_new_snapshot() -> None:
    fake = FakeMesh()
    reader, away = fake.hub.subscribe(None), fake.hub.subscribe(None)
    await read(reader)
    [(last, _, _)] = await read(away)
    fake.hub.unsubscribe(away)
    fake.registry.put(backend("a"))
    fake.hub.restart()
    [(seq, name, _)] = await read(reader)
    assert (seq, name) == (last + 2, "snapshot")
    assert [name for _, name, _ in await read(fake.hub.subscribe(last))] == ["snapshot"]
    fake.registry.put(backend("b"))
    assert [number for number, _, _ in await read(reader)] == [seq + 1]


async def test_large_events_are_counted_by_their_bytes() -> None:
    fake = FakeMesh()
    slow, awake = fake.hub.subscribe(None), fake.hub.subscribe(None)
    await read(slow)
    await read(awake)
    fake.registry.put(backend("a"))
    last = fake.hub.seq
    for number in range(60):
        fake.registry.record_fact("a", Answered(), tuple(f"{number}-{n:05}" for n in range(10_000)))
        await read(awake)
    assert fake.hub._kept_size <= KEPT_BYTES
    assert [name for _, name, _ in await read(slow)] == ["snapshot"], (
        "fewer than it may be behind, but larger"
    )
    assert [name for _, name, _ in await read(fake.hub.subscribe(last))] == ["snapshot"]


async def test_the_numbers_of_another_start_are_not_those_of_this() -> None:
    fake = FakeMesh()
    fake.hub.seq = 5_000
    await read(fake.hub.subscribe(None))
    fake.registry.put(backend("a"))
    assert [name for _, name, _ in await read(fake.hub.subscribe(3))] == ["snapshot"]
