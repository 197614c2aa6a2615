"""What this node tells the whole network of itself while it lets itself be seen: numbers, and no model's name."""

from meshlight.domain.config import LanSettings
from meshlight.domain.snapshot import Snapshot
from meshlight.mesh.txt import Announcement, catalog_of


def census(snapshot: Snapshot, node_id: str, name: str, lan: LanSettings) -> Announcement:
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
