"""What the user's own backends keep: a model that one of them has is not taken over by whoever else offers it.

Anybody may list `gpt-5-mini`: another user's program at a usual port, or a peer. Found engines and peers offer; a
backend that the user has added has. An offer is set aside where an own backend has the model and is as far away or
farther, so that no prompt goes elsewhere for being nearer. What an own backend nearer by has may still go on to a
peer when that one is down, as the rings say.
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
    """Return which of the backends that serve a model are not used for it, by id, and why.

    `uses` are the lists of models that are used from a peer, by node id; one without a list is not in it.
    """
    offers = [node.backend for node in nodes if node.backend.is_offer]
    if not offers:
        return _NONE
    own = [node.backend for node in nodes if node.backend.enabled and not node.backend.is_offer]
    own = [backend for backend in own if not rule.keeps_out(backend)]
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
        elif keeper := _keeper(backend, own):
            found[backend.id] = _why(backend, keeper)
    return found


def offered(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Return the models that are offered by more than those that are used for them: model → ids of the others."""
    found: dict[str, tuple[str, ...]] = {}
    routing, nodes = snapshot.routing, snapshot.nodes
    for model, ids in snapshot.routes.items():
        if (len(ids) > 1 or snapshot.uses) and any(nodes[i].backend.is_offer for i in ids):
            aside = set_aside(model, [nodes[i] for i in ids], routing.rule(model), snapshot.uses)
            if aside:
                found[model] = tuple(aside)
    return found


def _keeper(offer: Backend, own: Iterable[Backend]) -> Backend | None:
    far = RING_ORDER[offer.ring]
    return next((backend for backend in own if RING_ORDER[backend.reach] >= far), None)


def _why(offer: Backend, keeper: Backend) -> str:
    what = "A peer" if offer.kind == "peer" else "A found engine"
    how = f'`also = ["{offer.id}"]` in a rule for this model'
    if offer.kind == "peer":
        how += ", or the model in the peer's `use`"
    return (
        f"{what} offers this model too, and it is not used: {keeper.name}, which you have added, has it. "
        f"To use both: {how}."
    )
