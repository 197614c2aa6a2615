"""Links, probes and counts follow the list of backends."""

from fake_clock import backend
from mesh.fake_backends import FakeBackends, models, settle


async def test_what_comes_is_linked_and_probed_and_what_goes_is_neither() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await settle()
    assert len(upstream.requests) == 1
    fake.traffic.reserve("a", "m").close("ok")
    fake.registry.remove("a")
    await fake.live(10)
    assert upstream.is_closed
    assert len(upstream.requests) == 1
    assert fake.traffic.by_backend() == {}


async def test_a_new_model_starts_no_second_schedule() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    await fake.live(2)
    upstream.answer = models("m", "n")
    await fake.live(8.25)
    assert fake.registry.snapshot.routes == {"m": ("a",), "n": ("a",)}
    assert len(upstream.requests) == 3


async def test_another_address_is_probed_at_once() -> None:
    fake = FakeBackends()
    fake.put(backend("a"), models("m"))
    await settle()
    moved = fake.put(backend("a", url="http://127.0.0.1:7001"), models("new"))
    await settle()
    assert len(moved.requests) == 1
    assert fake.registry.snapshot.routes == {"new": ("a",)}


async def test_what_is_switched_off_is_linked_but_not_probed() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a", enabled=False), models("m"))
    await fake.live(10)
    assert fake.connections.get("a") is not None
    assert upstream.requests == []
