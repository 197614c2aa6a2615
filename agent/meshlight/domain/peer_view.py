"""The other Meshlights as apps see them at `/mesh/peers`: who is paired, who is seen, who asks to be paired."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import Backend, Ring
from meshlight.domain.peer import Peer, Sighting
from meshlight.domain.sharing import SharedCatalog

PairingState = Literal["waiting", "comparing", "confirmed", "paired", "over"]


class PeerView(Struct, frozen=True, kw_only=True):
    """One peer, with what it may use here; its models and health are those of the backend `backend`."""

    id: str
    short: str
    """The beginning of the id, for people."""
    name: str
    url: str
    backend: str | None
    """The id of the backend as which it is used here."""
    share_rings: tuple[Ring, ...]
    share_models: tuple[str, ...] | None
    max_in_flight: int
    paused: bool
    in_flight: int
    """Requests of this peer that run here now."""
    sees_models: tuple[str, ...]
    """What it gets to see under these terms now."""
    use: tuple[str, ...] | None = None
    """The only models (globs) that are used from it here; None for all that take none over."""


class SightingView(Struct, frozen=True, kw_only=True):
    """Somebody who announces itself on this network; nothing of it is proven."""

    id: str
    short: str
    name: str
    host: str
    addresses: tuple[str, ...]
    port: int
    """Where it serves; 0 if it does not say."""
    service: Literal["meshlight", "bago"]
    backends: int
    models: int
    is_paired: bool
    can_pair: bool
    conflict: str


class PairingView(Struct, frozen=True, kw_only=True):
    """A pairing under way, or how the last one ended."""

    role: Literal["asking", "asked"]
    state: PairingState
    name: str
    id: str
    digits: str
    """The six digits that both people compare; empty until there are any."""
    why: str
    """Why it is over, in a sentence."""
    left_s: float
    """Seconds until it ends by itself."""


class PeersView(Struct, frozen=True, kw_only=True):
    """Everything about other Meshlights."""

    node_id: str
    """This node's own id; empty until its key was made (at the first pairing)."""
    short: str
    name: str
    visible: bool
    """Whether this machine lets itself be seen, and asked to pair."""
    browse: bool
    """Whether it looks for others."""
    port: int
    """Where peers may ask; 0 while it does not listen."""
    door: int
    """Where it can be asked to pair; 0 while it can't."""
    addresses: tuple[str, ...] = ()
    """This machine's addresses on the networks where it looks or is seen, IPv4 first; empty while it does neither."""
    problem: str
    """What keeps it from seeing or being seen, with the fix; empty if nothing does."""
    peers: tuple[PeerView, ...]
    seen: tuple[SightingView, ...]
    pairing: PairingView | None


def short_id(node_id: str) -> str:
    """Return the part of a node id that people can compare: `3fa9 41c0`."""
    return f"{node_id[:4]} {node_id[4:8]}" if len(node_id) >= 8 else node_id


def peer_view(peer: Peer, backend: Backend | None, catalog: SharedCatalog, running: int) -> PeerView:
    """Show a peer, as `backend` of which it is used here, and to which `catalog` is shown."""
    models = (model for shared in catalog.backends for model in shared.models)
    return PeerView(
        id=peer.id,
        short=short_id(peer.id),
        name=peer.name,
        url=peer.url if backend is None else backend.url,
        backend=None if backend is None else backend.id,
        share_rings=peer.share_rings,
        share_models=peer.share_models,
        max_in_flight=peer.max_in_flight,
        paused=peer.paused,
        in_flight=running,
        sees_models=tuple(dict.fromkeys(models)),
        use=peer.use,
    )


def sighting_view(seen: Sighting, peers: Mapping[str, Peer]) -> SightingView:
    """Show somebody who is seen; `peers` are those paired with, by node id."""
    is_paired = seen.id in peers
    return SightingView(
        id=seen.id,
        short=short_id(seen.id) if seen.service == "meshlight" else "",
        name=seen.name,
        host=seen.host,
        addresses=seen.addresses,
        port=seen.port,
        service=seen.service,
        backends=seen.backends,
        models=seen.models,
        is_paired=is_paired,
        can_pair=bool(seen.door) and not is_paired,
        conflict=seen.conflict,
    )
