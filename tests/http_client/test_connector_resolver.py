import asyncio
import socket
from threading import Event

import pytest

from meshlight.http_client.connector import DNS_CACHE_S, Resolver, system_lookup


class Names:
    """A name service in a list; it counts the questions, and answers once `open` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = Event()
        self.open.set()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        assert self.open.wait(10)
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["10.0.0.1", "10.0.0.2"]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_name_is_looked_up_once_and_remembered_for_a_while() -> None:
    names, clock = Names(), Clock()
    resolver = Resolver(names, clock)
    assert await resolver.resolve("gpu") == ("10.0.0.1", "10.0.0.2")
    clock.now += DNS_CACHE_S - 1
    await resolver.resolve("gpu")
    assert names.asked == ["gpu"]
    clock.now += 2
    await resolver.resolve("gpu")
    assert names.asked == ["gpu", "gpu"]


async def test_many_who_ask_at_once_share_one_lookup() -> None:
    names = Names()
    names.open.clear()
    resolver = Resolver(names)
    asking = [asyncio.create_task(resolver.resolve("gpu")) for _ in range(5)]
    await asyncio.sleep(0)
    names.open.set()
    assert set(await asyncio.gather(*asking)) == {("10.0.0.1", "10.0.0.2")}
    assert names.asked == ["gpu"]


async def test_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    names = Names()
    names.open.clear()
    resolver = Resolver(names)
    leaves, stays = (asyncio.create_task(resolver.resolve("gpu")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    names.open.set()
    assert await stays == ("10.0.0.1", "10.0.0.2")
    assert leaves.cancelled()


async def test_one_name_that_hangs_holds_up_no_other() -> None:
    hung = Event()

    def lookup(host: str) -> list[str]:
        if host.startswith("asleep"):
            hung.wait(10)
        return ["10.0.0.1"]

    resolver = Resolver(lookup)
    waiting = [asyncio.create_task(resolver.resolve(f"asleep{place}.local")) for place in range(20)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(resolver.resolve("gpu"), 5) == ("10.0.0.1",)
    hung.set()
    await asyncio.gather(*waiting)


async def test_a_name_that_is_not_there_is_asked_again_next_time() -> None:
    names = Names()
    resolver = Resolver(names)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.resolve("gone.invalid")
    assert len(names.asked) == 2


async def test_a_forgotten_name_is_asked_again() -> None:
    names = Names()
    resolver = Resolver(names)
    await resolver.resolve("gpu")
    resolver.forget("gpu")
    resolver.forget("never heard of")
    await resolver.resolve("gpu")
    assert len(names.asked) == 2


def test_an_answer_that_comes_after_the_loop_has_ended_bothers_nobody() -> None:
    names, done = Names(), Event()
    names.open.clear()

    def lookup(host: str) -> list[str]:
        try:
            return names(host)
        finally:
            done.set()

    async def leave() -> None:
        asking = asyncio.create_task(Resolver(lookup).resolve("gpu"))
        await asyncio.sleep(0)
        asking.cancel()

    asyncio.run(leave())
    names.open.set()
    assert done.wait(5)


def test_the_system_knows_this_machine_by_name_and_gives_each_address_once() -> None:
    ips = system_lookup("localhost")
    assert {"127.0.0.1", "::1"} & set(ips)
    assert len(ips) == len(set(ips))
