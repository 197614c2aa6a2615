"""Each backend has its own connections and its own key."""

import pytest

from fake_clock import backend
from mesh.fake_backends import FakeBackends, models, opened
from mesh.memory_settings import MemorySettingsStore
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.simulator.engine import SimulatedEngine


def test_the_same_address_keeps_its_connections_whatever_else_changes() -> None:
    fake = FakeBackends()
    connection = fake.connections.put(backend("a"))
    assert fake.connections.put(backend("a", priority=7)) is connection
    assert connection.backend.priority == 7
    assert not fake.upstream_of(connection.backend.url).is_closed


def test_another_address_gets_new_connections_and_the_old_ones_end() -> None:
    fake = FakeBackends()
    old = fake.connections.put(backend("a", url="http://127.0.0.1:7001"))
    new = fake.connections.put(backend("a", url="http://127.0.0.1:7002"))
    assert new is not old
    assert fake.upstream_of("http://127.0.0.1:7001").is_closed
    assert not fake.upstream_of("http://127.0.0.1:7002").is_closed
    assert fake.connections.get("a") is new


def test_another_kind_at_the_same_address_is_another_link() -> None:
    fake = FakeBackends()
    old = fake.connections.put(backend("a"))
    assert fake.connections.put(backend("a", kind="vllm")) is not old


async def test_the_key_is_read_once_more_at_each_probe_and_kept_while_the_path_changes() -> None:
    fake = FakeBackends()
    fake.store.secrets["a"] = "sk-1"
    connection = fake.connections.put(backend("a", url="http://127.0.0.1:7001"))
    assert not connection.auth("chat/completions")
    assert await fake.connections.read_secret(connection) == "sk-1"
    assert connection.auth("chat/completions") == ((b"authorization", b"Bearer sk-1"),)
    moved = fake.connections.put(backend("a", url="http://127.0.0.1:7001/team"))
    assert moved.auth("chat/completions") == connection.auth("chat/completions"), (
        "no request goes without the key until the first probe"
    )
    fake.store.secrets["a"] = "sk-2"
    await fake.connections.read_secret(moved)
    assert moved.auth("chat/completions") == ((b"authorization", b"Bearer sk-2"),)
    del fake.store.secrets["a"]
    await fake.connections.read_secret(moved)
    assert not moved.auth("chat/completions")


@pytest.mark.parametrize("url", ["http://127.0.0.1:7002", "https://127.0.0.1:7001", "http://box.lan:7001"])
async def test_no_request_takes_the_key_along_to_another_host(url: str) -> None:
    fake = FakeBackends()
    fake.store.secrets["a"] = "sk-1"
    await fake.connections.read_secret(fake.connections.put(backend("a", url="http://127.0.0.1:7001")))
    assert not fake.connections.put(backend("a", url=url)).auth("chat/completions")


async def test_what_is_removed_is_closed() -> None:
    fake = FakeBackends()
    upstream = fake.put(backend("a"), models("m"))
    fake.registry.remove("a")
    assert upstream.is_closed
    assert fake.connections.get("a") is None
    fake.connections.remove("a")


def test_the_end_closes_all() -> None:
    fake = FakeBackends()
    for name in "abc":
        fake.connections.put(backend(name))
    fake.connections.close()
    assert all(upstream.is_closed for upstream in fake.upstreams.values())
    assert fake.connections.get("a") is None


def test_what_a_backend_does_not_take_is_told_as_a_line_about_it() -> None:
    connection = FakeBackends().connections.put(backend("a"))
    assert connection.declined_lines() == {}
    connection.record_declined_fields("m", frozenset({"top_k"}))
    connection.record_declined_fields("n", frozenset({"top_k", "min_p"}))
    assert connection.declined_lines() == {"Does not take": "min_p, top_k"}


async def test_what_answers_showed_stays_on_the_card_until_the_backend_is_down() -> None:
    async with SimulatedEngine("ollama", "a") as engine:
        connections = BackendConnections(MemorySettingsStore(), opened, opened)
        link = connections.put(backend("a", kind="ollama", url=engine.url))
        link.found["Prompts cut"] = "m: a prompt was cut."
        probe = await connections.probe(link, None)
        assert probe.about is not None
        assert probe.about["Prompts cut"] == "m: a prompt was cut."
        assert len(probe.about) > 1
    await connections.probe(link, None)
    assert not link.found
