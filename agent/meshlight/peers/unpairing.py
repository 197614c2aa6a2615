"""How a pairing ends: on both sides at once, or on the other side when it next asks.

A peer that can't be reached is remembered in `lan.pending_unpair_notices`, and its certificate stays: it may still
connect, and learns of it by the answer to its next request.
"""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.errors import UpstreamError
from meshlight.domain.peers import Peer
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.mesh.settings_store import SettingsStore
from meshlight.peers.lan_listener import LanListener
from meshlight.peers.trust import Trust

PENDING_NOTICES_MAX = 32
NOTICE_S = 3.0
"""How long to try to notify the other side."""


class Unpairing:
    """Removes peers, and notifies them.

    `backend_of` returns the backend that stands for a peer, `settle` brings listener and TLS to the configuration.
    """

    def __init__(
        self,
        store: SettingsStore,
        trust: Trust,
        listener: LanListener,
        backend_of: Callable[[str], Backend | None],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._trust = trust
        self._listener = listener
        self._backend_of = backend_of
        self._settle = settle

    async def unpair(self, peer: Peer) -> None:
        """End a pairing because the user here wants it."""
        await self._remove(peer, is_notified=await self._notify(peer.id))

    async def receive_notice(self, peer_id: str) -> None:
        """Handle a peer's notice that the pairing is over, or a former peer's that it knows now."""
        if (peer := self._peer(peer_id)) is not None:
            await self._follow(peer)
        elif peer_id in self._store.config.lan.pending_unpair_notices:
            await self._drop_pending(peer_id)

    async def follow_refusal(self, peer_id: str) -> None:
        """End a pairing because the peer has refused a request as unpaired, and confirm that to it."""
        if (peer := self._peer(peer_id)) is not None:
            await self._notify(peer_id)
            await self._follow(peer)

    def _peer(self, peer_id: str) -> Peer | None:
        return next((peer for peer in self._store.config.peers if peer.id == peer_id), None)

    async def _follow(self, peer: Peer) -> None:
        self._store.notice("unpaired", f"{peer.name} has ended the pairing with this machine.")
        await self._remove(peer, is_notified=True)

    async def _remove(self, peer: Peer, *, is_notified: bool) -> None:
        def without(old: Config) -> Config:
            lan = old.lan
            if not is_notified:
                others = (peer_id for peer_id in lan.pending_unpair_notices if peer_id != peer.id)
                lan = replace(lan, pending_unpair_notices=(*others, peer.id)[-PENDING_NOTICES_MAX:])
            return replace(
                old,
                lan=lan,
                peers=tuple(p for p in old.peers if p.id != peer.id),
                backends=tuple(b for b in old.backends if b.kind != "peer" or b.node_id != peer.id),
            )

        await self._store.change(without)
        if is_notified:
            await self._trust.remove(peer.id)
        self._listener.cut(
            peer.id
        )  # before the pass: closing the listener would wait for the peer's requests
        await self._settle()
        self._listener.cut(peer.id)  # and what connected before the certificate was unpinned

    async def _drop_pending(self, peer_id: str) -> None:
        def without(old: Config) -> Config:
            pending = tuple(other for other in old.lan.pending_unpair_notices if other != peer_id)
            return replace(old, lan=replace(old.lan, pending_unpair_notices=pending))

        await self._store.change(without)
        await self._trust.remove(peer_id)
        await self._settle()

    async def _notify(self, peer_id: str) -> bool:
        """Tell a peer that the pairing is over; returns whether it knows."""
        backend = self._backend_of(peer_id)
        if backend is None:
            return False
        try:
            upstream = Upstream(parse_address(backend.url), tls=self._trust.client(peer_id))
            try:
                reply = await upstream.fetch("POST", "/peer/unpair", timeout_s=NOTICE_S)
            finally:
                upstream.close()
        except UpstreamError:
            return False
        return reply.status in {204, 403}
