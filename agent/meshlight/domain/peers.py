"""Other Meshlight nodes: paired peers, discovered ones, and their JSON at `/mesh/peers`.

What a peer may use of this node is decided here alone, by kind, ring and model.
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
"""The default port on which a node listens for its peers."""
PAIRING_PORT = 6376
"""The default port for pairing requests."""
_NODE_ID = re.compile(r"[0-9a-f]{64}")


class Peer(Struct, frozen=True, kw_only=True):
    """A paired node, and what it may use here."""

    id: str
    """Its node id."""
    name: str
    url: str
    """`https://192.168.1.20:6375`; empty while unknown."""
    share_rings: tuple[Ring, ...] = ("machine",)
    share_models: tuple[str, ...] | None = None
    """The only models it may use; None for all of those rings."""
    use: tuple[str, ...] | None = None
    """The only models (globs) that are used from it here, even where an own backend has them; None for all others."""
    max_in_flight: int = 4
    paused: bool = False
    may_manage: bool = False
    """Whether it may load and unload the models that it may use."""
    paired_at: float = 0.0
    """Unix seconds, only for lists."""


class Sighting(Struct, frozen=True, kw_only=True):
    """A node that announces itself on the local network; nothing of it is proven."""

    id: str
    """The announced node id; for a node of another program, a text that starts with `bago:`."""
    name: str
    host: str
    addresses: tuple[str, ...]
    port: int
    door: int
    """Its port for pairing requests; 0 for a node of another program."""
    backends: int
    models: int
    catalog: str
    """Changes when its list of models does."""
    service: Literal["meshlight", "bago"]
    since: float
    """Seconds of the monotonic clock."""
    conflict: str = ""
    """A sentence if another machine announces the same id; else empty."""


def node_id(public_key: bytes) -> str:
    """Return the id of a node: the SHA-256, in hex, of its public key (the DER of a SubjectPublicKeyInfo)."""
    return hashlib.sha256(public_key).hexdigest()


def is_node_id(text: str) -> bool:
    """Whether a text has the form of a node id: 64 hex digits in lower case."""
    return _NODE_ID.fullmatch(text) is not None


_PATH = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)


class SharingTerms(Protocol):
    """What a peer may use."""

    @property
    def id(self) -> str:
        """Its node id."""

    @property
    def name(self) -> str:
        """What it calls itself."""

    @property
    def share_rings(self) -> tuple[Ring, ...]:
        """Rings whose backends it may use."""

    @property
    def share_models(self) -> tuple[str, ...] | None:
        """The only models it may use; None for all of those rings."""


class SharedBackend(Struct, frozen=True, kw_only=True):
    """One backend in the catalog for a peer: without address and key, and without reasons, which may quote them.

    It has not the name that it has here, which is often a host's: `name` says what kind it is.
    """

    name: str
    kind: str
    ring: Ring
    state: State
    models: tuple[str, ...]
    details: Mapping[str, ModelDetail] = {}


class SharedCatalog(Struct, frozen=True, kw_only=True):
    """What one peer may use of a node (`GET /peer/catalog`); `hash` changes when anything in it does."""

    v: int = 1
    node_id: str
    name: str
    hash: str = ""
    paused: bool = False
    sees_you: bool | None = None
    """Whether this node reaches the requesting peer; None while it has not tried."""
    may_manage: bool = False
    """Whether the peer may load and unload these models, where their engines can be asked to."""
    backends: tuple[SharedBackend, ...] = ()


def may_use(terms: SharingTerms, backend: Backend, model: str) -> bool:
    """Whether a peer may use a model of a backend.

    A peer's models are never passed on to another peer, so that a mesh of three nodes lists each model once per
    machine. An account at a cloud or a cluster counts by its real ring, whatever the user has configured.
    """
    return _is_shared(terms, backend) and (terms.share_models is None or model in terms.share_models)


def shared_id(model: str) -> str:
    """Return the id of a model in catalogs for peers: of a file path, which some engines list, the last part."""
    if _PATH.match(model) is None:
        return model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] or "model"


def own_id(snapshot: Snapshot, terms: SharingTerms, name: str) -> str:
    """Return the id of the model that peers know by this name; the name itself where it is not a path."""
    if name in snapshot.routes:
        return name
    nodes = snapshot.nodes
    return next(
        (
            model
            for model, backends in snapshot.routes.items()
            if name in model
            and shared_id(model) == name
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
    may_manage: bool = False,
) -> SharedCatalog:
    """Return the catalog for a peer under its terms; `labels` are the names of the kinds of backends.

    `paused` and `may_manage` are told to the peer as they are.
    """
    numbers: Counter[str] = Counter()
    backends: list[SharedBackend] = []
    for node in snapshot.nodes.values():
        if (found := _shared(node, terms)) is not None:
            numbers[found.kind] += 1
            label = (labels or {}).get(found.kind, found.kind)
            number = numbers[found.kind]
            backends.append(replace(found, name=label if number == 1 else f"{label} {number}"))
    catalog = SharedCatalog(
        node_id=node_id,
        name=name,
        paused=paused,
        sees_you=sees_you,
        may_manage=may_manage,
        backends=tuple(backends),
    )
    return replace(catalog, hash=hashlib.sha256(msgspec.json.encode(catalog)).hexdigest()[:8])


def _is_shared(terms: SharingTerms, backend: Backend) -> bool:
    is_real = backend.kind != "peer" and backend.source != "demo"
    return backend.enabled and is_real and backend.reach in terms.share_rings


def _shared(node: Node, terms: SharingTerms) -> SharedBackend | None:
    backend = node.backend
    if not _is_shared(terms, backend):
        return None
    allowed = None if terms.share_models is None else frozenset(terms.share_models)
    models = tuple(model for model in node.models if allowed is None or model in allowed)
    if not models:
        return None
    shared_models = frozenset(models)
    return SharedBackend(
        name="",
        kind=backend.kind,
        ring=backend.reach,
        state=node.health.state,
        models=tuple(dict.fromkeys(map(shared_id, models))),
        details={
            shared_id(model): detail
            if node.backend.slots is None
            else replace(detail, slots=node.backend.slots)
            for model, detail in node.details.items()
            if model in shared_models
        },
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
    """The id of the backend that uses it here."""
    share_rings: tuple[Ring, ...]
    share_models: tuple[str, ...] | None
    max_in_flight: int
    paused: bool
    in_flight: int
    """Requests of this peer that are running here now."""
    sees_models: tuple[str, ...]
    """The models in its catalog now."""
    use: tuple[str, ...] | None = None
    """The only models (globs) that are used from it here; None for all that no own backend has."""
    may_manage: bool = False
    """Whether it may load and unload the models that it may use here."""


class SightingView(Struct, frozen=True, kw_only=True):
    """A discovered node; nothing of it is proven."""

    id: str
    short: str
    name: str
    host: str
    addresses: tuple[str, ...]
    port: int
    """The port for peers; 0 if it announces none."""
    service: Literal["meshlight", "bago"]
    backends: int
    models: int
    is_paired: bool
    can_pair: bool
    conflict: str


class PairingView(Struct, frozen=True, kw_only=True):
    """The running pairing, or how the last one ended."""

    role: Literal["asking", "asked"]
    state: PairingState
    name: str
    id: str
    digits: str
    """The six digits that both users compare; empty until there are any."""
    why: str
    """Why it ended, in a sentence."""
    left_s: float
    """Seconds until it times out."""


class PeersView(Struct, frozen=True, kw_only=True):
    """Everything about other nodes (`GET /mesh/peers`)."""

    node_id: str
    """This node's own id; empty until its key is created, at the first pairing."""
    short: str
    name: str
    visible: bool
    """Whether this machine can be discovered, and paired with."""
    browse: bool
    """Whether it discovers others."""
    port: int
    """The port for peers; 0 while it does not listen."""
    door: int
    """The port for pairing requests; 0 while it accepts none."""
    addresses: tuple[str, ...] = ()
    """This machine's addresses on the local networks, IPv4 first; empty while it neither browses nor is visible."""
    problem: str
    """What prevents discovery, with the fix; empty if nothing does."""
    peers: tuple[PeerView, ...]
    seen: tuple[SightingView, ...]
    pairing: PairingView | None


def short_id(node_id: str) -> str:
    """Return the part of a node id that people can compare: `3fa9 41c0`."""
    return f"{node_id[:4]} {node_id[4:8]}" if len(node_id) >= 8 else node_id


def peer_view(peer: Peer, backend: Backend | None, catalog: SharedCatalog, running: int) -> PeerView:
    """Return the view of a peer with its backend here and its catalog; `running` requests are in flight."""
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
        may_manage=peer.may_manage,
    )


def sighting_view(node: Sighting, peers: Mapping[str, Peer]) -> SightingView:
    """Return the view of a discovered node; `peers` are the paired ones, by node id."""
    is_paired = node.id in peers
    return SightingView(
        id=node.id,
        short=short_id(node.id) if node.service == "meshlight" else "",
        name=node.name,
        host=node.host,
        addresses=node.addresses,
        port=node.port,
        service=node.service,
        backends=node.backends,
        models=node.models,
        is_paired=is_paired,
        can_pair=bool(node.door) and not is_paired,
        conflict=node.conflict,
    )
