"""Which routes can serve a request, in which order, and why the others can't.

`rank` scores every backend that serves the model. The relay tries the usable routes in order; `/mesh/route` shows all
of them, the excluded ones with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import RING_ORDER, Backend
from meshlight.domain.model_names import other_tag
from meshlight.domain.precedence import set_aside
from meshlight.domain.rules import Policy, Rule, is_pattern
from meshlight.domain.snapshot import Node, Snapshot

Tier = Literal["ready", "untried", "last-resort", "excluded"]
_TIER_ORDER: dict[Tier, int] = {"ready": 0, "untried": 1, "last-resort": 2, "excluded": 3}
_NEVER = float("inf")
_NONE: Mapping[str, str] = {}
_ITSELF = ("",)
"""The places of a backend without services behind it: the backend itself."""
NAME_MAX = 640
"""Characters of the model name in a request, which may begin with the name of a backend."""


def load_key(backend: str, place: str) -> str:
    """Return the key under which the load of a route is counted."""
    return f"{backend}/{place}" if place else backend


class RouteScore(Struct, frozen=True, kw_only=True):
    """The tier of one route (a backend, a place behind it, a model), and why."""

    backend: str
    model: str
    tier: Tier
    why: str
    place: str = ""
    """The service behind the backend; empty for the backend itself."""
    fallback: str = ""
    """Why this model answers instead of the one that was requested; empty where it is that one."""


class Ranking(Struct, frozen=True, kw_only=True):
    """The scores of all routes for one model name, best first."""

    asked: str
    model: str
    policy: Policy
    scores: tuple[RouteScore, ...]

    @property
    def is_usable(self) -> bool:
        """Whether there is a route that is not known to be down."""
        return any(score.tier in {"ready", "untried"} for score in self.scores)

    @property
    def fallback(self) -> str:
        """Why this model answers instead of the one that was requested; empty where it is that one."""
        return self.scores[0].fallback if self.scores else ""

    @property
    def candidates(self) -> tuple[RouteScore, ...]:
        """The routes to try, in order.

        Routes that are down are not tried while a better one exists; without a better one, the best of them is tried
        once, so that a wrong health state never makes the last route of a model unusable.
        """
        good = tuple(score for score in self.scores if score.tier in {"ready", "untried"})
        return good or tuple(score for score in self.scores if score.tier == "last-resort")[:1]


def resolve(snapshot: Snapshot, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the model id that `name` stands for, and the ids of the backends that serve it (perhaps none).

    In order: an alias (of several models the first one that is served), a model id, `backend/model` with the
    backend's id or name; the same for the name without `:latest`, or with it; an alias that is a pattern. Model ids
    may themselves contain `/ : @ %`, so an exact id goes before the split, and of several backends the one with the
    shortest name wins. A name of more than NAME_MAX characters is not resolved.
    """
    if len(name) > NAME_MAX:
        return name, ()
    found = _resolve(snapshot, name)
    if not found[1]:
        for spelling in (other_tag(name), other_tag(found[0])):  # the name, and what an alias stands for
            tagged = _resolve(snapshot, spelling)
            if tagged[1]:
                return tagged
        for wish in snapshot.routing.pattern_wishes(name):
            wished = _resolve_plain(snapshot, wish)
            if wished[1]:
                return wished
    return found


def _resolve(snapshot: Snapshot, name: str) -> tuple[str, tuple[str, ...]]:
    wishes = snapshot.routing.wishes(name) or (name,)
    for wish in wishes:
        found = _resolve_plain(snapshot, wish)
        if found[1]:
            return found
    return wishes[0], ()


def _resolve_plain(snapshot: Snapshot, name: str) -> tuple[str, tuple[str, ...]]:
    """Resolve a name that is no alias."""
    backends = snapshot.routes.get(name)
    if backends is not None:
        return name, backends
    found: tuple[int, str, str] | None = None
    for node in snapshot.nodes.values() if "/" in name else ():
        for prefix in (node.backend.id, node.backend.name):
            cut = len(prefix)
            if name[cut : cut + 1] != "/" or not name.startswith(prefix) or (found and found[0] <= cut):
                continue
            if node.serves(model := name[cut + 1 :]):
                found = cut, model, node.backend.id
    return (name, ()) if found is None else (found[1], (found[2],))


def listed(snapshot: Snapshot) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return every name for lists of models, with its model id and enabled backends, as `resolve` returns them.

    These are the models' ids, the aliases, and `backend/NAME` of the further names; without names that no enabled
    backend serves.
    """
    nodes = snapshot.nodes
    further = (f"{n.backend.name}/{name}" for n in nodes.values() if n.backend.enabled for name in n.names)
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    aliases = (alias for alias in snapshot.routing.aliases if not is_pattern(alias))
    for name in dict.fromkeys((*snapshot.routes, *aliases, *further)):
        model, backends = resolve(snapshot, name)
        rule = snapshot.routing.rule(model)
        aside = _set_aside(snapshot, name, model, [nodes[backend] for backend in backends], rule)
        enabled = tuple(b for b in backends if nodes[b].backend.enabled and b not in aside)
        if enabled:
            found[name] = (model, enabled)
    return found


def rank(
    snapshot: Snapshot,
    name: str,
    load: Mapping[str, int],
    now: float,
    turn: int = 0,
    may_use: Callable[[Backend, str], bool] | None = None,
) -> Ranking:
    """Return the scores of every route of the model that `name` stands for.

    `load` has the requests in flight per route (see `load_key`), `now` is the registry's monotonic clock in seconds,
    `turn` counts requests and moves the start of `round-robin`. For callers with limited access, `may_use` decides
    which models of which backends they get: everything else is treated as if it did not exist.
    """
    model, backends = resolve(snapshot, name)
    policy = snapshot.routing.policy
    rule = snapshot.routing.rule(model)
    nodes = [snapshot.nodes[backend] for backend in backends]
    if may_use is not None:
        nodes = [node for node in nodes if may_use(node.backend, model)]
    aside = _set_aside(snapshot, name, model, nodes, rule)
    nearest = min(
        (
            RING_ORDER[n.backend.ring]
            for n in nodes
            if n.backend.enabled and not rule.excludes(n.backend) and n.backend.id not in aside
        ),
        default=0,
    )
    scored = [
        (node, place, *_score(node, place, model, rule, nearest, now, aside))
        for node in nodes
        for place in node.places.get(model, _ITSELF)
    ]
    if len(scored) > 1:
        order = _Order(policy, rule, load, turn, len(scored))
        scored = [
            entry
            for _, entry in sorted(
                enumerate(scored), key=lambda e: (_TIER_ORDER[e[1][2]], *order.key(e[1][0], e[1][1], e[0]))
            )
        ]
    scores = tuple(
        RouteScore(backend=node.backend.id, model=model, tier=tier, why=why, place=place)
        for node, place, tier, why in scored
    )
    return Ranking(asked=name, model=model, policy=policy, scores=scores)


def _set_aside(
    snapshot: Snapshot, name: str, model: str, nodes: Sequence[Node], rule: Rule
) -> Mapping[str, str]:
    """Return which of these are not used, and why; one that is requested as `backend/model` is always used."""
    if len(nodes) == 1:
        backend = nodes[0].backend
        if not (snapshot.uses and backend.is_offer):
            return _NONE
        wishes = snapshot.routing.wishes(name) or (name, *snapshot.routing.pattern_wishes(name))
        if not {f"{backend.id}/{model}", f"{backend.name}/{model}"}.isdisjoint(wishes):
            return _NONE
    return set_aside(model, nodes, rule, snapshot.uses)


def _score(
    node: Node, place: str, model: str, rule: Rule, nearest: int, now: float, aside: Mapping[str, str]
) -> tuple[Tier, str]:
    if why := _excluded(node.backend, rule, nearest, aside):
        return "excluded", why
    return _score_health(node, place, model, now)


def _score_health(node: Node, place: str, model: str, now: float) -> tuple[Tier, str]:
    """Return the tier of an allowed route, by the health of the backend and of the part that would answer."""
    health = node.health
    part = node.parts.get(place or model) if node.parts else None
    if part is not None and part.state != "healthy":
        if part.held_until and now >= part.held_until:
            return "untried", "Its pause is over."
        return "last-resort", f"{place or model}: {part.reason.text}"
    if health.state == "healthy":
        return "ready", "Healthy."
    if place and health.state == "unhealthy":
        return "untried", f"The backend is down, but this service may not be: {health.reason.text}"
    if health.state == "unknown":
        return "untried", health.reason.text
    if health.reason.code == "failing-requests" and now >= health.held_until:
        return "untried", "Its pause after failed requests is over."
    return "last-resort", f"{health.state}: {health.reason.text}"


def _excluded(backend: Backend, rule: Rule, nearest: int, aside: Mapping[str, str]) -> str:
    """Return why a backend must not be used, whatever its health; empty when it may be."""
    ring = RING_ORDER[backend.ring]
    if not backend.enabled:
        return "Switched off."
    if rule.is_beyond_bound(backend.ring):
        return f"The rule for {rule.model!r} never goes beyond {rule.bound}."
    if rule.excludes(backend):
        return f"The rule for {rule.model!r} is pinned to {', '.join(rule.pin)}."
    if backend.id in aside:
        return aside[backend.id]
    if ring > nearest and ring > RING_ORDER[rule.spill]:
        return f"A nearer ring serves this model, and no rule lets it spill over to the {backend.ring}."
    return ""


class _Order(Struct, frozen=True):
    """The order among routes of the same tier."""

    policy: Policy
    rule: Rule
    load: Mapping[str, int]
    turn: int
    count: int

    def key(self, node: Node, place: str, index: int) -> tuple[float, ...]:
        backend = node.backend
        busy = float(self.load.get(load_key(backend.id, place), 0))
        latency = _NEVER if node.health.latency_s is None else node.health.latency_s
        ring = float(RING_ORDER[backend.ring])
        prefer = self.rule.prefer
        preference = next(
            (float(i) for i, preferred in enumerate(prefer) if preferred in {backend.id, backend.name}),
            float(len(prefer)),
        )
        # Places of one backend have no order of their own: equally busy ones take turns.
        turn = float((index - self.turn) % self.count) if place else 0.0
        match self.policy:
            case "priority":
                return (preference, float(backend.priority), ring, busy, latency, turn)
            case "round-robin":
                return (preference, float((index - self.turn) % self.count))
            case "least-busy":
                return (preference, busy, ring, latency, turn)
            case "fastest":
                return (preference, latency, busy, turn)
            case "local-first":
                return (preference, ring, busy, latency, turn)
