"""Links, probes and counts follow the list of backends."""

from fake_clock import backend
from mesh.fake_backends import Room, models, settle


async def test_what_comes_is_linked_and_probed_and_what_goes_is_neither() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    await settle()
    assert len(wire.asked) == 1
    room.traffic.reserve("a", "m").close("ok")
    room.registry.remove("a")
    await room.live(10)
    assert wire.is_closed
    assert len(wire.asked) == 1
    assert room.traffic.by_backend() == {}


async def test_a_new_model_starts_no_second_schedule() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    await room.live(2)
    wire.says = models("m", "n")
    await room.live(8.25)
    assert room.registry.snapshot.routes == {"m": ("a",), "n": ("a",)}
    assert len(wire.asked) == 3


async def test_another_address_is_probed_at_once() -> None:
    room = Room()
    room.put(backend("a"), models("m"))
    await settle()
    moved = room.put(backend("a", url="http://127.0.0.1:7001"), models("new"))
    await settle()
    assert len(moved.asked) == 1
    assert room.registry.snapshot.routes == {"new": ("a",)}


async def test_what_is_switched_off_is_linked_but_not_probed() -> None:
    room = Room()
    wire = room.put(backend("a", enabled=False), models("m"))
    await room.live(10)
    assert room.links.get("a") is not None
    assert wire.asked == []
