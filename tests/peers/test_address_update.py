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
from meshlight.peers.address_update import AGAIN_S, AddressUpdate
from meshlight.peers.tls import PrivateIdentity, server_context
from meshlight.peers.trust import Trust
from peers.node_identities import node
from peers.test_trust import Chest, Pins

HERE, ANNA, MALLORY = node(), node(), node()
OLD = "https://127.0.0.1:9"
ANSWER = b"HTTP/1.1 304 Not Modified\r\n\r\n"


class Street:
    """Somebody answers at an address; `heard` is what was said to it."""

    def __init__(self, port: int, heard: list[bytes]) -> None:
        self.heard = heard
        self.clock = Clock()
        self.kept: list[str] = []
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
        self.trust = Trust(Chest(HERE), Pins({ANNA.node_id: ANNA.certificate_pem}))
        self.pursuit = AddressUpdate(self.trust, self._lost, self._put, self._spawn, self.clock.later)

    def _lost(self, peer_id: str) -> tuple[Backend, Sighting] | None:
        assert peer_id == ANNA.node_id
        return None if self.backend is None else (self.backend, self.sighting)

    async def _put(self, backend: Backend) -> None:
        self.kept.append(backend.url)
        self.backend = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def look(self) -> None:
        self.pursuit.look(ANNA.node_id)
        await self.done()

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)


@asynccontextmanager
async def street(answers: PrivateIdentity) -> AsyncIterator[Street]:
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        writer.close()

    tls = server_context(answers, [HERE.certificate_pem])
    server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=tls)
    async with server:
        found = Street(server.sockets[0].getsockname()[1], heard)
        await found.trust.find()
        await found.trust.believe([ANNA.node_id])
        yield found


async def test_a_peer_that_proves_itself_elsewhere_is_followed() -> None:
    async with street(ANNA) as seen:
        await seen.look()
        assert seen.kept == [f"https://127.0.0.1:{seen.sighting.port}"]
        seen.clock.pass_time(AGAIN_S * 3)
        assert len(seen.tasks) == 1, "it is looked for no more"


async def test_of_several_addresses_the_one_that_answers_is_taken() -> None:
    async with street(ANNA) as seen:
        seen.sighting = replace(seen.sighting, addresses=("not an address", "127.0.0.1"))
        await seen.look()
        assert seen.kept == [f"https://127.0.0.1:{seen.sighting.port}"]


async def test_a_stranger_who_claims_to_be_it_is_told_nothing_and_is_not_followed() -> None:
    async with street(MALLORY) as seen:
        await seen.look()
        assert seen.kept == []
        assert seen.heard == []


@pytest.mark.parametrize("is_still_lost", [True, False])
async def test_in_vain_it_is_tried_again_while_the_peer_is_lost(is_still_lost: bool) -> None:
    async with street(MALLORY) as seen:
        await seen.look()
        if not is_still_lost:
            seen.backend = None
        seen.clock.pass_time(AGAIN_S)
        await seen.done()
        assert len(seen.tasks) == (2 if is_still_lost else 1)


async def test_a_peer_that_is_looked_for_is_not_looked_for_twice() -> None:
    async with street(ANNA) as seen:
        seen.pursuit.look(ANNA.node_id)
        seen.pursuit.look(ANNA.node_id)
        await seen.done()
        assert len(seen.tasks) == 1
