"""The peers that may ask here, how much each has running, and how many at most."""

from collections.abc import Callable, Mapping

from meshlight.domain.errors import Boundary, Paused, TooMany
from meshlight.domain.peer import Peer

PAUSED_RETRY_S = 30.0
"""When a client may ask again while somebody keeps something paused."""


class Guests:
    """Looks a peer up by the id of its key, and admits its requests; `peers` gives those paired with now."""

    def __init__(self, peers: Callable[[], Mapping[str, Peer]]) -> None:
        self._find = peers
        self._running: dict[str, int] = {}

    @property
    def peers(self) -> Mapping[str, Peer]:
        """Those paired with now, by node id."""
        return self._find()

    def known(self, peer_id: str) -> Peer:
        """Return the peer with this key; Boundary when there is none (any more)."""
        peer = self.peers.get(peer_id)
        if peer is None:
            raise Boundary("This machine is not paired with yours.", "Pair them anew: meshlight pair.")
        return peer

    def enter(self, peer: Peer) -> None:
        """Count a request in. Raises Paused, or TooMany over the peer's cap; each entry needs a `leave`."""
        if peer.paused:
            raise Paused("Sharing with this peer is paused by its owner.", "", PAUSED_RETRY_S)
        running = self._running.get(peer.id, 0)
        if running >= peer.max_in_flight:
            raise TooMany(f"{running} requests of this peer run already; no more are taken at once.")
        self._running[peer.id] = running + 1

    def leave(self, peer: Peer) -> None:
        """Count a request out."""
        left = self._running.get(peer.id, 0) - 1
        if left > 0:
            self._running[peer.id] = left
        else:
            self._running.pop(peer.id, None)

    def running(self, peer_id: str) -> int:
        """Return how many requests of a peer run now."""
        return self._running.get(peer_id, 0)
