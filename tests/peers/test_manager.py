"""Listener, pairing port and announcement follow the configuration, whatever fails; and nothing is left behind."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from fake_clock import FakeMesh, backend
from mesh.fake_backends import settle
from mesh.memory_settings import MemorySettingsStore
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.config import Config, LanSettings
from meshlight.domain.errors import (
    BadRequest,
    ConfigError,
    Conflict,
    NotFound,
    PairingError,
    SecretError,
    ServiceError,
)
from meshlight.domain.health import Refused
from meshlight.domain.pairing import TRIES
from meshlight.domain.peers import Peer, Sighting
from meshlight.peers.manager import FIRST_PROBE_S, RETRY_S, PeerManager
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.pairing.session import PairingSession, request_pairing
from meshlight.peers.trust import Trust
from peers.node_identities import node
from peers.pairs import side
from peers.test_trust import MemoryCertificates, MemoryIdentity

HERE, ANNA = node(), node()
PEER = Peer(id=ANNA.node_id, name="Anna", url="https://127.0.0.1:9")
LISTENS = LanSettings(browse=False, listen=True)
TAKEN = ServiceError("Port 6375 is taken by another program.", "Stop that program.")


class FakeListener:
    """Records what is done with it, and may not get its port."""

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


class FakeDiscoveredPeers(DiscoveredPeers):
    """Has the entries that a test wants."""

    found: Mapping[str, Sighting]

    @property
    def entries(self) -> Mapping[str, Sighting]:
        return self.found


class FakePeers(FakeMesh):
    def __init__(
        self, *peers: Peer, lan: LanSettings = LISTENS, identity: MemoryIdentity | None = None
    ) -> None:
        super().__init__()
        self.identity = identity or MemoryIdentity(HERE)
        self.certificates = MemoryCertificates({ANNA.node_id: ANNA.certificate_pem})
        self.trust = Trust(self.identity, self.certificates)
        self.listener = FakeListener()
        self.discovered = FakeDiscoveredPeers(self.clock, self.clock.later, find=lambda: ())
        self.discovered.found = {}
        self.probed: list[str] = []
        self.pairing_ports: list[int] = []
        used = tuple(_backend_of(peer) for peer in peers)
        self.store = MemorySettingsStore(Config(lan=lan, peers=peers, backends=used), self._follow)
        self.changes = 0
        self.news = asyncio.Event()
        self.manager = PeerManager(
            registry=self.registry,
            store=self.store,
            trust=self.trust,
            discovered=self.discovered,
            listener=self.listener,
            running=lambda _: 0,
            probe_soon=self.probed.append,
            clock=self.clock,
            wall=lambda: 0.0,
            later=self.clock.later,
            bind=self._bind,
            on_change=self.news.set,
        )
        self._put_backends(self.store.config)

    def _put_backends(self, config: Config) -> None:
        for gone in set(self.registry.snapshot.nodes) - {used.id for used in config.backends}:
            self.registry.remove(gone)
        for used in config.backends:
            self.registry.put(used)

    def _follow(self, config: Config) -> None:
        self.changes += 1
        self._put_backends(config)
        self.manager.follow()

    def _bind(self, port: int) -> list[socket.socket]:
        self.pairing_ports.append(port)
        sock = socket.create_server(("127.0.0.1", 0))
        self.pairing_address: tuple[str, int] = sock.getsockname()
        sock.setblocking(False)
        return [sock]

    async def lan(self, **fields: object) -> None:
        await self.store.change(lambda old: replace(old, lan=replace(old.lan, **fields)))
        await self.rest()

    async def rest(self) -> None:
        """Wait until everything under way has ended."""
        while self.manager._tasks:
            await asyncio.gather(*self.manager._tasks, return_exceptions=True)
            await settle()

    @property
    def used(self) -> Backend:
        return self.registry.node(f"peer-{ANNA.node_id[:8]}").backend


def _backend_of(peer: Peer) -> Backend:
    return backend(f"peer-{peer.id[:8]}", kind="peer", ring="lan", url=peer.url, node_id=peer.id)


@asynccontextmanager
async def fake_peers(
    *peers: Peer, lan: LanSettings = LISTENS, identity: MemoryIdentity | None = None
) -> AsyncIterator[FakePeers]:
    found = FakePeers(*peers, lan=lan, identity=identity)
    found.manager.start()
    await found.rest()
    try:
        yield found
    finally:
        await found.manager.close()
        assert not found.manager._tasks


async def confirm(found: FakePeers, asking: PairingSession) -> None:
    """Confirm on both sides, once this one shows the digits too."""
    while found.manager.view().pairing is None:
        found.news.clear()
        await found.news.wait()
    await asking.confirm()
    await found.manager.confirm()
    await asking.end()


async def until_over(found: FakePeers) -> None:
    """Wait until the pairing under way is saved, or has failed."""
    task = found.manager._coordinator._task
    assert task is not None
    await task
    await found.rest()


async def test_it_listens_only_while_there_is_somebody_to_listen_to() -> None:
    async with fake_peers(PEER) as found:
        assert found.listener.port == 6375
        await found.lan(listen=False)
        assert found.listener.port == 0
        await found.lan(listen=True, port=7000)
        assert found.listener.port == 7000
        await found.manager.unpair(PEER.id)
        await found.rest()
        assert list(found.store.config.lan.pending_unpair_notices) == [PEER.id]
        assert found.listener.port == 7000  # Anna could not be told, and is told when she asks
        found.manager.unpaired(PEER.id)
        await found.rest()
        assert not found.store.config.lan.pending_unpair_notices
        assert (found.listener.port, found.certificates.kept) == (0, {})


async def test_tries_that_failed_are_remembered_while_nobody_sees_this_machine() -> None:
    async with fake_peers() as found:
        for _ in range(TRIES):
            await found.lan(visible=True)
            host, port = found.pairing_address
            asking = await request_pairing(side(ANNA, "Anna", found.clock), host, port)
            await asking.refuse()
            with pytest.raises(PairingError, match="refused here"):
                await asking.end()
            await found.lan(visible=False)
        await found.lan(visible=True)
        with pytest.raises(PairingError, match="too many have failed"):
            await request_pairing(side(ANNA, "Anna", found.clock), *found.pairing_address)


async def test_a_pairing_is_one_write_and_one_pass_and_then_the_peer_is_probed() -> None:
    async with fake_peers(lan=LanSettings(browse=False, visible=True)) as found:
        reads, changes = found.certificates.reads, found.changes
        ready: list[bool] = []
        found.registry.listen(
            lambda change: ready.append(not found.trust.is_new(ANNA.node_id)) if change.shape else None
        )
        asking = await request_pairing(side(ANNA, "Anna", found.clock), *found.pairing_address)
        await confirm(found, asking)
        await until_over(found)

        assert [peer.id for peer in found.store.config.peers] == [ANNA.node_id]
        assert found.used.node_id == ANNA.node_id
        assert (found.changes - changes, found.certificates.reads - reads) == (1, 1)
        assert (ready, found.probed) == ([False], []), "it can't be reached before its certificate is pinned"
        found.clock.pass_time(FIRST_PROBE_S)
        assert (ready, found.probed) == ([False, True], [found.used.id])
        assert found.listener.port == 6375


async def test_a_peer_that_pairs_again_keeps_its_terms_and_gets_its_new_address() -> None:
    async with fake_peers(replace(PEER, max_in_flight=7), lan=replace(LISTENS, visible=True)) as found:
        changes = found.changes
        asking = await request_pairing(side(ANNA, "Anna B.", found.clock, port=7001), *found.pairing_address)
        await confirm(found, asking)
        await until_over(found)

        [peer] = found.store.config.peers
        assert (peer.name, peer.max_in_flight, peer.url) == ("Anna B.", 7, "https://127.0.0.1:7001")
        assert found.used.url == peer.url
        assert found.changes - changes == 1


async def test_a_pairing_that_can_not_be_saved_leaves_neither_peer_nor_backend() -> None:
    async with fake_peers(lan=LanSettings(browse=False, visible=True)) as found:
        found.store.error = ConfigError("The file can't be written.", "Free some space.")
        asking = await request_pairing(side(ANNA, "Anna", found.clock), *found.pairing_address)
        await confirm(found, asking)
        await until_over(found)

        view = found.manager.view()
        assert view.peers == ()
        assert view.pairing is not None
        assert "could not be written down here" in view.pairing.why
        assert found.registry.snapshot.nodes == {}


async def test_two_partings_at_once_are_one() -> None:
    async with fake_peers(PEER) as found:
        found.manager.unpaired(PEER.id)
        found.manager.unpaired(PEER.id)
        await asyncio.gather(found.manager.unpair(PEER.id), found.manager.unpair(PEER.id))
        await found.rest()

        assert found.store.config.peers == ()
        assert len(found.store.config.lan.pending_unpair_notices) <= 1
        assert PEER.id in found.listener.cuts
        assert found.registry.snapshot.nodes == {}
        with pytest.raises(NotFound):
            await found.manager.unpair(PEER.id)


async def test_a_peer_that_says_it_is_over_is_followed() -> None:
    async with fake_peers(PEER) as found:
        found.registry.record_fact(
            found.used.id, Refused(Reason("unpaired", "Anna is no longer paired.", ""))
        )
        await found.rest()

        assert found.store.config.peers == ()
        assert found.store.by_topic["unpaired"] == "Anna has ended the pairing with this machine."


async def test_a_keyring_that_is_locked_is_told_with_its_fix_and_tried_again() -> None:
    identity = MemoryIdentity(HERE, SecretError("locked", "The keyring is locked.", "Unlock it."))
    async with fake_peers(PEER, identity=identity) as found:
        assert found.store.by_topic["peers"] == "The keyring is locked. Unlock it."
        assert found.manager.view().problem == "The keyring is locked. Unlock it."
        assert found.listener.port == 0
        with pytest.raises(SecretError):
            await found.manager.set_visibility(visible=True, browse=None)
        assert not found.store.config.lan.visible

        identity.error = None
        found.clock.pass_time(RETRY_S)
        await found.rest()
        assert found.listener.port == 6375
        assert found.store.by_topic["peers"] == ""
        assert found.probed == [found.used.id]  # it can be asked now


async def test_a_key_that_is_gone_is_told_while_there_are_peers_who_know_it() -> None:
    async with fake_peers(PEER, identity=MemoryIdentity()) as found:
        assert "is gone from its keyring" in found.manager.view().problem
    async with fake_peers(identity=MemoryIdentity()) as found:
        assert "keyring" not in found.manager.view().problem


async def test_a_listener_without_its_port_keeps_nobody_from_being_seen_or_hidden() -> None:
    found = FakePeers(PEER)
    found.listener.taken = TAKEN
    found.manager.start()
    await found.rest()
    assert found.store.by_topic["peers"] == "Port 6375 is taken by another program. Stop that program."

    await found.manager.set_visibility(visible=True, browse=None)
    assert found.manager.view().door == 6376
    await found.manager.set_visibility(visible=False, browse=None)
    assert found.manager.view().door == 0

    found.listener.taken = None
    found.clock.pass_time(RETRY_S)
    await found.rest()
    assert (found.listener.port, found.store.by_topic["peers"]) == (6375, "")
    await found.manager.close()


async def test_a_door_that_can_not_be_opened_is_told_to_who_wanted_it() -> None:
    async with fake_peers() as found:
        found.manager._bind = lambda _: (_ for _ in ()).throw(TAKEN)
        with pytest.raises(Conflict, match="is taken"):
            await found.manager.set_visibility(visible=True, browse=None)


async def test_the_door_follows_its_port() -> None:
    async with fake_peers(lan=replace(LISTENS, visible=True)) as found:
        await found.lan(door=7777)
        assert found.pairing_ports == [6376, 7777]
        assert found.manager.view().door == 7777


async def test_what_is_changed_while_the_listener_opens_counts_in_the_end() -> None:
    found = FakePeers(PEER)
    found.listener.gate = asyncio.Event()
    found.manager.start()
    await settle()
    changing = asyncio.create_task(found.lan(listen=False))
    await settle()
    found.listener.gate.set()
    await changing
    await found.rest()

    assert found.listener.port == 0
    await found.manager.close()


async def test_closing_while_the_listener_opens_leaves_nothing_open() -> None:
    found = FakePeers(PEER)
    found.listener.gate = asyncio.Event()
    found.manager.start()
    await settle()
    await found.manager.close()

    assert found.listener.port == 0
    found.manager.unpaired(PEER.id)
    found.manager.follow()
    found.registry.record_fact(found.used.id, Refused(Reason("unpaired", "Gone.", "")))
    assert not found.manager._tasks
    assert RETRY_S not in found.clock.armed


async def test_a_fault_in_the_background_is_logged_by_its_kind_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fake_peers(PEER) as found:
        found.store.error = RuntimeError("sk-canary-secret")
        found.manager.unpaired(PEER.id)
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
    async with fake_peers() as found:
        for peer_id, kind in ((None, BadRequest), (PEER.id, NotFound)):
            with pytest.raises(kind):
                await found.manager.ask(peer_id, None, None)
        found.discovered.found = {"bago:x": sighting("10.0.0.9", id="bago:x", door=0, service="bago")}
        with pytest.raises(BadRequest, match="can't be paired with"):
            await found.manager.ask("bago:x", None, None)
        assert found.manager.view().pairing is None
