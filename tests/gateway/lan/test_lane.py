"""Peers' requests in the lane: what they may use, what they see, and how many may run."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from bench.upstream import ANSWER
from faults.held import HeldEngine
from faults.raw import RawBackend, chunked, complete, responds
from gateway.lan.guest_gateway import ANNA, BEN, GuestGateway, guest_gateway
from meshlight.domain.backend import Reason
from meshlight.domain.config import Config
from meshlight.domain.health import Unreached
from meshlight.storage.node_key import NodeIdentity
from servers.byte_server import chunk

WAIT_S = 10.0
CHAT = "/v1/chat/completions"
VIA = "x-meshlight-via: annas-node"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a word of the answer"}}]}\n\n'
GOOD = complete(ANSWER, b"content-type: application/json", b"x-account: the owner's", b"x-meshlight-why: no")


class Guest:
    """One connection of a peer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *headers: str, path: str = CHAT, **fields: Any) -> None:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields).encode()
        lines = (f"POST {path} HTTP/1.1", "host: here", *headers, f"content-length: {len(body)}", "", "")
        self.writer.write("\r\n".join(lines).encode() + body)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(mark)

    async def answer(self) -> tuple[bytes, bytes]:
        head = await self.until(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, await self.reader.readexactly(length)

    async def ask(self, *headers: str, **fields: Any) -> bytes:
        self.send(*(headers or (VIA,)), **fields)
        return (await self.answer())[0]


@pytest.fixture
async def gateway() -> AsyncIterator[GuestGateway]:
    async with guest_gateway(Config()) as gateway:
        yield gateway


async def guest(gateway: GuestGateway, who: NodeIdentity = ANNA) -> Guest:
    return Guest(*await gateway.connect(who))


@pytest.fixture
async def anna(gateway: GuestGateway) -> AsyncIterator[Guest]:
    anna = await guest(gateway)
    yield anna
    anna.writer.transport.abort()


def numbers(gateway: GuestGateway, who: NodeIdentity = ANNA) -> tuple[int, int]:
    """Return how many requests were begun in the lane, and how many of those went on in a task."""
    lane = gateway.lanes.of(who.node_id)
    return lane.begun, lane.handed_over


async def settled(gateway: GuestGateway, total: int) -> tuple[int, int, int, int]:
    """Wait until so many requests have ended, and return the tally; none runs any more."""
    router = gateway.rig.traffic.router
    async with asyncio.timeout(WAIT_S):
        while router.successful + router.failed + router.cancelled < total:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
        while gateway.guests.running(ANNA.node_id):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
    assert router.in_flight == sum(gateway.rig.traffic.load.values()) == 0
    return router.total, router.successful, router.failed, router.cancelled


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/api/chat"])
async def test_a_peers_request_needs_no_task(gateway: GuestGateway, anna: Guest, path: str) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend, kind="ollama" if path.startswith("/api") else "llamacpp")
        heads = [await anna.ask(VIA, "authorization: Bearer x", path=path) for _ in range(3)]
        assert len({request.raw for request in backend.posts}) == 1
        assert backend.posts[-1].headers["x-meshlight-via"] == "annas-node,this-node"
        assert "authorization" not in backend.posts[-1].headers
    assert numbers(gateway) == (2, 0)
    assert await settled(gateway, 3) == (3, 3, 0, 0)
    for head in heads:
        assert b" 200 OK\r\n" in head
        assert b"x-request-id: " in head
        assert b"x-meshlight" not in head
        assert b"x-account" not in head


async def test_what_own_programs_get_is_not_what_a_peer_gets(gateway: GuestGateway, anna: Guest) -> None:
    """The head of an answer that was made for the one is not sent to the other."""
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await anna.ask()
        link = gateway.rig.links.get("a")
        assert link is not None
        known = next(iter(link.upstream._pool.heads._heads.values()))
        await anna.ask()
        assert known.made == {}
        known.made["chat/completions"] = pytest.fail  # a peer's request does not even look at it
        assert b"x-account" not in await anna.ask()
    assert numbers(gateway) == (2, 0)


async def test_a_stream_flows_without_a_task(gateway: GuestGateway, anna: Guest) -> None:
    stream = chunked(EVENT, EVENT, b"data: [DONE]\n\n")
    async with RawBackend("a", respond=responds(*stream)) as backend:
        gateway.rig.add(backend)
        for _ in range(3):
            anna.send(VIA, stream=True)
            assert (await anna.until(b"0\r\n\r\n")).count(EVENT) == 2
    assert numbers(gateway) == (2, 0)
    assert await settled(gateway, 3) == (3, 3, 0, 0)


async def test_a_peer_uses_what_it_may_use_now(gateway: GuestGateway, anna: Guest) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        for _ in range(2):
            await anna.ask()
        terms = gateway.peers[ANNA.node_id]
        gateway.peers = {ANNA.node_id: replace(terms, share_rings=("lan",))}
        assert b" 404 " in await anna.ask()
        gateway.peers = {ANNA.node_id: replace(terms, paused=True)}
        assert b" 503 " in await anna.ask()
        gateway.peers = {}
        assert b" 403 " in await anna.ask()
        assert len(backend.posts) == 2
    assert numbers(gateway) == (1, 0)


async def test_what_one_peer_may_use_is_not_what_another_may(gateway: GuestGateway, anna: Guest) -> None:
    gateway.peers[BEN.node_id] = replace(gateway.peers[BEN.node_id], share_rings=("lan",))
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        ben = await guest(gateway, BEN)
        for _ in range(3):
            assert b" 200 " in await anna.ask()
            assert b" 404 " in await ben.ask()
        ben.writer.transport.abort()
    assert numbers(gateway) == (2, 0)
    assert numbers(gateway, BEN) == (0, 0)


async def test_no_more_run_than_may(gateway: GuestGateway, anna: Guest) -> None:
    gateway.peers[ANNA.node_id] = replace(gateway.peers[ANNA.node_id], max_in_flight=1)
    async with HeldEngine("a") as engine:
        engine.says = GOOD
        gateway.rig.add(engine)
        for _ in range(2):
            anna.send(VIA)
            await engine.until_held(1)
            assert gateway.guests.running(ANNA.node_id) == 1
            other = await guest(gateway)
            assert b" 429 " in await other.ask()
            other.writer.transport.abort()
            engine.answer()
            assert b" 200 " in (await anna.answer())[0]
    assert numbers(gateway) == (1, 0)
    assert await settled(gateway, 2) == (2, 2, 0, 0)


@pytest.mark.parametrize("via", ["this-node", "a,b,c"])
async def test_what_came_round_is_refused(gateway: GuestGateway, anna: Guest, via: str) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await anna.ask()
        for _ in range(2):
            assert b" 508 " in await anna.ask(f"x-meshlight-via: {via}")
        assert len(backend.posts) == 1
    assert numbers(gateway) == (0, 0)


async def test_a_body_with_further_models_is_refused(gateway: GuestGateway, anna: Guest) -> None:
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        await anna.ask()
        assert b" 400 " in await anna.ask(fallbacks=["gpt-5"])
        assert len(backend.posts) == 1
    assert numbers(gateway) == (0, 0)


async def test_a_peer_that_leaves_cancels_its_request(gateway: GuestGateway, anna: Guest) -> None:
    async with HeldEngine("a") as engine:
        gateway.rig.add(engine)
        anna.send(VIA)
        await engine.until_held(1)
        engine.answer()
        await anna.answer()
        anna.send(VIA)
        await engine.until_held(1)
        anna.writer.transport.abort()
        assert await settled(gateway, 2) == (2, 1, 0, 1)
        await engine.until_held(0)
    assert numbers(gateway) == (1, 1)


async def test_a_backend_that_falls_is_left_for_another_one(gateway: GuestGateway, anna: Guest) -> None:
    async with HeldEngine("a") as engine, RawBackend("b", respond=responds(GOOD)) as other:
        gateway.rig.add(engine)
        gateway.rig.add(other)
        anna.send(VIA)
        await engine.until_held(1)
        engine.answer()
        await anna.answer()
        anna.send(VIA)
        await engine.until_held(1)
        gateway.rig.registry.record_fact("a", Unreached(Reason("refused", "It is down.")))
        head, _ = await anna.answer()
        assert b" 200 " in head
        assert b"x-meshlight" not in head
        assert await settled(gateway, 2) == (2, 2, 0, 0)
    assert numbers(gateway) == (1, 1)


async def test_a_stream_that_breaks_off_tells_nothing_of_the_backend(
    gateway: GuestGateway, anna: Guest
) -> None:
    answers = [GOOD, chunked(EVENT)[0] + chunk(EVENT)]
    go_on = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter, _: object) -> None:
        writer.write(answers.pop(0))
        if not answers:
            await go_on.wait()
            writer.close()

    async with RawBackend("a", respond=respond) as backend:
        gateway.rig.add(backend)
        await anna.ask()
        anna.send(VIA, stream=True)
        await anna.until(EVENT)
        go_on.set()
        said = await anna.until(b"0\r\n\r\n")
        assert b"broke" in said
        assert str(backend.port).encode() not in said
        assert await settled(gateway, 2) == (2, 1, 1, 0)
    assert numbers(gateway) == (1, 1)


async def test_a_setting_switches_it_off(gateway: GuestGateway, anna: Guest) -> None:
    gateway.config = Config(lane=False)
    async with RawBackend("a", respond=responds(GOOD)) as backend:
        gateway.rig.add(backend)
        for _ in range(3):
            await anna.ask()
    assert numbers(gateway) == (0, 0)


async def test_lanes_of_those_that_are_no_peers_any_more_are_let_go_of(gateway: GuestGateway) -> None:
    first = gateway.lanes.of(ANNA.node_id)
    assert gateway.lanes.of(ANNA.node_id) is first
    del gateway.peers[ANNA.node_id]
    gateway.lanes.of(BEN.node_id)
    assert gateway.lanes.of(ANNA.node_id) is not first
