"""How a pairing ends: on both sides at once, or on the other one when it next asks."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.errors import NotFound, UpstreamError
from meshlight.domain.peers import Peer
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.peers.dependencies import LanListener, PeerStore
from meshlight.peers.trust import Trust

UNPAIR_NOTICES_MAX = 32
NOTICE_S = 3.0
"""How long the other side is tried to be told."""


class Unpairing:
    """Strikes peers out. One that could not be told is still let in, to be told with its next question.

    `backend_of` gives the backend as which a peer is used, `settle` brings listener and TLS to the configuration.
    """

    def __init__(
        self,
        store: PeerStore,
        trust: Trust,
        listener: LanListener,
        backend_of: Callable[[str], Backend | None],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._ledger = store
        self._trust = trust
        self._listener = listener
        self._backend_of = backend_of
        self._settle = settle

    async def unpair(self, peer: Peer) -> None:
        """End a pairing by the wish of the user here."""
        await self._forget(peer, knows=await self._say_goodbye(peer.id))

    async def heard(self, peer_id: str) -> None:
        """Take the word of a peer that the pairing is over, or of a former one that it knows now."""
        if (peer := self._peer(peer_id)) is not None:
            await self._follow(peer)
        elif peer_id in self._ledger.config.lan.pending_unpair_notices:
            await self._end_farewell(peer_id)

    async def told(self, peer_id: str) -> None:
        """Follow a peer that has answered with the end of the pairing, and let it know that it was heard."""
        if (peer := self._peer(peer_id)) is not None:
            await self._say_goodbye(peer_id)
            await self._follow(peer)

    def _peer(self, peer_id: str) -> Peer | None:
        return next((peer for peer in self._ledger.config.peers if peer.id == peer_id), None)

    async def _follow(self, peer: Peer) -> None:
        self._ledger.notice("unpaired", f"{peer.name} has ended the pairing with this machine.")
        await self._forget(peer, knows=True)

    async def _forget(self, peer: Peer, *, knows: bool) -> None:
        backend = self._backend_of(peer.id)
        if backend is not None:
            with suppress(NotFound):
                await self._ledger.remove_backend(backend.id)

        def without(old: Config) -> Config:
            others = (i for i in old.lan.pending_unpair_notices if i != peer.id)
            waiting = () if knows else (*others, peer.id)[-UNPAIR_NOTICES_MAX:]
            lan = old.lan if knows else replace(old.lan, pending_unpair_notices=waiting)
            return replace(old, lan=lan, peers=tuple(p for p in old.peers if p.id != peer.id))

        await self._ledger.change(without)
        if knows:
            await self._trust.drop(peer.id)
        self._listener.cut(peer.id)  # what runs for it ends now: closing would wait for it
        await self._settle()
        self._listener.cut(peer.id)  # and whatever came before it was believed no more

    async def _end_farewell(self, peer_id: str) -> None:
        def told(old: Config) -> Config:
            pending_unpair_notices = tuple(i for i in old.lan.pending_unpair_notices if i != peer_id)
            return replace(old, lan=replace(old.lan, pending_unpair_notices=pending_unpair_notices))

        await self._ledger.change(told)
        await self._trust.drop(peer_id)
        await self._settle()

    async def _say_goodbye(self, peer_id: str) -> bool:
        """Tell a peer that the pairing is over; returns whether it has heard."""
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
