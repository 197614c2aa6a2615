"""Each peer is notified when its catalog has changed, and only then."""

import asyncio
from typing import Any

import pytest

from fake_clock import FakeMesh, backend
from meshlight.domain.errors import TooManyRequests
from meshlight.domain.health import Answered
from meshlight.domain.peers import Peer
from meshlight.gateway.lan.catalog_events import STREAMS_MAX, CatalogFeed
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners

ANNA = Peer(id="a" * 64, name="Anna", url="")


class Reader:
    """A peer's stream: the frames that came, one by one."""

    def __init__(self, feed: CatalogFeed, peer: Peer = ANNA) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.disconnect = DisconnectListeners()
        self.task = asyncio.create_task(
            feed.follow(peer, {"extensions": {DISCONNECT: self.disconnect}}, self._send)
        )

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.frames.put_nowait(message["body"])

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.frames.get(), 5)

    async def end(self) -> None:
        await asyncio.wait_for(self.task, 5)


class Desk(FakeMesh):
    def __init__(self, ping_s: float = 60.0) -> None:
        super().__init__()
        self.hashes: dict[str, str] = {ANNA.id: "one"}
        self.asked = 0
        self.stream = CatalogFeed(self.registry, self._hash, ping_s)
        self.registry.put(backend("study"))

    def _hash(self, peer_id: str) -> str | None:
        self.asked += 1
        return self.hashes.get(peer_id)


def told(word: str) -> bytes:
    return b'event: catalog\ndata: {"hash":"%s"}\n\n' % word.encode()


async def test_a_reader_learns_the_hash_at_once_and_each_new_one() -> None:
    desk = Desk()
    reader = Reader(desk.stream)
    assert await reader.next() == told("one")

    desk.hashes[ANNA.id] = "two"
    desk.registry.record_fact("study", Answered(0.01), ("m",))
    assert await reader.next() == told("two")

    desk.hashes[ANNA.id] = "three"
    desk.stream.notify()
    assert await reader.next() == told("three")
    await desk.stream.close()


async def test_a_change_that_is_none_for_this_peer_is_not_told() -> None:
    desk = Desk()
    reader = Reader(desk.stream)
    await reader.next()
    for number in range(5):
        desk.registry.record_fact("study", Answered(0.01), (f"m{number}",))
        await asyncio.sleep(0)
    assert reader.frames.empty()
    await desk.stream.close()


async def test_silence_is_filled_with_pings() -> None:
    desk = Desk(ping_s=0.01)
    reader = Reader(desk.stream)

    assert [await reader.next() for _ in range(3)] == [told("one"), b": ping\n\n", b": ping\n\n"]
    await desk.stream.close()


async def test_the_stream_ends_with_the_pairing() -> None:
    desk = Desk()
    reader = Reader(desk.stream)
    await reader.next()
    del desk.hashes[ANNA.id]
    desk.stream.notify()

    assert await reader.next() == b""
    await reader.end()


async def test_a_reader_that_leaves_is_let_go_of() -> None:
    desk = Desk()
    reader = Reader(desk.stream)
    await reader.next()
    reader.disconnect.fire()
    await reader.end()
    desk.asked = 0
    desk.registry.record_fact("study", Answered(0.01), ("m",))

    assert desk.asked == 0


async def test_a_peer_keeps_only_so_many_streams_and_takes_none_from_others() -> None:
    desk = Desk()
    desk.hashes["b"] = "one"
    readers = [Reader(desk.stream) for _ in range(STREAMS_MAX)]
    for reader in readers:
        await reader.next()

    with pytest.raises(TooManyRequests):
        await Reader(desk.stream).end()
    other = Reader(desk.stream, Peer(id="b", name="Ben", url=""))
    assert await other.next() == told("one")
    await desk.stream.close()


async def test_after_a_close_it_serves_again_as_when_the_listener_is_opened_anew() -> None:
    desk = Desk()
    reader = Reader(desk.stream)
    await reader.next()
    await desk.stream.close()
    assert await reader.next() == b""
    await reader.end()

    again = Reader(desk.stream)
    assert await again.next() == told("one")
    desk.hashes[ANNA.id] = "two"
    desk.stream.notify()
    assert await again.next() == told("two")
    await desk.stream.close()
