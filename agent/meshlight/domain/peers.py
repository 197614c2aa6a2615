"""Other Meshlights: those that this one is paired with, and those that are seen on the network.

What a peer may use of this node: decided here, by kind, ring and model, and nowhere else.

The other Meshlights as apps see them at `/mesh/peers`: who is paired, who is seen, who asks to be paired.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Backend, ModelDetail, Ring
from meshlight.domain.health import State
from meshlight.domain.snapshot import Node, Snapshot

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


_PATH = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)


class SharingTerms(Protocol):
    """What was agreed on with a peer."""

    @property
    def share_rings(self) -> tuple[Ring, ...]:
        """Rings whose backends it may use."""

    @property
    def share_models(self) -> tuple[str, ...] | None:
        """The only models it may use; None for all of those rings."""


class SharedBackend(Struct, frozen=True, kw_only=True):
    """One backend as a peer gets to see it: no address, no key, no reason that quotes either.

    Nor the name that it has here, which often is a host's: `name` says what kind it is.
    """

    name: str
    kind: str
    ring: Ring
    state: State
    models: tuple[str, ...]
    details: Mapping[str, ModelDetail] = {}


class SharedCatalog(Struct, frozen=True, kw_only=True):
    """What a node gives to one peer (`GET /peer/catalog`); `hash` changes when anything in it does."""

    v: int = 1
    node_id: str
    name: str
    hash: str = ""
    paused: bool = False
    sees_you: bool | None = None
    """Whether this node reaches the peer that asks; None while it has not tried."""
    backends: tuple[SharedBackend, ...] = ()


def may_use(terms: SharingTerms, backend: Backend, model: str) -> bool:
    """Whether a peer may have a model of a backend.

    What is itself a peer's is never passed on: a mesh of three lists each model once for each place where it is. An
    account at a cloud or a cluster counts as what it is, whichever ring its user has put it into.
    """
    return _is_open(terms, backend) and (terms.share_models is None or model in terms.share_models)


def told_id(model: str) -> str:
    """Return what peers are told that a model is called: of a file's path, which engines list too, its last part."""
    if _PATH.match(model) is None:
        return model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] or "model"


def own_id(snapshot: Snapshot, terms: SharingTerms, name: str) -> str:
    """Return the id of the model that a peer was told of by this name; the name itself where it was no path."""
    if name in snapshot.routes:
        return name
    nodes = snapshot.nodes
    return next(
        (
            model
            for model, backends in snapshot.routes.items()
            if name in model
            and told_id(model) == name
            and any(may_use(terms, nodes[backend].backend, model) for backend in backends)
        ),
        name,
    )


def shared(
    snapshot: Snapshot,
    terms: SharingTerms,
    node_id: str,
    name: str,
    *,
    sees_you: bool | None,
    paused: bool,
    labels: Mapping[str, str] | None = None,
) -> SharedCatalog:
    """Return what a peer gets to see under its terms; `labels` are what the kinds of backends are called."""
    numbers: Counter[str] = Counter()
    backends: list[SharedBackend] = []
    for node in snapshot.nodes.values():
        if (found := _shared(node, terms)) is not None:
            numbers[found.kind] += 1
            label = (labels or {}).get(found.kind, found.kind)
            number = numbers[found.kind]
            backends.append(replace(found, name=label if number == 1 else f"{label} {number}"))
    catalog = SharedCatalog(
        node_id=node_id, name=name, paused=paused, sees_you=sees_you, backends=tuple(backends)
    )
    return replace(catalog, hash=hashlib.sha256(msgspec.json.encode(catalog)).hexdigest()[:8])


def _is_open(terms: SharingTerms, backend: Backend) -> bool:
    return backend.enabled and backend.kind != "peer" and backend.reach in terms.share_rings


def _shared(node: Node, terms: SharingTerms) -> SharedBackend | None:
    backend = node.backend
    if not _is_open(terms, backend):
        return None
    wanted = None if terms.share_models is None else frozenset(terms.share_models)
    models = tuple(model for model in node.models if wanted is None or model in wanted)
    if not models:
        return None
    given = frozenset(models)
    return SharedBackend(
        name="",
        kind=backend.kind,
        ring=backend.ring,
        state=node.health.state,
        models=tuple(dict.fromkeys(map(told_id, models))),
        details={told_id(model): detail for model, detail in node.details.items() if model in given},
    )


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
