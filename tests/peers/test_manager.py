"""Listener, door and announcement follow the configuration, whatever fails on the way; and nothing is left behind."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from fake_clock import FakeClock, backend
from mesh.fake_backends import settle
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.config import Config, LanSettings
from meshlight.domain.errors import BadRequest, Conflict, NotFound, PairingError, SecretError, ServiceError
from meshlight.domain.health import Refused
from meshlight.domain.pairing import TRIES
from meshlight.domain.peers import Peer, Sighting
from meshlight.peers.manager import RETRY_S, PeerManager
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.pairing.session import request_pairing
from meshlight.peers.trust import Trust
from peers.node_identities import node
from peers.pairs import side
from peers.test_trust import Chest, Pins

HERE, ANNA = node(), node()
PEER = Peer(id=ANNA.node_id, name="Anna", url="https://127.0.0.1:9")
LISTENS = LanSettings(browse=False, listen=True)
TAKEN = ServiceError("Port 6375 is taken by another program.", "Stop that program.")


class Desk:
    """The listener: notes what is done with it, and may not get its port."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: ServiceError | None = None
        self.cuts: list[str] = []
        self.gate: asyncio.Event | None = None

    async def open(self, tls: ssl.SSLContext, who: Callable[[ssl.SSLObject], str | None], port: int) -> None:
        del tls, who
        if self.gate is not None:
            await self.gate.wait()
        if self.taken is not None:
            raise self.taken
        self.port = port

    async def close(self) -> None:
        self.port = 0

    def cut(self, peer: str) -> None:
        self.cuts.append(peer)


class Book:
    """The ledger, in memory."""

    name = "Ben"

    def __init__(self, street: "Street", config: Config) -> None:
        self._street = street
        self.config = config
        self.notices: dict[str, str] = {}
        self.fault: Exception | None = None

    async def change(self, wanted: Callable[[Config], Config]) -> None:
        if self.fault is not None:
            raise self.fault
        await asyncio.sleep(0)
        self.config = wanted(self.config)
        self._street.neighbours.follow()

    async def put_backend(self, backend: Backend) -> None:
        self._street.registry.put(backend)

    async def remove_backend(self, backend_id: str) -> None:
        if backend_id not in self._street.registry.snapshot.nodes:
            raise NotFound("No such backend.")
        await asyncio.sleep(0)
        self._street.registry.remove(backend_id)

    def notice(self, topic: str, text: str) -> None:
        self.notices[topic] = text


class Lookout(DiscoveredPeers):
    """Sees whom a test wants it to see."""

    seen: Mapping[str, Sighting]

    @property
    def entries(self) -> Mapping[str, Sighting]:
        return self.seen


class Street(FakeClock):
    def __init__(self, *peers: Peer, lan: LanSettings = LISTENS, chest: Chest | None = None) -> None:
        super().__init__()
        self.chest = chest or Chest(HERE)
        self.pins = Pins({ANNA.node_id: ANNA.certificate_pem})
        self.listener = Desk()
        self.lookout = Lookout(self.clock, self.clock.later, find=lambda: ())
        self.lookout.seen = {}
        self.hurried: list[str] = []
        self.doors: list[int] = []
        self.book: Book = Book(self, Config(lan=lan, peers=peers))
        self.neighbours = PeerManager(
            registry=self.registry,
            store=self.book,
            trust=Trust(self.chest, self.pins),
            sightings=self.lookout,
            listener=self.listener,
            running=lambda _: 0,
            probe_soon=self.hurried.append,
            clock=self.clock,
            wall=lambda: 0.0,
            later=self.clock.later,
            bind=self._bind,
        )
        for peer in peers:
            self.registry.put(
                backend(f"peer-{peer.id[:8]}", kind="peer", ring="lan", url=peer.url, node_id=peer.id)
            )

    def _bind(self, port: int) -> list[socket.socket]:
        self.doors.append(port)
        sock = socket.create_server(("127.0.0.1", 0))
        self.door_at: tuple[str, int] = sock.getsockname()
        sock.setblocking(False)
        return [sock]

    async def lan(self, **fields: object) -> None:
        await self.book.change(lambda old: replace(old, lan=replace(old.lan, **fields)))
        await self.rest()

    async def rest(self) -> None:
        """Wait until everything under way has ended."""
        while self.neighbours._tasks:
            await asyncio.gather(*self.neighbours._tasks, return_exceptions=True)
            await settle()

    @property
    def used(self) -> Backend:
        return self.registry.node(f"peer-{ANNA.node_id[:8]}").backend


@asynccontextmanager
async def street(
    *peers: Peer, lan: LanSettings = LISTENS, chest: Chest | None = None
) -> AsyncIterator[Street]:
    found = Street(*peers, lan=lan, chest=chest)
    found.neighbours.start()
    await found.rest()
    try:
        yield found
    finally:
        await found.neighbours.close()
        assert not found.neighbours._tasks


async def test_it_listens_only_while_there_is_somebody_to_listen_to() -> None:
    async with street(PEER) as found:
        assert found.listener.port == 6375
        await found.lan(listen=False)
        assert found.listener.port == 0
        await found.lan(listen=True, port=7000)
        assert found.listener.port == 7000
        await found.neighbours.unpair(PEER.id)
        await found.rest()
        assert list(found.book.config.lan.pending_unpair_notices) == [PEER.id]
        assert found.listener.port == 7000  # Anna could not be told, and is told when she asks
        found.neighbours.unpaired(PEER.id)
        await found.rest()
        assert not found.book.config.lan.pending_unpair_notices
        assert (found.listener.port, found.pins.kept) == (0, {})


async def test_tries_that_failed_are_remembered_while_nobody_sees_this_machine() -> None:
    async with street() as found:
        for _ in range(TRIES):
            await found.lan(visible=True)
            host, port = found.door_at
            asking = await request_pairing(side(ANNA, "Anna", found.clock), host, port)
            await asking.refuse()
            with pytest.raises(PairingError, match="refused here"):
                await asking.end()
            await found.lan(visible=False)
        await found.lan(visible=True)
        with pytest.raises(PairingError, match="too many have failed"):
            await request_pairing(side(ANNA, "Anna", found.clock), *found.door_at)


async def test_two_partings_at_once_are_one() -> None:
    async with street(PEER) as found:
        found.neighbours.unpaired(PEER.id)
        found.neighbours.unpaired(PEER.id)
        await asyncio.gather(found.neighbours.unpair(PEER.id), found.neighbours.unpair(PEER.id))
        await found.rest()

        assert found.book.config.peers == ()
        assert len(found.book.config.lan.pending_unpair_notices) <= 1
        assert PEER.id in found.listener.cuts
        assert found.registry.snapshot.nodes == {}
        with pytest.raises(NotFound):
            await found.neighbours.unpair(PEER.id)


async def test_a_peer_that_says_it_is_over_is_followed() -> None:
    async with street(PEER) as found:
        found.registry.record_fact(found.used.id, Refused(Reason("unpaired", "Anna is no longer paired.", "")))
        await found.rest()

        assert found.book.config.peers == ()
        assert found.book.notices["unpaired"] == "Anna has ended the pairing with this machine."


async def test_a_keyring_that_is_locked_is_told_with_its_fix_and_tried_again() -> None:
    chest = Chest(HERE, SecretError("locked", "The keyring is locked.", "Unlock it."))
    async with street(PEER, chest=chest) as found:
        assert found.book.notices["peers"] == "The keyring is locked. Unlock it."
        assert found.neighbours.view().problem == "The keyring is locked. Unlock it."
        assert found.listener.port == 0
        with pytest.raises(SecretError):
            await found.neighbours.set_visibility(visible=True, browse=None)
        assert not found.book.config.lan.visible

        chest.error = None
        found.clock.pass_time(RETRY_S)
        await found.rest()
        assert found.listener.port == 6375
        assert found.book.notices["peers"] == ""
        assert found.hurried == [found.used.id]  # it can be asked now


async def test_a_key_that_is_gone_is_told_while_there_are_peers_who_know_it() -> None:
    async with street(PEER, chest=Chest()) as found:
        assert "is gone from its keyring" in found.neighbours.view().problem
    async with street(chest=Chest()) as found:
        assert "keyring" not in found.neighbours.view().problem


async def test_a_listener_without_its_port_keeps_nobody_from_being_seen_or_hidden() -> None:
    found = Street(PEER)
    found.listener.taken = TAKEN
    found.neighbours.start()
    await found.rest()
    assert found.book.notices["peers"] == "Port 6375 is taken by another program. Stop that program."

    await found.neighbours.set_visibility(visible=True, browse=None)
    assert found.neighbours.view().door == 6376
    await found.neighbours.set_visibility(visible=False, browse=None)
    assert found.neighbours.view().door == 0

    found.listener.taken = None
    found.clock.pass_time(RETRY_S)
    await found.rest()
    assert (found.listener.port, found.book.notices["peers"]) == (6375, "")
    await found.neighbours.close()


async def test_a_door_that_can_not_be_opened_is_told_to_who_wanted_it() -> None:
    async with street() as found:
        found.neighbours._bind = lambda _: (_ for _ in ()).throw(TAKEN)
        with pytest.raises(Conflict, match="is taken"):
            await found.neighbours.set_visibility(visible=True, browse=None)


async def test_the_door_follows_its_port() -> None:
    async with street(lan=replace(LISTENS, visible=True)) as found:
        await found.lan(door=7777)
        assert found.doors == [6376, 7777]
        assert found.neighbours.view().door == 7777


async def test_what_is_changed_while_the_listener_opens_counts_in_the_end() -> None:
    found = Street(PEER)
    found.listener.gate = asyncio.Event()
    found.neighbours.start()
    await settle()
    changing = asyncio.create_task(found.lan(listen=False))
    await settle()
    found.listener.gate.set()
    await changing
    await found.rest()

    assert found.listener.port == 0
    await found.neighbours.close()


async def test_closing_while_the_listener_opens_leaves_nothing_open() -> None:
    found = Street(PEER)
    found.listener.gate = asyncio.Event()
    found.neighbours.start()
    await settle()
    await found.neighbours.close()

    assert found.listener.port == 0
    found.neighbours.unpaired(PEER.id)
    found.neighbours.follow()
    found.registry.record_fact(found.used.id, Refused(Reason("unpaired", "Gone.", "")))
    assert not found.neighbours._tasks
    assert RETRY_S not in found.clock.armed


async def test_a_fault_in_the_background_is_logged_by_its_kind_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with street(PEER) as found:
        found.book.fault = RuntimeError("sk-canary-secret")
        found.neighbours.unpaired(PEER.id)
        await found.rest()

    assert "RuntimeError" in caplog.text
    assert "sk-canary-secret" not in caplog.text


def sighting(*addresses: str, **fields: object) -> Sighting:
    given: dict[str, object] = {
        "id": PEER.id,
        "name": "Anna",
        "host": "anna.local",
        "addresses": addresses,
        "port": 6375,
        "door": 6376,
        "backends": 1,
        "models": 1,
        "catalog": "",
        "service": "meshlight",
        "since": 0.0,
    }
    return Sighting(**(given | fields))  # type: ignore[arg-type]


async def test_whom_to_ask_has_to_be_named_and_seen() -> None:
    async with street() as found:
        for peer_id, kind in ((None, BadRequest), (PEER.id, NotFound)):
            with pytest.raises(kind):
                await found.neighbours.ask(peer_id, None, None)
        found.lookout.seen = {"bago:x": sighting("10.0.0.9", id="bago:x", door=0, service="bago")}
        with pytest.raises(BadRequest, match="can't be paired with"):
            await found.neighbours.ask("bago:x", None, None)
        assert found.neighbours.view().pairing is None
