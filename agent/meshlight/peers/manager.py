"""Other Meshlights: who is discovered, who is paired, what each may use; and whether this machine is visible.

`PeerManager.follow` starts a pass that brings everything to the configuration, one step after the other: discovery
(`mdns/browser.py`), the LAN listener with the pinned certificates (`trust.py`, `tls.py`), and the pairing port with
the announcement (`pairing/server.py`, `mdns/announcer.py`). Each change of the configuration requests a pass; one
that has not begun yet serves all who have requested it.

How a pairing goes, file by file:

 1. The user picks a machine: `POST /mesh/peers/pairing` (`gateway/control/peers.py`) calls `PeerManager.ask` here.
 2. `pairing/coordinator.py` allows one pairing at a time, and connects by `request_pairing` (`pairing/session.py`).
 3. The other machine's `pairing/server.py` accepts. Both exchange messages (`pairing/messages.py`) until they have
    the same transcript, and show its six digits (`domain/pairing.py`: what is hashed and signed, and the states).
 4. Both people confirm; each side checks the other's signature (`tls.py`), and the session ends as `Paired`.
 5. The coordinator calls `PeerManager._add_peer`: the certificate is saved (`trust.py`), then one change of the
    settings (`mesh/settings_store.py`, `service/settings_store.py`) adds the peer and the backend that stands for it.
 6. The service follows the new configuration (`service/wiring.py`): `mesh/backend_admin.py` puts the backend into the
    registry, and a pass here pins the certificate and opens the listener. A second later, when the other machine has
    done the same, the backend is probed for the first time (`mesh/prober.py`).
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.config import Config, LanSettings
from meshlight.domain.errors import BadRequest, Conflict, MeshlightError, NotFound, SecretError, ServiceError
from meshlight.domain.pairing import FailedTries
from meshlight.domain.peers import (
    Peer,
    PeersView,
    SharedCatalog,
    Sighting,
    peer_view,
    short_id,
    sighting_view,
)
from meshlight.http_client.address import parse_address
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.settings_store import SettingsStore
from meshlight.peers.address_update import AddressUpdate
from meshlight.peers.catalogs import Catalogs, announced_counts
from meshlight.peers.lan_listener import LanListener
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.pairing.coordinator import PairingCoordinator
from meshlight.peers.pairing.server import PairingServer
from meshlight.peers.pairing.session import LocalPeer, Paired
from meshlight.peers.tls import PrivateIdentity
from meshlight.peers.trust import Trust
from meshlight.peers.unpairing import Unpairing

RETRY_S = 30.0
"""After how long a pass that had a problem (a port that is taken, a locked keyring) is repeated."""
FIRST_PROBE_S = 1.0
"""How long after a pairing the peer is probed for the first time: both machines open their listeners just then, and
one that is not open yet would count as down."""

log = logging.getLogger(__name__)


class PeerManager:
    """Everything about other Meshlights; its methods are what the control API and the LAN listener call.

    `running` counts a peer's requests here, `probe_soon` has a backend probed, `bind` returns listening sockets for a
    port on every address, `wall` is Unix time, `on_change` is called when anything in `view` or in a peer's `catalog`
    may have changed.
    """

    def __init__(  # noqa: PLR0913 - it joins many parts, each given by name
        self,
        *,
        registry: Registry,
        store: SettingsStore,
        trust: Trust,
        discovered: DiscoveredPeers,
        listener: LanListener,
        running: Callable[[str], int],
        probe_soon: Callable[[str], None],
        clock: Clock,
        wall: Clock,
        later: CallLater,
        bind: Callable[[int], Sequence[socket.socket]],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._store = store
        self._trust = trust
        self._discovered = discovered
        self._listener = listener
        self._running = running
        self._probe_soon = probe_soon
        self._clock = clock
        self._wall = wall
        self._later = later
        self._bind = bind
        self._on_change = on_change
        self._coordinator = PairingCoordinator(self._add_peer, on_change)
        self._unpairing = Unpairing(store, trust, listener, self._backend_of, self._settle)
        self._address_update = AddressUpdate(trust, self._lost, store.put_backend, self._spawn, later)
        self._catalogs = Catalogs()
        self._pairing_server: PairingServer | None = None
        self._pairing_port = 0
        self._failed_tries = FailedTries()
        """What failed at the pairing port, also while it is closed: closing and opening it allows no new tries."""
        self._problem = ""
        self._is_started = self._is_closed = False
        self._has_keys = False
        """Whether the keys were read; before that no peer can be reached."""
        self._lock = asyncio.Lock()
        self._next_pass: asyncio.Task[None] | None = None
        """A pass that was requested and has not begun."""
        self._retry: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        registry.listen(self._on_registry)

    # Start, follow, close.

    def start(self) -> None:
        """Begin to follow the configuration."""
        self._is_started = True
        self.follow()

    def follow(self) -> None:
        """Bring discovery, listener, pairing port and announcement to the configuration."""
        if self._is_started:
            self._request_pass()

    async def close(self) -> None:
        """Leave the network with a goodbye, and stop listening."""
        self._is_started, self._is_closed = False, True
        if self._retry is not None:
            self._retry.cancel()
        await self._coordinator.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pairing_server is not None:
            await self._pairing_server.close()
        await self._discovered.stop()
        await self._listener.close()

    def _request_pass(self) -> asyncio.Task[None] | None:
        """Return a pass that begins after this call; None once closed."""
        if self._next_pass is None:
            self._next_pass = self._spawn(self._run_pass())
        return self._next_pass

    async def _settle(self) -> None:
        """Wait until a pass has run that knows the configuration of now."""
        if (task := self._request_pass()) is not None:
            await asyncio.wait((task,))

    async def _run_pass(self) -> None:
        async with self._lock:
            self._next_pass = None
            config = self._store.config
            lan, problems = config.lan, list[str]()
            self._catalogs.forget(set(self.peers()))
            # A problem of one step does not keep the others from running.
            for step in (self._settle_discovery, self._settle_listener, self._settle_pairing_server):
                try:
                    await step(lan)
                except (SecretError, ServiceError) as error:
                    problems.append(f"{error.title} {error.hint}".strip())
                except OSError as error:
                    problems.append(f"Peers: {error.strerror or type(error).__name__}.")
            problem = " ".join(dict.fromkeys(problems))
            if problem != self._problem:
                self._problem = problem
                self._store.notice("peers", problem)
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._later(RETRY_S, self.follow) if problem and self._is_started else None
        self._on_change()

    async def _settle_discovery(self, lan: LanSettings) -> None:
        if not self._is_closed:
            await self._discovered.start(browse=lan.browse)

    async def _settle_listener(self, lan: LanSettings) -> None:
        peers = self._store.config.peers
        needs_key = lan.listen or lan.visible or peers
        identity = await self._trust.find() if needs_key else None
        if identity is None:
            await self._listener.close()
            if peers:
                raise SecretError(
                    "missing",
                    "The key by which the peers know this machine is gone from its keyring.",
                    "Unpair them, and pair them anew.",
                )
            return
        self._discovered.own_id = identity.node_id
        new = await self._trust.pin((*(peer.id for peer in peers), *lan.pending_unpair_notices))
        if not self._has_keys:
            self._has_keys = True
            self._probe_anew(self.peers().keys() - new)
        if new:
            self._later(FIRST_PROBE_S, lambda: self._probe_anew(new))
        if lan.listen and (peers or lan.pending_unpair_notices) and not self._is_closed:
            tls = self._trust.server(identity)
            await self._listener.open(tls.context, tls.who, lan.port)
        else:
            await self._listener.close()

    def _probe_anew(self, peer_ids: Collection[str]) -> None:
        """Forget what was believed of the peers' health while they could not be reached, and probe them."""
        if self._is_closed:
            return
        for peer_id in peer_ids:
            if (backend := self._backend_of(peer_id)) is not None:
                self._registry.renew(backend.id)
                self._probe_soon(backend.id)

    async def _settle_pairing_server(self, lan: LanSettings) -> None:
        if not lan.visible:
            self._discovered.announce(None)
        if self._pairing_server is not None and (not lan.visible or lan.door != self._pairing_port):
            server, self._pairing_server = self._pairing_server, None
            await server.close()
            self._failed_tries = server.tries
        if not lan.visible or self._is_closed:
            return
        if self._pairing_server is None:
            server = PairingServer(
                self._local_peer(await self._trust.open()),
                self._coordinator.receive,
                on_change=self._on_change,
                tries=self._failed_tries,
            )
            await server.start(self._bind(lan.door))
            self._pairing_server, self._pairing_port = server, lan.door
        self._announce()

    # For the control API and the LAN listener.

    def view(self) -> PeersView:
        """Return everything about other Meshlights."""
        config, node_id = self._store.config, self._trust.node_id
        return PeersView(
            node_id=node_id,
            short=short_id(node_id),
            name=self._store.name,
            visible=config.lan.visible,
            browse=config.lan.browse,
            port=self._listener.port,
            door=self._pairing_port if self._pairing_server is not None else 0,
            addresses=self._discovered.addresses,
            problem=self._problem or self._discovered.duplicate or self._discovered.problem,
            peers=tuple(
                peer_view(peer, self._backend_of(peer.id), self.catalog(peer), self._running(peer.id))
                for peer in config.peers
            ),
            seen=tuple(sighting_view(found, self.peers()) for found in self._discovered.entries.values()),
            pairing=self._coordinator.view(),
        )

    def peers(self) -> Mapping[str, Peer]:
        """Return who is paired, by node id."""
        return {peer.id: peer for peer in self._store.config.peers}

    def catalog(self, peer: Peer) -> SharedCatalog:
        """Return what is shared with a peer now."""
        backend = self._backend_of(peer.id)
        state = None if backend is None else self._registry.node(backend.id).health.state
        sees_you = None if state in {None, "unknown", "warming"} else state == "healthy"
        name, node_id = self._store.name, self._trust.node_id
        return self._catalogs.catalog(self._registry.snapshot, peer, node_id, name, sees_you=sees_you)

    def catalog_hash(self, peer_id: str) -> str | None:
        """Return the hash of what is shared with a peer now; None for a node that is not paired."""
        peer = self.peers().get(peer_id)
        return None if peer is None else self.catalog(peer).hash

    async def set_visibility(self, *, visible: bool | None, browse: bool | None) -> None:
        """Show or hide this machine, and search for others or not; None leaves one as it is.

        Raises SecretError when there is no key to show, Conflict when the pairing port can't be opened.
        """
        if visible:
            await self._trust.open()

        def update(old: Config) -> Config:
            lan = old.lan if visible is None else replace(old.lan, visible=visible)
            return replace(old, lan=lan if browse is None else replace(lan, browse=browse))

        await self._store.change(update)
        await self._settle()
        if visible and self._pairing_server is None and self._problem:
            raise Conflict(self._problem)

    async def ask(self, peer_id: str | None, host: str | None, port: int | None) -> None:
        """Ask another node to pair; returns once both machines show the same digits.

        It is the discovered one with this id, or the one at a host; with both, `peer_id` is the only id accepted at
        that host. Raises PairingError, BadRequest, NotFound, Conflict or SecretError.
        """
        addresses, expected_id = self._targets(peer_id, host, port)
        await self._coordinator.ask(self._local_peer(await self._trust.open()), addresses, expected_id)

    async def confirm(self) -> None:
        """Confirm that both machines show the same digits; raises NotFound or PairingError."""
        await self._coordinator.confirm()

    async def refuse(self) -> None:
        """End the pairing because the digits differ or nobody wants it; raises NotFound."""
        await self._coordinator.refuse()

    async def set_terms(self, peer_id: str, changed: Mapping[str, Any]) -> None:
        """Change what a peer may use; raises NotFound."""
        self._peer(peer_id)

        def update(old: Config) -> Config:
            peers = tuple(replace(p, **changed) if p.id == peer_id else p for p in old.peers)
            return replace(old, peers=peers)

        await self._store.change(update)
        self._on_change()

    async def unpair(self, peer_id: str) -> None:
        """End a pairing: here now, and there now if it can be reached, or else when it next asks. Raises NotFound."""
        await self._unpairing.unpair(self._peer(peer_id))

    def unpaired(self, peer_id: str) -> None:
        """Handle a peer's notice that the pairing is over, or a former peer's that it knows now."""
        self._spawn(self._unpairing.receive_notice(peer_id))

    # How peers come.

    def _targets(
        self, peer_id: str | None, host: str | None, port: int | None
    ) -> tuple[list[tuple[str, int]], str | None]:
        if host is not None:
            return [(host, port or self._store.config.lan.door)], peer_id
        if peer_id is None:
            raise BadRequest("Nobody is named to be paired with.", "Give an id, or a host.", "id")
        found = self._discovered.entries.get(peer_id)
        if found is None:
            raise NotFound("Nobody with that id is seen on the network now.", "Give its address instead.")
        if not found.door or not found.addresses:
            raise BadRequest(f"{found.name} can't be paired with.", "Add it by hand, by its URL.", "id")
        return [(address, found.door) for address in found.addresses], None

    async def _add_peer(self, paired: Paired) -> None:
        """Save a new peer and the backend that stands for it, or the new address of one paired before."""
        await self._trust.save(paired.peer.id, paired.certificate_pem)
        await self._store.change(lambda old: _with_peer(old, paired.peer))
        self._store.notice("unpaired", "")
        await self._settle()

    # What happens on the network and in the mesh.

    def follow_discovered(self) -> None:
        """Handle a change of who is discovered."""
        for peer_id in self.peers():
            self._address_update.check(peer_id)
        self._on_change()

    def _lost(self, peer_id: str) -> tuple[Backend, Sighting] | None:
        """Return a peer that is down and announced elsewhere; one that still counts as up is probed first."""
        found, backend = self._discovered.entries.get(peer_id), self._backend_of(peer_id)
        if self._is_closed or found is None or backend is None or not found.addresses:
            return None
        address = parse_address(backend.url)
        if address.host in found.addresses and address.port == found.port:
            return None
        if self._registry.node(backend.id).health.state == "healthy":
            self._probe_soon(backend.id)
            return None
        return backend, found

    def _on_registry(self, change: Change) -> None:
        if self._is_closed:
            return
        if change.shape or change.removed:
            self._announce()
        for backend_id in change.health:
            node = self._registry.snapshot.nodes.get(backend_id)
            if node is None or node.backend.kind != "peer" or node.health.state == "healthy":
                continue
            if node.health.reason.code == "unpaired":
                self._spawn(self._unpairing.follow_refusal(node.backend.node_id))
            else:
                self._address_update.check(node.backend.node_id)

    def _announce(self) -> None:
        if self._pairing_server is None or self._trust.identity is None:
            return
        lan, name = self._store.config.lan, self._store.name
        self._discovered.announce(announced_counts(self._registry.snapshot, self._trust.node_id, name, lan))

    # Helpers.

    def _local_peer(self, identity: PrivateIdentity) -> LocalPeer:
        return LocalPeer(
            identity=identity,
            name=self._store.name,
            port=self._store.config.lan.port,
            clock=self._clock,
            later=self._later,
            wall=self._wall,
        )

    def _peer(self, peer_id: str) -> Peer:
        peer = self.peers().get(peer_id)
        if peer is None:
            raise NotFound("No peer has that id.", "`meshlight peers` shows them.")
        return peer

    def _backend_of(self, peer_id: str) -> Backend | None:
        backends = (node.backend for node in self._registry.snapshot.nodes.values())
        return next((b for b in backends if b.kind == "peer" and b.node_id == peer_id), None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run something in the background, ended by `close`; None once closed."""
        if self._is_closed:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Peers: %s", error if isinstance(error, MeshlightError) else type(error).__name__)


def _with_peer(config: Config, new: Peer) -> Config:
    """Return the configuration with a peer and its backend; one paired before keeps its terms."""
    old = next((peer for peer in config.peers if peer.id == new.id), None)
    peer = new if old is None else replace(old, name=new.name, url=new.url)
    backends = {backend.id: backend for backend in config.backends}
    backend = next((b for b in config.backends if b.kind == "peer" and b.node_id == peer.id), None)
    if backend is None:
        backend = Backend(
            id=f"peer-{peer.id[:8]}", name=peer.name, kind="peer", ring="lan", url=peer.url, node_id=peer.id
        )
    backends[backend.id] = replace(backend, url=peer.url)
    pending = tuple(peer_id for peer_id in config.lan.pending_unpair_notices if peer_id != peer.id)
    return replace(
        config,
        peers=(*(other for other in config.peers if other.id != peer.id), peer),
        backends=tuple(backends.values()),
        lan=replace(config.lan, listen=True, pending_unpair_notices=pending),
    )
