"""Machines on one network see each other come, change and leave; each is a process in a network of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meshlight.peers.mdns.records import Announcement
from netns.namespaces import Lan
from netns.raw_mdns_sender import Crier
from netns.watching import Watcher
from peers.mdns.fake_mdns import node_id

pytestmark = pytest.mark.one_process
A, B = "a" * 64, "b" * 64
FOUND_S = 5.0
GONE_S = 2.0


def told(own_id: str, name: str = "", *, backends: int = 0, models: int = 0) -> Announcement:
    return Announcement(
        id=own_id, name=name or own_id[:4], port=6375, door=6376, backends=backends, models=models
    )


async def test_machines_see_each_other_and_see_each_other_leave() -> None:
    async with Lan(["a", "b", "c"]) as lan:
        a, b, c = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A, "Anna's Büro 안녕", backends=2, models=7))
        b.announce(told(B))
        await asyncio.gather(
            a.until(lambda view: set(view.entries) == {B}, FOUND_S),
            b.until(lambda view: set(view.entries) == {A}, FOUND_S),
            c.until(lambda view: set(view.entries) == {A, B}, FOUND_S),
        )
        anna = c.view.entries[A]
        assert (anna.name, anna.port, anna.door) == ("Anna's Büro 안녕", 6375, 6376)
        assert (anna.backends, anna.models, anna.service, anna.conflict) == (2, 7, "meshlight", "")
        assert anna.addresses == (lan["a"].address, lan["a"].address6)

        a.announce(told(A, "Anna's Büro 안녕", backends=3, models=9))
        await c.until(lambda view: view.entries[A].models == 9, GONE_S)
        assert c.view.entries[A].since == anna.since
        a.announce(None)
        await c.until(lambda view: set(view.entries) == {B}, GONE_S)
        b.process.terminate()
        await c.until(lambda view: not view.entries, GONE_S)
        assert await b.process.wait() == 0


async def cable_out() -> None:
    async with Lan(["a", "b"]) as lan:
        a, b = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A))
        b.announce(told(B))
        await asyncio.gather(
            a.until(lambda view: B in view.entries, FOUND_S), b.until(lambda view: A in view.entries, FOUND_S)
        )
        await lan["a"].link(up=False)
        # The interface keeps its IPv4 address, so this machine still hopes; it can hear nobody.
        await a.until(lambda view: not view.entries, 20)
        await lan["a"].link(up=True)
        await a.until(lambda view: B in view.entries, 15)
        assert b.process.returncode is None


async def test_a_machine_that_gets_another_address_is_the_same_entry() -> None:
    async with Lan(["a", "b"]) as lan:
        a, b = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A))
        await b.until(lambda view: A in view.entries, FOUND_S)
        since = b.view.entries[A].since
        await lan["a"].readdress(99)
        await b.until(lambda view: lan["a"].address in view.entries[A].addresses, 15)
        assert b.view.entries[A].since == since
        assert b.view.entries[A].conflict == ""
        assert a.process.returncode is None


async def network_gone() -> None:
    async with Lan(["a", "b"]) as lan:
        lan["a"].ip("link", "set", "eth0", "down")
        lan["a"].ip("addr", "flush", "dev", "eth0")
        a, b = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A))
        b.announce(told(B))
        await a.until(lambda view: "on no network" in view.problem, FOUND_S)
        await lan["a"].link(up=True)
        await a.until(lambda view: not view.problem and B in view.entries, 15)
        await b.until(lambda view: A in view.entries, FOUND_S)
        lan["a"].ip("link", "set", "eth0", "down")
        lan["a"].ip("addr", "flush", "dev", "eth0")
        await a.until(lambda view: "on no network" in view.problem and not view.entries, 15)
        assert len(lan["a"].said().splitlines()) == 2, lan["a"].said()


async def test_machines_without_ipv4_see_each_other() -> None:
    async with Lan(["a", "b"]) as lan:
        for machine in lan:
            machine.ip("addr", "del", f"{machine.address}/24", "dev", "eth0")
        a, b = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A))
        await b.until(lambda view: A in view.entries, FOUND_S)
        assert b.view.entries[A].addresses == (lan["a"].address6,)


async def test_two_machines_of_one_name_are_two_entries() -> None:
    async with Lan(["a", "b", "c"]) as lan:
        a, b, c = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A, "same"))
        b.announce(told(B, "same"))
        await c.until(lambda view: set(view.entries) == {A, B}, FOUND_S)
        assert {entry.conflict for entry in c.view.entries.values()} == {""}
        assert len({entry.host for entry in c.view.entries.values()}) == 2


async def test_two_machines_of_one_identity_are_marked_and_each_is_told() -> None:
    async with Lan(["a", "b", "c"]) as lan:
        a, b, c = [await Watcher.on(machine) for machine in lan]
        a.announce(told(A, "same"))
        await c.until(lambda view: A in view.entries, FOUND_S)
        b.announce(told(A, "same"))
        await c.until(lambda view: lan["b"].address in view.entries[A].conflict, FOUND_S)
        assert c.view.entries[A].addresses[0] == lan["a"].address
        await a.until(lambda view: lan["b"].address in view.duplicate, FOUND_S)
        await b.until(lambda view: lan["a"].address in view.duplicate, FOUND_S)
        b.announce(None)
        await c.until(lambda view: not view.entries[A].conflict, GONE_S)
        await a.until(lambda view: not view.duplicate, GONE_S)


async def silent_end() -> None:
    async with Lan(["a", "stranger"]) as lan:
        a = await Watcher.on(lan["a"])
        a.announce(told(A))
        await a.until(lambda view: view.announced, FOUND_S)  # so it listens too
        with Crier(lan["stranger"]) as crier:
            crier.cry(told(B), lan["stranger"].address, ttl_s=6)
        await a.until(lambda view: B in view.entries, GONE_S)
        await a.until(lambda view: not view.entries, 25)


async def test_a_flood_of_strangers_leaves_the_honest_one_in_sight_and_the_machine_at_ease() -> None:
    async with Lan(["a", "b", "stranger"]) as lan:
        a, b = [await Watcher.on(lan[name]) for name in ("a", "b")]
        b.announce(told(B))
        await a.until(lambda view: B in view.entries, FOUND_S)
        before_kb, before_s = _use(a)
        with Crier(lan["stranger"]) as crier:
            for number in range(1000):
                crier.cry(told(node_id(number)[::-1]), f"10.66.{number // 250}.{number % 250 + 1}")
                crier.send(b"\x00\x00\x84\x00" + number.to_bytes(4, "big") * 100)
                if number % 50 == 0:
                    await asyncio.sleep(0)  # a socket's buffer is small
            crier.cry(told(A, "odd"), "10.66.9.9", txt={"v": "1", "id": "<script>"})
        await a.until(lambda view: len(view.entries) == 64 and view.ignored > 100, FOUND_S)
        assert B in a.view.entries
        b.announce(told(B, models=3))
        await a.until(lambda view: view.entries[B].models == 3, FOUND_S)
        after_kb, after_s = _use(a)
        assert after_kb - before_kb < 20_000
        assert after_s - before_s < 3
        assert lan["a"].said() == ""


async def test_another_program_that_holds_the_port_for_itself_is_told_with_a_way_out() -> None:
    async with Lan(["a"]) as lan:
        with lan["a"].socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("", 5353))
            a = await Watcher.on(lan["a"])
            await a.until(lambda view: "Another program holds port 5353" in view.problem, FOUND_S)
            assert a.process.returncode is None


Waiting = dict[Callable[[], Coroutine[Any, Any, None]], asyncio.Task[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting() -> AsyncIterator[Waiting]:
    """Three that do little but wait: so they wait together, each on a network of its own."""
    tasks = {story: asyncio.create_task(story()) for story in (cable_out, silent_end, network_gone)}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_cable_that_was_out_is_survived_by_both_sides(waiting: Waiting) -> None:
    await waiting[cable_out]


@pytest.mark.asyncio(loop_scope="module")
async def test_one_that_ended_without_a_word_goes_when_its_records_are_too_old(waiting: Waiting) -> None:
    await waiting[silent_end]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_network_that_comes_and_goes_is_followed_and_its_want_is_told_in_one_sentence_each(
    waiting: Waiting,
) -> None:
    await waiting[network_gone]


def _use(watcher: Watcher) -> tuple[int, float]:
    """The memory (kB) and processor time (s) that a watcher has taken so far."""
    folder = Path(f"/proc/{watcher.process.pid}")
    status = (folder / "status").read_text(encoding="ascii")
    rss = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    times = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(rss), (int(times[11]) + int(times[12])) / 100
