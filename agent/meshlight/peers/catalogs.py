"""The catalogs that peers get to see, made anew only when something in them may have changed.

What this node tells the whole network of itself while it lets itself be seen: numbers, and no model's name.
"""

from collections.abc import Sequence

from meshlight.backends.kinds import KINDS
from meshlight.domain.config import LanSettings
from meshlight.domain.peers import Peer, SharedCatalog, shared
from meshlight.domain.snapshot import Snapshot
from meshlight.peers.mdns.records import Announcement, catalog_of

_LABELS: dict[str, str] = {name: kind.label for name, kind in KINDS.items()}


class Catalogs:
    """Keeps each peer's last catalog: one of 10,000 models costs milliseconds, and every change asks for all."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Sequence[object], Sequence[object], SharedCatalog]] = {}

    def catalog(
        self, snapshot: Snapshot, peer: Peer, node_id: str, name: str, *, sees_you: bool | None
    ) -> SharedCatalog:
        """Return what a peer gets to see of this snapshot."""
        terms = (peer, node_id, name, sees_you)
        # The registry gives what has not changed as the very same objects: no list need be compared.
        parts: list[object] = []
        for node in snapshot.nodes.values():
            parts += (node.backend, node.models, node.details, node.health.state)
        kept = self._made.get(peer.id)
        if kept is not None and kept[0] == terms and _are_same(kept[1], parts):
            return kept[2]
        catalog = shared(snapshot, peer, node_id, name, sees_you=sees_you, paused=peer.paused, labels=_LABELS)
        self._made[peer.id] = terms, parts, catalog
        return catalog

    def forget(self, peer_ids: set[str]) -> None:
        """Forget all peers but these."""
        for gone in self._made.keys() - peer_ids:
            del self._made[gone]


def _are_same(old: Sequence[object], new: Sequence[object]) -> bool:
    return len(old) == len(new) and all(map(lambda one, other: one is other, old, new))


def announced_counts(snapshot: Snapshot, node_id: str, name: str, lan: LanSettings) -> Announcement:
    """Count what is here; what is itself a peer's is not."""
    own = [node for node in snapshot.nodes.values() if node.backend.enabled and node.backend.kind != "peer"]
    models = {model for node in own for model in node.models}
    return Announcement(
        id=node_id,
        name=name,
        port=lan.port,
        door=lan.door,
        backends=len(own),
        models=len(models),
        catalog=catalog_of(models),
    )
