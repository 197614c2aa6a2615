"""The user's own backends have precedence: found engines and peers can't take over a model that one of them has.

Anybody may list `gpt-5-mini`: another user's program on a usual port, or a peer. What found engines and peers list is
an offer. It is not used where a backend that the user has added has the model and is as far away or farther, so that
no prompt goes elsewhere because that is nearer. When the own backend is nearer and down, a peer may still be used, by
the rules for rings.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from meshlight.domain.backend import RING_ORDER, Backend
from meshlight.domain.rules import Rule
from meshlight.domain.snapshot import Node, Snapshot

_NONE: Mapping[str, str] = {}


def set_aside(
    model: str, nodes: Sequence[Node], rule: Rule, uses: Mapping[str, tuple[str, ...]]
) -> Mapping[str, str]:
    """Return the backends that serve a model and are not used for it: backend id → why.

    `uses` are the models that are used from a peer, by node id, for the peers that have such a list.
    """
    offers = [node.backend for node in nodes if node.backend.is_offer]
    if not offers:
        return _NONE
    # Models that merely lie on this machine's disk were not chosen by the user: they take precedence over nobody.
    own = [n.backend for n in nodes if n.backend.enabled and n.backend.source == "config"]
    own = [backend for backend in own if not backend.is_offer]
    own = [backend for backend in own if not rule.excludes(backend)]
    found: dict[str, str] = {}
    for backend in offers:
        if rule.allows(backend):
            continue
        chosen = uses.get(backend.node_id) if backend.node_id else None
        if chosen is not None:
            if not any(fnmatchcase(model, wanted) for wanted in chosen):
                found[backend.id] = (
                    f"It is not among the models that are used from {backend.name}: add it to that peer's `use`."
                )
        elif owner := _own_backend(backend, own):
            found[backend.id] = _why(backend, owner)
    return found


def offered(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Return the offers that are not used: model → ids of the backends that offer it."""
    found: dict[str, tuple[str, ...]] = {}
    routing, nodes = snapshot.routing, snapshot.nodes
    for model, ids in snapshot.routes.items():
        if (len(ids) > 1 or snapshot.uses) and any(nodes[i].backend.is_offer for i in ids):
            aside = set_aside(model, [nodes[i] for i in ids], routing.rule(model), snapshot.uses)
            if aside:
                found[model] = tuple(aside)
    return found


def _own_backend(offer: Backend, own: Iterable[Backend]) -> Backend | None:
    distance = RING_ORDER[offer.ring]
    return next((backend for backend in own if RING_ORDER[backend.reach] >= distance), None)


def _why(offer: Backend, owner: Backend) -> str:
    what = "A peer" if offer.kind == "peer" else "A found engine"
    how = f'`also = ["{offer.id}"]` in a rule for this model'
    if offer.kind == "peer":
        how += ", or the model in the peer's `use`"
    return (
        f"{what} offers this model too, and it is not used: {owner.name}, which you have added, has it. "
        f"To use both: {how}."
    )
