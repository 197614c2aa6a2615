"""A refresh checks every backend once; whoever asks for one while it runs joins it."""

import asyncio
from contextlib import AsyncExitStack
from time import monotonic

from fake_clock import FakeMesh, backend, read
from mesh.fake_backends import REFUSED, FakeBackends, models, opened, settle
from mesh.memory_settings import MemorySettingsStore
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.event_hub import Subscription
from meshlight.mesh.prober import BackendSync, Prober
from meshlight.mesh.refresh import Refresher
from meshlight.mesh.registry import Registry
from meshlight.simulator.engine import SimulatedEngine
from stopwatch import Stopwatch


class Ward(FakeBackends):
    """A fake with a refresher; `look` waits until `seen` is set, then puts what it is to find."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = asyncio.Event()
        self.seen.set()
        self.finds: list[str] = []
        self.looks = 0
        self.refresher = Refresher(self.registry, self.prober, self.publisher, self.look)

    async def look(self) -> None:
        self.looks += 1
        await self.seen.wait()
        for name in self.finds:
            self.put(backend(name), models(name))


async def told(reader: Subscription) -> list[tuple[int, int]]:
    """What the events that wait say of the progress."""
    return [(data["done"], data["total"]) for _, name, data in await read(reader) if name == "refresh"]


async def test_every_enabled_backend_is_checked_once_and_each_step_is_told() -> None:
    ward = Ward()
    up = ward.put(backend("up"), models("m"))
    down = ward.put(backend("down"), REFUSED)
    off = ward.put(backend("off", enabled=False), models("m"))
    await settle()
    ward.seen.clear()
    down.answer = None
    reader = ward.hub.subscribe(None)
    await read(reader)
    ward.refresher.start()
    await settle()
    assert await told(reader) == [(0, 2), (1, 2)]
    ward.seen.set()
    down.release(REFUSED)
    await ward.refresher.wait()
    assert await told(reader) == [(2, 2)]
    assert (len(up.requests), len(down.requests), len(off.requests)) == (2, 2, 0)
    assert ward.looks == 1


async def test_who_asks_meanwhile_joins() -> None:
    ward = Ward()
    upstream = ward.put(backend("a"), models("m"))
    await settle()
    upstream.answer = None
    first = ward.refresher.start()
    await settle()
    assert ward.refresher.start() == first
    waiting = [asyncio.create_task(ward.refresher.wait()) for _ in range(3)]
    await settle()
    upstream.release(models("m"))
    assert {(await wait).id for wait in waiting} == {first.id}
    assert (len(upstream.requests), ward.looks) == (2, 1)
    following = ward.refresher.start()
    assert following.id != first.id
    await ward.refresher.wait()


async def test_an_engine_that_is_found_meanwhile_is_checked_too() -> None:
    ward = Ward()
    ward.put(backend("a"), models("m"))
    await settle()
    ward.finds = ["new"]
    ward.seen.clear()
    reader = ward.hub.subscribe(None)
    await read(reader)
    ward.refresher.start()
    await settle()
    assert await told(reader) == [(0, 1)], "with all checked it is not over while the look goes on"
    ward.seen.set()
    over = await ward.refresher.wait()
    assert (over.done, over.total) == (2, 2)
    assert ward.state("new") == ("healthy", "ok")
    assert await told(reader) == [(1, 2), (2, 2)]


async def test_with_no_backend_at_all_it_is_over_when_the_look_is() -> None:
    ward = Ward()
    ward.seen.clear()
    ward.refresher.start()
    waiting = asyncio.create_task(ward.refresher.wait())
    await settle()
    assert not waiting.done()
    ward.seen.set()
    assert (await waiting).total == 0


async def test_one_that_is_removed_meanwhile_holds_nothing_up() -> None:
    ward = Ward()
    ward.put(backend("a"), models("m"))
    gone = ward.put(backend("gone"), models("m"))
    await settle()
    gone.answer = None
    ward.refresher.start()
    await settle()
    ward.registry.remove("gone")
    over = await ward.refresher.wait()
    assert (over.done, over.total) == (2, 2)
    assert gone.cancelled == 1


async def test_one_that_is_switched_off_meanwhile_holds_nothing_up() -> None:
    ward = Ward()
    upstream = ward.put(backend("a"), models("m"))
    await settle()
    upstream.answer = None
    ward.refresher.start()
    await settle()
    upstream.answer = models("m")
    ward.registry.put(backend("a", enabled=False))
    assert (await ward.refresher.wait()).done == 1


async def test_a_kind_with_a_fault_of_its_own_does_not_end_the_refresh() -> None:
    ward = Ward()
    broken = ward.put(backend("broken"), models("m"))
    ward.put(backend("a"), models("m"))
    await settle()
    broken.answer = ZeroDivisionError("a fault of the kind's own")
    ward.refresher.start()
    assert (await ward.refresher.wait()).done == 2


async def test_the_end_of_the_service_ends_it_and_lets_go_who_waits() -> None:
    ward = Ward()
    upstream = ward.put(backend("a"), None)
    ward.seen.clear()
    ward.refresher.start()
    waiting = asyncio.create_task(ward.refresher.wait())
    await settle()
    await ward.refresher.close()
    assert (await waiting).done == 0
    await ward.prober.close()
    await settle()
    assert upstream.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_fifty_backends_of_which_ten_hang_are_checked_within_two_and_a_half_seconds() -> None:
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(SimulatedEngine("llamacpp", f"e{n}", control_port=None))
            for n in range(50)
        ]
        for engine in engines[:10]:
            await engine.fault("hang-headers")
        fake = FakeMesh()
        registry = Registry(monotonic)
        connections = BackendConnections(MemorySettingsStore(), opened, opened)
        later = asyncio.get_running_loop().call_later
        prober = Prober(registry, connections, monotonic, later, lambda _: False)
        BackendSync(registry, connections, prober, fake.traffic)
        refresher = Refresher(registry, prober, fake.publisher, Ward().look)
        for engine in engines:
            registry.put(backend(engine.name, url=engine.url))
        stopwatch = Stopwatch()
        refresher.start()
        over = await refresher.wait()
        took_s = stopwatch.elapsed_s
        assert over.done == 50
        states = {name: node.health.state for name, node in registry.snapshot.nodes.items()}
        assert [name for name, state in states.items() if state != "healthy"] == [f"e{n}" for n in range(10)]
        assert took_s < 2.5
        since = [registry.node(f"e{n}").health.since for n in range(50)]
        assert max(since[10:]) < min(since[:10]), "those that answer do not wait for those that hang"
        await prober.close()
        connections.close()


async def test_this_machines_disks_are_looked_at_too_and_waited_for() -> None:
    ward = Ward()
    looked, may_end = asyncio.Event(), asyncio.Event()

    async def look_at_disks() -> None:
        looked.set()
        await may_end.wait()

    refresher = Refresher(ward.registry, ward.prober, ward.publisher, ward.look, look_at_disks)
    refresher.start()
    waiting = asyncio.create_task(refresher.wait())
    await looked.wait()
    await settle()
    assert (ward.looks, waiting.done()) == (1, False)
    may_end.set()
    assert (await waiting).total == 0
