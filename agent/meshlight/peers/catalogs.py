"""What this node says about its models: a catalog for each peer, and counts without names in the announcement."""

from collections.abc import Sequence

from meshlight.backends.kinds import KINDS
from meshlight.domain.config import LanSettings
from meshlight.domain.peers import Peer, SharedCatalog, shared
from meshlight.domain.snapshot import Snapshot
from meshlight.peers.mdns.records import Announcement, catalog_of

_LABELS: dict[str, str] = {name: kind.label for name, kind in KINDS.items()}


class Catalogs:
    """Caches each peer's catalog: one of 10,000 models takes milliseconds, and each change needs all."""

    def __init__(self) -> None:
        self._cache: dict[str, tuple[Sequence[object], Sequence[object], SharedCatalog]] = {}

    def catalog(
        self, snapshot: Snapshot, peer: Peer, node_id: str, name: str, *, sees_you: bool | None
    ) -> SharedCatalog:
        """Return what is shared with a peer of this snapshot; `sees_you` is whether this node reaches the peer."""
        terms = (peer, node_id, name, sees_you)
        # What has not changed is the same object in each snapshot, so identities are compared, not lists.
        parts: list[object] = []
        for node in snapshot.nodes.values():
            parts += (node.backend, node.models, node.details, node.health.state)
        cached = self._cache.get(peer.id)
        if cached is not None and cached[0] == terms and _are_same(cached[1], parts):
            return cached[2]
        catalog = shared(
            snapshot,
            peer,
            node_id,
            name,
            sees_you=sees_you,
            paused=peer.paused,
            labels=_LABELS,
            may_manage=peer.may_manage,
        )
        self._cache[peer.id] = terms, parts, catalog
        return catalog

    def forget(self, peer_ids: set[str]) -> None:
        """Forget all peers except these."""
        for gone in self._cache.keys() - peer_ids:
            del self._cache[gone]


def _are_same(old: Sequence[object], new: Sequence[object]) -> bool:
    return len(old) == len(new) and all(map(lambda one, other: one is other, old, new))


def announced_counts(snapshot: Snapshot, node_id: str, name: str, lan: LanSettings) -> Announcement:
    """Return the announcement of this node; peers and the demo are not counted."""
    enabled = [node for node in snapshot.nodes.values() if node.backend.enabled]
    own = [node for node in enabled if node.backend.kind != "peer" and node.backend.source != "demo"]
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
