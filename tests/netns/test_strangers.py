"""Somebody else on the network: poses as a peer, knocks without a key, and learns nothing from either."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshlight.peers.mdns.records import Announcement
from meshlight.peers.tls import pairing_client_context
from netns.engines import Engines, Wanted
from netns.namespaces import Lan, Machine
from netns.node_process import PATIENCE_S, Home
from netns.raw_mdns_sender import Crier
from netns.recorder import Recorder, stranger, strangers_context
from stopwatch import Stopwatch

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.one_process]
LAN_PORT = 6375
HANDSHAKE_S = 5.0
KNOCKERS = 20
MODEL = "model-of-bo"


class Street:
    """Anna and Bo, who are paired, and Mallory."""

    def __init__(self, lan: Lan) -> None:
        self.anna, self.bo = Home(lan["anna"]), Home(lan["bo"])
        self.mallory: Machine = lan["mallory"]
        self.wanted: tuple[Wanted, ...] = ()

    async def start(self) -> None:
        engines = await Engines.on(self.bo.machine, Wanted(name="own", models=(MODEL,)))
        self.wanted = engines.wanted
        await asyncio.gather(self.anna.start(), self.bo.start(self.wanted))
        await self.anna.pair(self.bo)
        await self.settled()

    async def settled(self) -> None:
        await self.anna.until(lambda state: MODEL in state.models)
        assert (await self.anna.chat(MODEL)).status_code == 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street() -> AsyncIterator[Street]:
    async with Lan(["anna", "bo", "mallory"]) as lan:
        found = Street(lan)
        await found.start()
        yield found
        await asyncio.gather(found.anna.stop(), found.bo.stop())


@pytest.mark.parametrize("shows", ["no certificate", "a certificate that nobody knows"])
async def test_who_is_not_paired_gets_no_byte_of_an_answer(street: Street, shows: str) -> None:
    tls = pairing_client_context() if shows == "no certificate" else strangers_context(stranger())
    reader, writer = await street.mallory.connect(LAN_PORT, street.bo.machine.address, tls)
    writer.write(b"GET /peer/catalog HTTP/1.1\r\nhost: bo\r\n\r\n")
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
    except (ssl.SSLError, ConnectionResetError):
        pass  # told in the handshake's own words that it is not wanted
    writer.close()


async def test_who_speaks_no_tls_or_says_nothing_holds_nobody_up(street: Street) -> None:
    host = street.bo.machine.address
    talker, writer = await street.mallory.connect(LAN_PORT, host)
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: bo\r\n\r\n")
    knockers = [await street.mallory.connect(LAN_PORT, host) for _ in range(KNOCKERS)]
    for number, (_, other) in enumerate(knockers):
        other.write(b"\x16\x03\x01\x02\x00"[: number % 6])  # a handshake's first bytes, and no more
    stopwatch = Stopwatch(street.anna.process.pid, street.bo.process.pid)
    assert (await street.anna.chat(MODEL)).status_code == 200
    assert stopwatch.elapsed_s < HANDSHAKE_S - 1, "it waited until the handshakes were given up"
    async with asyncio.timeout(PATIENCE_S):
        assert b"HTTP" not in await _all(talker)
        for reader, _ in knockers:
            assert b"HTTP" not in await _all(reader)
    for other in (writer, *(other for _, other in knockers)):
        other.close()


async def test_who_announces_a_peers_name_and_id_elsewhere_is_sent_nothing(street: Street) -> None:
    anna, bo = street.anna, street.bo
    await bo.stop()
    told = Announcement(id=bo.id, name=bo.name, port=LAN_PORT, door=6376, backends=1, models=1)
    async with Recorder(street.mallory, LAN_PORT) as recorder:
        with Crier(street.mallory) as crier:
            # The address holds for as long as a busy machine takes to find that Bo is away, and to look there.
            crier.cry(told, street.mallory.address, ttl_s=30)
            await anna.until(
                lambda state: street.mallory.address in (state.saw(bo.id) or {}).get("addresses", ())
            )
            await recorder.met(1, 30)
            assert (await anna.chat(MODEL)).status_code == 503
            assert recorder.received == b""
            shown = (await anna.state()).backend("bo")
            assert shown is not None
            assert bo.machine.address in shown["url"]
            await bo.start()
            await street.settled()
        assert recorder.received == b""


async def test_a_peer_whose_key_has_changed_is_sent_nothing_and_can_be_paired_anew(street: Street) -> None:
    anna, bo = street.anna, street.bo
    await bo.stop()
    async with Recorder(bo.machine, LAN_PORT) as recorder:
        await anna.until(lambda state: _reason(state.backend("bo")) == "identity-changed")
        answer = await anna.chat(MODEL)
        assert answer.status_code == 503
        assert "does not answer with the key" in answer.text
        await anna.change("POST", "/refresh?wait=true")
        assert recorder.connections >= 2
        assert recorder.received == b""
    shutil.rmtree(bo.machine.home)
    bo.machine.home.mkdir()
    old = bo.id
    await bo.start(street.wanted)
    assert bo.id != old
    await anna.change("DELETE", f"/peers/{old}")
    await anna.pair(bo)
    await street.settled()
    assert [peer["id"] for peer in (await anna.state()).peers["peers"]] == [bo.id]


def _reason(backend: dict[str, dict[str, str]] | None) -> str:
    return "" if backend is None else backend["health"]["reason"]


async def _all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
