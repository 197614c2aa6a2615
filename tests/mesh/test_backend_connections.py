"""Each backend has its own connections and its own key."""

import pytest

from fake_clock import backend
from mesh.fake_backends import Room, models


def test_the_same_address_keeps_its_connections_whatever_else_changes() -> None:
    room = Room()
    link = room.links.put(backend("a"))
    assert room.links.put(backend("a", priority=7)) is link
    assert link.backend.priority == 7
    assert not room.wire(link.backend.url).is_closed


def test_another_address_gets_new_connections_and_the_old_ones_end() -> None:
    room = Room()
    old = room.links.put(backend("a", url="http://127.0.0.1:7001"))
    new = room.links.put(backend("a", url="http://127.0.0.1:7002"))
    assert new is not old
    assert room.wire("http://127.0.0.1:7001").is_closed
    assert not room.wire("http://127.0.0.1:7002").is_closed
    assert room.links.get("a") is new


def test_another_kind_at_the_same_address_is_another_link() -> None:
    room = Room()
    old = room.links.put(backend("a"))
    assert room.links.put(backend("a", kind="vllm")) is not old


async def test_the_key_is_read_once_more_at_each_probe_and_kept_while_the_path_changes() -> None:
    room = Room()
    room.purse.kept["a"] = "sk-1"
    link = room.links.put(backend("a", url="http://127.0.0.1:7001"))
    assert not link.auth("chat/completions")
    assert await room.links.read_secret(link) == "sk-1"
    assert link.auth("chat/completions") == ((b"authorization", b"Bearer sk-1"),)
    moved = room.links.put(backend("a", url="http://127.0.0.1:7001/team"))
    assert moved.auth("chat/completions") == link.auth("chat/completions"), (
        "no request goes without the key until the first probe"
    )
    room.purse.kept["a"] = "sk-2"
    await room.links.read_secret(moved)
    assert moved.auth("chat/completions") == ((b"authorization", b"Bearer sk-2"),)
    del room.purse.kept["a"]
    await room.links.read_secret(moved)
    assert not moved.auth("chat/completions")


@pytest.mark.parametrize("url", ["http://127.0.0.1:7002", "https://127.0.0.1:7001", "http://box.lan:7001"])
async def test_no_request_takes_the_key_along_to_another_host(url: str) -> None:
    room = Room()
    room.purse.kept["a"] = "sk-1"
    await room.links.read_secret(room.links.put(backend("a", url="http://127.0.0.1:7001")))
    assert not room.links.put(backend("a", url=url)).auth("chat/completions")


async def test_what_is_removed_is_closed() -> None:
    room = Room()
    wire = room.put(backend("a"), models("m"))
    room.registry.remove("a")
    assert wire.is_closed
    assert room.links.get("a") is None
    room.links.remove("a")


def test_the_end_closes_all() -> None:
    room = Room()
    for name in "abc":
        room.links.put(backend(name))
    room.links.close()
    assert all(wire.is_closed for wire in room.wires.values())
    assert room.links.get("a") is None


def test_what_a_backend_does_not_take_is_told_as_a_line_about_it() -> None:
    link = Room().links.put(backend("a"))
    assert link.notes() == {}
    link.learn_declined("m", frozenset({"top_k"}))
    link.learn_declined("n", frozenset({"top_k", "min_p"}))
    assert link.notes() == {"Does not take": "min_p, top_k"}
