"""The other Meshlights as apps see them at `/mesh/peers`: who is paired, who is seen, who asks to be paired."""

from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import Ring

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


class SightingView(Struct, frozen=True, kw_only=True):
    """Somebody who announces itself on this network; nothing of it is proven."""

    id: str
    short: str
    name: str
    host: str
    addresses: tuple[str, ...]
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
    problem: str
    """What keeps it from seeing or being seen, with the fix; empty if nothing does."""
    peers: tuple[PeerView, ...]
    seen: tuple[SightingView, ...]
    pairing: PairingView | None


def short_id(node_id: str) -> str:
    """Return the part of a node id that people can compare: `3fa9 41c0`."""
    return f"{node_id[:4]} {node_id[4:8]}" if len(node_id) >= 8 else node_id
