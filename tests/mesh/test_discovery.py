"""Engines of this machine appear by themselves, by what they answer; what the user does not want stays away."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Self

from msgspec.structs import replace

from fake_clock import FakeMesh, backend
from mesh.fake_backends import opened, settle
from mesh.memory_settings import MemorySettingsStore
from meshlight.backends.detection import Detector
from meshlight.backends.socket_owner import Listener, Listeners
from meshlight.domain.backend import Kind, Reason
from meshlight.domain.health import Answered, Failed
from meshlight.http_client.client import Upstream
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.discovery import GONE_S, PERIOD_S, Discovery
from meshlight.mesh.prober import BackendSync, Prober
from meshlight.mesh.registry import Change
from meshlight.simulator.engine import SimulatedEngine
from servers.byte_server import ByteServer, answering

REFUSED = Failed(Reason("refused", "Connection refused."))
PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"
USUAL: Sequence[Kind] = ("llamacpp", "mlx")


class Search(FakeMesh):
    """Looks at the ports of these engines, as if they were the usual ones."""

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self.ignored: list[str] = []
        self.connections = BackendConnections(MemorySettingsStore(), opened, opened)
        self.prober = Prober(self.registry, self.connections, self.clock, self.clock.later, lambda _: False)
        BackendSync(self.registry, self.connections, self.prober, self.traffic)
        detector = Detector(Upstream, dict.fromkeys(ports, USUAL), clock=self.clock)
        self.listeners = Listeners()
        self.discovery = Discovery(
            self.registry,
            detector,
            self.clock,
            self.clock.later,
            lambda: self.ignored,
            lambda: self.listeners,
        )
        self.changed = asyncio.Event()
        self.registry.listen(self._on_change)

    async def __aenter__(self) -> Self:
        self.discovery.start()
        await self.tick()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.discovery.stop()
        await self.prober.close()
        self.connections.close()

    async def tick(self) -> None:
        """Wait until the look that runs is over."""
        running = self.discovery._task
        assert running is not None
        await asyncio.wait((running,))

    @property
    def ids(self) -> list[str]:
        return list(self.registry.snapshot.nodes)

    async def until(self, backend_id: str, state: str) -> None:
        async with asyncio.timeout(5):
            while True:
                node = self.registry.snapshot.nodes.get(backend_id)
                if node is not None and node.health.state == state:
                    return
                await self.changed.wait()
                self.changed.clear()

    def _on_change(self, change: Change) -> None:
        del change
        self.changed.set()


async def test_an_engine_that_runs_is_listed_by_itself_and_probed() -> None:
    async with SimulatedEngine("llamacpp") as engine, Search(engine.port) as search:
        name = f"llamacpp-{engine.port}"
        await search.until(name, "healthy")
        node = search.registry.node(name)
        assert (node.backend.kind, node.backend.ring, node.backend.source) == ("llamacpp", "machine", "found")
        assert node.backend.url == engine.url
        assert node.models == engine.models


async def test_an_engine_that_is_started_later_is_found_at_the_next_look() -> None:
    async with SimulatedEngine("ollama") as engine:
        await engine.fault("refuse")
        async with Search(engine.port) as search:
            assert search.ids == []
            await engine.clear()
            search.clock.pass_time(PERIOD_S)
            await search.until(f"ollama-{engine.port}", "healthy")


async def test_the_port_proves_nothing() -> None:
    async with (
        ByteServer(answering(PAGE)) as page,
        SimulatedEngine("vllm") as engine,
        Search(page.port, engine.port) as search,
    ):
        assert search.ids == [f"vllm-{engine.port}"], "whatever usually listens on that port"


async def test_a_stranger_is_left_alone_until_the_user_wishes() -> None:
    async with ByteServer(answering(PAGE)) as page, Search(page.port) as search:
        first = len(page.requests)
        assert 0 < first <= 6
        for _ in range(5):
            search.clock.pass_time(PERIOD_S)
            await search.tick()
        assert len(page.requests) == first
        await search.discovery.scan()
        assert len(page.requests) > first


async def test_another_engine_on_the_port_takes_the_place_of_the_found_one() -> None:
    async with SimulatedEngine("llamacpp") as old, Search(old.port) as search:
        await search.until(f"llamacpp-{old.port}", "healthy")
        await old.stop()
        async with SimulatedEngine("vllm", port=old.port):
            for _ in range(2):
                await search.prober.check(f"llamacpp-{old.port}")
            assert search.registry.node(f"llamacpp-{old.port}").health.reason.code == "not-this-kind"
            await search.discovery.scan()
            assert search.ids == [f"vllm-{old.port}"]


async def test_what_is_ignored_is_not_listed_and_its_port_not_even_asked() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        search.ignored = [f"http://localhost:{engine.port}/"]
        async with search:
            await search.discovery.scan()
            assert search.ids == []
            assert engine.requests == []
            assert engine.request_log.connections == 0


async def test_ignored_urls_that_are_none_do_no_harm() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        search.ignored = ["junk", "http://", "ftp://x"]
        async with search:
            assert search.ids == [f"llamacpp-{engine.port}"]


async def test_one_that_is_ignored_while_it_is_being_asked_is_not_listed() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        search.discovery.start()
        look = asyncio.create_task(search.discovery.scan())
        await engine.received(1)
        search.ignored = [engine.url]
        await look
        assert search.ids == []
        search.discovery.stop()


async def test_a_configured_backend_is_not_found_a_second_time() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        search.registry.put(backend("mine", url=f"http://localhost:{engine.port}", enabled=False))
        async with search:
            assert search.ids == ["mine"]
            assert engine.requests == [], "and one that is switched off is not asked"


async def test_a_name_on_another_machine_with_the_same_port_hides_nothing() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        search.registry.put(backend("other", url=f"http://10.0.0.9:{engine.port}", ring="lan", enabled=False))
        async with search:
            assert search.ids == ["other", f"llamacpp-{engine.port}"]


async def test_an_id_that_is_taken_hides_nothing() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        taken = f"llamacpp-{engine.port}"
        search.registry.put(backend(taken, url="http://10.0.0.9:1", ring="lan", enabled=False))
        async with search:
            assert search.ids == [taken, f"{taken}-local"]


async def test_one_that_is_gone_for_ten_minutes_leaves_the_list() -> None:
    async with Search() as search:
        for name in ("found", "back", "mine"):
            source = "config" if name == "mine" else "found"
            search.registry.put(backend(name, source=source))
            search.prober.unwatch(name)
            search.registry.record_fact(name, REFUSED)
        search.clock.now += GONE_S
        await search.discovery.scan()
        assert search.ids == ["found", "back", "mine"]
        search.registry.record_fact("back", Answered())
        search.registry.record_fact("back", Answered())
        search.clock.now += 1
        await search.discovery.scan()
        assert search.ids == ["back", "mine"]


async def test_one_that_only_times_out_stays() -> None:
    async with Search() as search:
        search.registry.put(backend("found", source="found"))
        search.prober.unwatch("found")
        search.registry.record_fact("found", Failed(Reason("timed-out", "It did not answer.")))
        search.clock.now += GONE_S * 2
        await search.discovery.scan()
        assert search.ids == ["found"]


async def test_with_the_search_off_nobody_is_asked_and_what_was_found_stays() -> None:
    async with SimulatedEngine("llamacpp") as engine, Search(engine.port) as search:
        search.discovery.stop()
        seen = engine.request_log.total
        search.registry.remove(f"llamacpp-{engine.port}")
        await search.discovery.scan()
        assert search.ids == []
        await engine.idle()
        assert engine.request_log.total <= seen + 1, "no more than the probe that was under way"


async def test_off_and_on_again_leaves_one_rhythm() -> None:
    search = Search()
    search.discovery.start()
    search.discovery.stop()
    search.discovery.start()
    search.discovery.start()
    await search.tick()
    await settle()
    assert search.clock.armed == [PERIOD_S]
    search.discovery.stop()
    assert search.clock.armed == []


async def test_a_round_that_breaks_is_not_the_last() -> None:
    search = Search()
    search.ignored = [None]  # type: ignore[list-item]
    search.discovery.start()
    await search.tick()
    search.ignored = []
    search.clock.pass_time(PERIOD_S)
    await search.tick()
    assert search.clock.armed == [PERIOD_S]
    search.discovery.stop()


def owned(port: int, uid: int) -> Listeners:
    return Listeners((Listener(ip_address("127.0.0.1"), port, uid),))


STRANGER = 4_000_000_000 - 6
"""A uid that is neither this user's nor a service's."""


async def test_an_engine_of_another_user_is_found_and_not_used_until_it_is_switched_on() -> None:
    async with SimulatedEngine("ollama") as engine:
        search = Search(engine.port)
        search.listeners = owned(engine.port, STRANGER)
        async with search:
            [node] = search.registry.snapshot.nodes.values()
            assert (node.backend.enabled, node.backend.source) == (False, "found")
            assert node.health.reason.code == "other-user"
            assert f"(uid {STRANGER})" in node.health.reason.text
            assert node.backend.id in node.health.reason.fix
            assert search.registry.snapshot.routes == {}
            search.registry.put(replace(node.backend, enabled=True, source="config"))
            await search.until(node.backend.id, "healthy")
            await search.discovery.scan()
            assert search.registry.node(node.backend.id).backend.enabled


async def test_a_port_that_goes_to_another_user_is_used_no_more_and_used_again_when_it_comes_back() -> None:
    async with SimulatedEngine("llamacpp") as engine, Search(engine.port) as search:
        name = f"llamacpp-{engine.port}"
        await search.until(name, "healthy")
        search.listeners = owned(engine.port, STRANGER)
        await search.discovery.scan()
        assert not search.registry.node(name).backend.enabled
        assert search.registry.snapshot.routes == {}
        for uid in (STRANGER, 0):
            search.listeners = owned(engine.port, uid)
            await search.discovery.scan()
            assert search.ids == [name]
            assert search.registry.node(name).backend.enabled is (uid == 0)


async def test_an_engine_of_another_user_that_is_gone_leaves_the_list() -> None:
    async with SimulatedEngine("llamacpp") as engine:
        search = Search(engine.port)
        search.listeners = owned(engine.port, STRANGER)
        async with search:
            assert search.ids == [f"llamacpp-{engine.port}"]
            await engine.stop()
            search.listeners = Listeners()
            await search.discovery.scan()
            assert search.ids == []
