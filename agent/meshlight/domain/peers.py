"""Other Meshlights: those that this one is paired with, and those that are seen on the network."""

import hashlib
import re
from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import Ring

LAN_PORT = 6375
"""Where a node listens for its peers, unless it says otherwise."""
DOOR_PORT = 6376
"""Where it can be asked to pair, unless it says otherwise."""
_NODE_ID = re.compile(r"[0-9a-f]{64}")


class Peer(Struct, frozen=True, kw_only=True):
    """Another Meshlight that this one is paired with, and what it may use here."""

    id: str
    """Its node id."""
    name: str
    url: str
    """`https://192.168.1.20:6375`; empty while unknown."""
    share_rings: tuple[Ring, ...] = ("machine",)
    share_models: tuple[str, ...] | None = None
    """The only models it may use; None for all of those rings."""
    use: tuple[str, ...] | None = None
    """The only models (globs) that are used from it here, whoever else has them; None for all that take none over."""
    max_in_flight: int = 4
    paused: bool = False
    paired_at: float = 0.0
    """Unix seconds, for lists only."""


class Sighting(Struct, frozen=True, kw_only=True):
    """Somebody who announces itself on the local network: a proposal, which proves nothing."""

    id: str
    """The node id it tells; for a node of another program, a text that starts with `bago:`."""
    name: str
    host: str
    addresses: tuple[str, ...]
    port: int
    door: int
    """Where it can be asked to pair; 0 for a node of another program."""
    backends: int
    models: int
    catalog: str
    """Changes when its list of models does."""
    service: Literal["meshlight", "bago"]
    since: float
    """Seconds of the monotonic clock."""
    conflict: str = ""
    """A sentence when another machine announces the same id; else empty."""


def node_id(public_key: bytes) -> str:
    """Return the id of a node: the SHA-256, in hex, of its public key (the DER of a SubjectPublicKeyInfo)."""
    return hashlib.sha256(public_key).hexdigest()


def is_node_id(text: str) -> bool:
    """Whether a text has the form of a node id: 64 hex digits in lower case."""
    return _NODE_ID.fullmatch(text) is not None
