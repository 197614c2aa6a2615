"""A peer that has moved is followed to where it proves itself, and a stranger who claims to be it leads nowhere."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from fake_clock import Clock
from meshlight.domain.backend import Backend
from meshlight.domain.peers import Sighting
from meshlight.peers.address_update import RETRY_S, AddressUpdate
from meshlight.peers.tls import PrivateIdentity, server_context
from meshlight.peers.trust import Trust
from peers.node_identities import node
from peers.test_trust import MemoryCertificates, MemoryIdentity

HERE, ANNA, MALLORY = node(), node(), node()
OLD = "https://127.0.0.1:9"
ANSWER = b"HTTP/1.1 304 Not Modified\r\n\r\n"


class FakePeer:
    """A peer that is down at its old address, and somebody at another one; `received` is what that one was sent."""

    def __init__(self, port: int, received: list[bytes]) -> None:
        self.received = received
        self.clock = Clock()
        self.saved: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.backend: Backend | None = Backend(
            id="anna", name="Anna", kind="peer", ring="lan", url=OLD, node_id=ANNA.node_id
        )
        self.sighting = Sighting(
            id=ANNA.node_id,
            name="Anna",
            host="anna",
            addresses=("127.0.0.1",),
            port=port,
            door=1,
            backends=0,
            models=0,
            catalog="",
            service="meshlight",
            since=0.0,
        )
        self.trust = Trust(MemoryIdentity(HERE), MemoryCertificates({ANNA.node_id: ANNA.certificate_pem}))
        self.address_update = AddressUpdate(self.trust, self._lost, self._put, self._spawn, self.clock.later)

    def _lost(self, peer_id: str) -> tuple[Backend, Sighting] | None:
        assert peer_id == ANNA.node_id
        return None if self.backend is None else (self.backend, self.sighting)

    async def _put(self, backend: Backend) -> None:
        self.saved.append(backend.url)
        self.backend = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def check(self) -> None:
        self.address_update.check(ANNA.node_id)
        await self.done()

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)


@asynccontextmanager
async def fake_peer(answers: PrivateIdentity) -> AsyncIterator[FakePeer]:
    received: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        writer.close()

    tls = server_context(answers, [HERE.certificate_pem])
    server = await asyncio.start_server(receive, "127.0.0.1", 0, ssl=tls)
    async with server:
        found = FakePeer(server.sockets[0].getsockname()[1], received)
        await found.trust.find()
        await found.trust.pin([ANNA.node_id])
        yield found


async def test_a_peer_that_proves_itself_elsewhere_is_followed() -> None:
    async with fake_peer(ANNA) as fake:
        await fake.check()
        assert fake.saved == [f"https://127.0.0.1:{fake.sighting.port}"]
        fake.clock.pass_time(RETRY_S * 3)
        assert len(fake.tasks) == 1, "no further try is scheduled"


async def test_of_several_addresses_the_one_that_answers_is_taken() -> None:
    async with fake_peer(ANNA) as fake:
        fake.sighting = replace(fake.sighting, addresses=("not an address", "127.0.0.1"))
        await fake.check()
        assert fake.saved == [f"https://127.0.0.1:{fake.sighting.port}"]


async def test_a_stranger_who_claims_to_be_it_is_told_nothing_and_is_not_followed() -> None:
    async with fake_peer(MALLORY) as fake:
        await fake.check()
        assert fake.saved == []
        assert fake.received == []


@pytest.mark.parametrize("is_still_lost", [True, False])
async def test_in_vain_it_is_tried_again_while_the_peer_is_lost(is_still_lost: bool) -> None:
    async with fake_peer(MALLORY) as fake:
        await fake.check()
        if not is_still_lost:
            fake.backend = None
        fake.clock.pass_time(RETRY_S)
        await fake.done()
        assert len(fake.tasks) == (2 if is_still_lost else 1)


async def test_a_peer_that_is_looked_for_is_not_looked_for_twice() -> None:
    async with fake_peer(ANNA) as fake:
        fake.address_update.check(ANNA.node_id)
        fake.address_update.check(ANNA.node_id)
        await fake.done()
        assert len(fake.tasks) == 1
