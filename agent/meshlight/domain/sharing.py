"""What a peer may use of this node: decided here, by kind, ring and model, and nowhere else."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Backend, Ring
from meshlight.domain.health import State
from meshlight.domain.model import ModelDetail
from meshlight.domain.snapshot import Node, Snapshot

_PATH = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)


class Terms(Protocol):
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


def may_use(terms: Terms, backend: Backend, model: str) -> bool:
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


def own_id(snapshot: Snapshot, terms: Terms, name: str) -> str:
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
    terms: Terms,
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


def _is_open(terms: Terms, backend: Backend) -> bool:
    return backend.enabled and backend.kind != "peer" and backend.reach in terms.share_rings


def _shared(node: Node, terms: Terms) -> SharedBackend | None:
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
