"""Other Meshlights: who is seen, who is paired, what each may use; and whether this machine shows itself."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.clock import CallLater, Timer
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
from meshlight.peers.address_update import AddressUpdate
from meshlight.peers.catalogs import Catalogs, announced_counts
from meshlight.peers.dependencies import LanListener, PeerStore
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.pairing.coordinator import PairingCoordinator
from meshlight.peers.pairing.server import PairingServer
from meshlight.peers.pairing.session import LocalPeer, Paired
from meshlight.peers.tls import PrivateIdentity
from meshlight.peers.trust import Trust
from meshlight.peers.unpairing import Unpairing

RETRY_S = 30.0
"""When a port that was taken is tried again."""

log = logging.getLogger(__name__)


class PeerManager:
    """Follows the configuration: opens and closes the listener, the door and the announcement.

    `running` counts a peer's requests here, `hurry` has a backend probed soon, `bind` returns listening sockets for a
    port on every address, `on_change` is called when anything in `view` or in a peer's `catalog` may have changed.
    """

    def __init__(  # noqa: PLR0913 - it joins many parts, each given by name
        self,
        *,
        registry: Registry,
        store: PeerStore,
        trust: Trust,
        sightings: DiscoveredPeers,
        listener: LanListener,
        running: Callable[[str], int],
        probe_soon: Callable[[str], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        later: CallLater,
        bind: Callable[[int], Sequence[socket.socket]],
    ) -> None:
        self._registry = registry
        self._ledger = store
        self._trust = trust
        self._sightings = sightings
        self._listener = listener
        self._running = running
        self._hurry = probe_soon
        self._clock = clock
        self._wall = wall
        self._later = later
        self._bind = bind
        self._meeting = PairingCoordinator(self._welcome)
        self._parting = Unpairing(store, trust, listener, self._backend_of, self._settle)
        self._pursuit = AddressUpdate(trust, self._lost, store.put_backend, self._spawn, later)
        self._meeting.on_change = self._changed
        self._offers = Catalogs()
        self._door: PairingServer | None = None
        self._door_port = 0
        self._tries = FailedTries()
        """What failed at the door, also while it is closed: closing it wins nobody new tries."""
        self._problem = ""
        self._is_on = self._is_closed = False
        self._can_ask = False
        """Whether the keys were read, without which no peer can be asked."""
        self._lock = asyncio.Lock()
        self._retry: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_change: Callable[[], None] = lambda: None
        sightings.on_change = self._on_sightings
        registry.listen(self._on_registry)

    # Life.

    def start(self) -> None:
        """Begin to follow the configuration."""
        self._is_on = True
        self.follow()

    def follow(self) -> None:
        """Bring listener, door and announcement to what the configuration says now."""
        if self._is_on:
            self._spawn(self._settle())

    async def close(self) -> None:
        """Say goodbye to the network, and stop listening."""
        self._is_on, self._is_closed = False, True
        if self._retry is not None:
            self._retry.cancel()
        await self._meeting.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._door is not None:
            await self._door.close()
        await self._sightings.stop()
        await self._listener.close()

    async def _settle(self) -> None:
        async with self._lock:
            config = self._ledger.config
            lan, problems = config.lan, list[str]()
            self._offers.forget(set(self.peers()))
            # One after the other, and whatever ails one leaves the others alone.
            for step in (self._settle_sightings, self._settle_listener, self._settle_door):
                try:
                    await step(lan)
                except (SecretError, ServiceError) as error:
                    problems.append(f"{error.title} {error.hint}".strip())
                except OSError as error:
                    problems.append(f"Peers: {error.strerror or type(error).__name__}.")
            problem = " ".join(dict.fromkeys(problems))
            if problem != self._problem:
                self._problem = problem
                self._ledger.notice("peers", problem)
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._later(RETRY_S, self.follow) if problem and self._is_on else None
        self._changed()

    async def _settle_sightings(self, lan: LanSettings) -> None:
        if not self._is_closed:
            await self._sightings.start(browse=lan.browse)

    async def _settle_listener(self, lan: LanSettings) -> None:
        peers = self._ledger.config.peers
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
        self._sightings.own_id = identity.node_id
        await self._trust.believe((*(peer.id for peer in peers), *lan.pending_unpair_notices))
        if not self._can_ask:
            self._can_ask = True
            self._ask_anew(peers)
        if lan.listen and (peers or lan.pending_unpair_notices) and not self._is_closed:
            tls = self._trust.server(identity)
            await self._listener.open(tls.context, tls.who, lan.port)
        else:
            await self._listener.close()

    def _ask_anew(self, peers: Sequence[Peer]) -> None:
        for peer in peers:
            if (backend := self._backend_of(peer.id)) is not None:
                self._registry.renew(backend.id)
                self._hurry(backend.id)

    async def _settle_door(self, lan: LanSettings) -> None:
        if not lan.visible:
            self._sightings.announce(None)
        if self._door is not None and (not lan.visible or lan.door != self._door_port):
            door, self._door = self._door, None
            await door.close()
            self._tries = door.tries
        if not lan.visible or self._is_closed:
            return
        if self._door is None:
            door = PairingServer(self._here(await self._trust.open()), self._meeting.asked, tries=self._tries)
            await door.start(self._bind(lan.door))
            self._door, self._door_port = door, lan.door
        self._announce()

    # What apps ask.

    def view(self) -> PeersView:
        """Return everything about other Meshlights."""
        config, node_id = self._ledger.config, self._trust.node_id
        return PeersView(
            node_id=node_id,
            short=short_id(node_id),
            name=self._ledger.name,
            visible=config.lan.visible,
            browse=config.lan.browse,
            port=self._listener.port,
            door=self._door_port if self._door is not None else 0,
            addresses=self._sightings.addresses,
            problem=self._problem or self._sightings.duplicate or self._sightings.problem,
            peers=tuple(
                peer_view(peer, self._backend_of(peer.id), self.catalog(peer), self._running(peer.id))
                for peer in config.peers
            ),
            seen=tuple(sighting_view(seen, self.peers()) for seen in self._sightings.entries.values()),
            pairing=self._meeting.view(),
        )

    def peers(self) -> Mapping[str, Peer]:
        """Return who is paired, by node id."""
        return {peer.id: peer for peer in self._ledger.config.peers}

    def catalog(self, peer: Peer) -> SharedCatalog:
        """Return what a peer gets to see now."""
        backend = self._backend_of(peer.id)
        state = None if backend is None else self._registry.node(backend.id).health.state
        sees = None if state in {None, "unknown", "warming"} else state == "healthy"
        name, node_id = self._ledger.name, self._trust.node_id
        return self._offers.catalog(self._registry.snapshot, peer, node_id, name, sees_you=sees)

    def catalog_hash(self, peer_id: str) -> str | None:
        """Return the hash of what a peer gets to see now; None for who is no peer."""
        peer = self.peers().get(peer_id)
        return None if peer is None else self.catalog(peer).hash

    async def set_visibility(self, *, visible: bool | None, browse: bool | None) -> None:
        """Show this machine or hide it; look for others or don't. Raises SecretError or Conflict."""
        if visible:
            await self._trust.open()

        def seen(old: Config) -> Config:
            lan = old.lan if visible is None else replace(old.lan, visible=visible)
            return replace(old, lan=lan if browse is None else replace(lan, browse=browse))

        await self._ledger.change(seen)
        await self._settle()
        if visible and self._door is None and self._problem:
            raise Conflict(self._problem)

    async def ask(self, peer_id: str | None, host: str | None, port: int | None) -> None:
        """Ask somebody to pair: one who is seen, or whoever is at a host; then `peer_id` is whom to expect there.

        Raises PairingError, NotFound, Conflict or SecretError.
        """
        tries, expected = self._targets(peer_id, host, port)
        await self._meeting.ask(self._here(await self._trust.open()), tries, expected)

    async def confirm(self) -> None:
        """Say that the digits are the same on both machines; raises NotFound or PairingError."""
        await self._meeting.confirm()

    async def refuse(self) -> None:
        """Say that they differ, or that nobody wants this; raises NotFound."""
        await self._meeting.refuse()

    async def set_terms(self, peer_id: str, changed: Mapping[str, Any]) -> None:
        """Change what a peer may use; raises NotFound."""
        self._peer(peer_id)

        def terms(old: Config) -> Config:
            peers = tuple(replace(p, **changed) if p.id == peer_id else p for p in old.peers)
            return replace(old, peers=peers)

        await self._ledger.change(terms)
        self._changed()

    async def unpair(self, peer_id: str) -> None:
        """End a pairing here; there at once if it can be reached, or else when it next asks. Raises NotFound."""
        await self._parting.unpair(self._peer(peer_id))

    def unpaired(self, peer_id: str) -> None:
        """Hear from a peer that the pairing is over, or from a former one that it knows now."""
        self._spawn(self._parting.heard(peer_id))

    # How peers come and go.

    def _targets(
        self, peer_id: str | None, host: str | None, port: int | None
    ) -> tuple[list[tuple[str, int]], str | None]:
        if host is not None:
            return [(host, port or self._ledger.config.lan.door)], peer_id
        if peer_id is None:
            raise BadRequest("Nobody is named to be paired with.", "Give an id, or a host.", "id")
        sighting = self._sightings.entries.get(peer_id)
        if sighting is None:
            raise NotFound("Nobody with that id is seen on the network now.", "Give its address instead.")
        if not sighting.door or not sighting.addresses:
            raise BadRequest(f"{sighting.name} can't be paired with.", "Add it by hand, by its URL.", "id")
        return [(address, sighting.door) for address in sighting.addresses], None

    async def _welcome(self, paired: Paired) -> None:
        """Keep a new peer: it may use what its terms say, and its models are used here."""
        peer = paired.peer
        await self._trust.keep(peer.id, paired.certificate_pem)
        old = self.peers().get(peer.id)
        kept = peer if old is None else replace(old, name=peer.name, url=peer.url)

        def joined(config: Config) -> Config:
            others = tuple(p for p in config.peers if p.id != kept.id)
            pending_unpair_notices = tuple(i for i in config.lan.pending_unpair_notices if i != kept.id)
            lan = replace(config.lan, listen=True, pending_unpair_notices=pending_unpair_notices)
            return replace(config, peers=(*others, kept), lan=lan)

        await self._ledger.change(joined)
        self._ledger.notice("unpaired", "")
        await self._settle()
        backend = self._backend_of(kept.id) or Backend(
            id=f"peer-{kept.id[:8]}", name=kept.name, kind="peer", ring="lan", url=kept.url, node_id=kept.id
        )
        await self._ledger.put_backend(replace(backend, url=kept.url))
        self._registry.renew(backend.id)

    # What happens around.

    def _on_sightings(self) -> None:
        for peer_id in self.peers():
            self._pursuit.look(peer_id)
        self._changed()

    def _lost(self, peer_id: str) -> tuple[Backend, Sighting] | None:
        """Return a peer that is down and seen elsewhere; one that should be is checked first."""
        sighting, backend = self._sightings.entries.get(peer_id), self._backend_of(peer_id)
        if self._is_closed or sighting is None or backend is None or not sighting.addresses:
            return None
        address = parse_address(backend.url)
        if address.host in sighting.addresses and address.port == sighting.port:
            return None
        if self._registry.node(backend.id).health.state == "healthy":
            self._hurry(backend.id)
            return None
        return backend, sighting

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
                self._spawn(self._parting.told(node.backend.node_id))
            else:
                self._pursuit.look(node.backend.node_id)

    def _announce(self) -> None:
        if self._door is None or self._trust.identity is None:
            return
        lan, name = self._ledger.config.lan, self._ledger.name
        self._sightings.announce(announced_counts(self._registry.snapshot, self._trust.node_id, name, lan))

    # Small things.

    def _changed(self) -> None:
        self.on_change()

    def _here(self, identity: PrivateIdentity) -> LocalPeer:
        return LocalPeer(
            identity=identity,
            name=self._ledger.name,
            port=self._ledger.config.lan.port,
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Peers: %s", error if isinstance(error, MeshlightError) else type(error).__name__)
