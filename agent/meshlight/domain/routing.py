"""Which routes can serve a request, in which order, and why the others can't.

`rank` scores every backend that serves the model. The relay tries the usable routes in the order of `choice`;
`/mesh/route` shows all of them, the excluded ones with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, get_args

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import RING_ORDER, Backend, ModelDetail, Ring
from meshlight.domain.choice import (
    NO_PROMPT,
    STEPS,
    Best,
    Place,
    Prompt,
    RouteFacts,
    as_told,
    deciding_step,
    places,
)
from meshlight.domain.choice_words import why_first, why_later
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.model_names import other_tag
from meshlight.domain.precedence import set_aside
from meshlight.domain.route_score import RouteScore, Tier
from meshlight.domain.rules import Policy, Rule, is_pattern
from meshlight.domain.snapshot import Node, Snapshot

_TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
"""Best first."""
_NO_DETAIL: Final = ModelDetail()
HEALTHY: Final = "Healthy."
"""Why the only route that is ready is used."""
_NONE: Final[Mapping[str, str]] = {}
_ITSELF: Final = ("",)
"""The places of a backend without services behind it: the backend itself."""
NAME_MAX: Final = 640
"""Characters of the model name in a request, which may begin with the name of a backend."""


def load_key(backend: str, place: str) -> str:
    """Return the key under which the load of a route is counted."""
    return f"{backend}/{place}" if place else backend


class RouteKnowledge(Protocol):
    """What was learned of the routes, beyond what the backends tell."""

    def bring_up_to_date(
        self, routes: Sequence[tuple[RouteFacts, Node, str]], model: str, prompt: Prompt
    ) -> None:
        """Complete what is known of the routes of a model, each with its node and place, for a request."""


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
    backend serves. The further names of this machine's models can be asked for and are left out: each file has
    several, and would stand in every application's list as often.
    """
    nodes = snapshot.nodes
    further = (
        f"{n.backend.name}/{name}"
        for n in nodes.values()
        if n.backend.enabled and n.backend.id != LOCAL_ID
        for name in n.names
    )
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
    *,
    knowledge: RouteKnowledge | None = None,
    prompt: Prompt = NO_PROMPT,
) -> Ranking:
    """Return the scores of every route of the model that `name` stands for.

    `load` has the requests in flight per route (see `load_key`), `now` is the registry's monotonic clock in seconds,
    `turn` counts requests and moves the start of `round-robin`. For callers with limited access, `may_use` decides
    which models of which backends they get: everything else is treated as if it did not exist. `knowledge` is what
    was learned of the routes, `prompt` what is known of the request.
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
    found = [(node, place) for node in nodes for place in node.places.get(model, _ITSELF)]
    is_bound = snapshot.routing.bound is not None
    known: list[tuple[RouteFacts, Node, str]] = []
    tiers: dict[Tier, list[RouteScore]] = {tier: [] for tier in _TIERS}
    for index, (node, place) in enumerate(found):
        tier, why = _score(node, place, model, rule, nearest, now, aside)
        if is_bound and snapshot.routing.is_beyond_bound(node.backend, node.details.get(model)):
            tier, why = "excluded", beyond_bound(snapshot.routing.bound)
        facts = _facts(node, place, model, rule, load)
        facts.index = index
        if place or policy == "round-robin":
            # Places of one backend have no order of their own: equally busy ones take turns.
            facts.turn = (index - turn) % len(found)
        known.append((facts, node, place))
        tiers[tier].append(
            RouteScore(backend=node.backend.id, model=model, tier=tier, why=why, place=place, facts=facts)
        )
    if knowledge is not None:
        knowledge.bring_up_to_date(known, model, prompt)
    scores = [score for tier in _TIERS for score in _in_order(policy, tiers[tier], prompt)]
    ranking = Ranking(asked=name, model=model, policy=policy, scores=tuple(scores))
    return explained(ranking, snapshot.nodes, prompt)


def explained(ranking: Ranking, nodes: Mapping[str, Node], prompt: Prompt = NO_PROMPT) -> Ranking:
    """Return the ranking with the reasons for the order of the routes that are ready; the others have theirs."""
    ready = [score for score in ranking.scores if score.tier == "ready"]
    if len(ready) < 2:
        return ranking if not ready else _with_reasons(ranking, {id(ready[0]): HEALTHY})
    found = places(ranking.policy, [score.facts for score in ready], prompt)
    first = _why_best(ranking.policy, ready, found, nodes, prompt)
    reasons = {id(ready[0]): f"{first[:1].upper()}{first[1:]}."}
    for at in range(1, len(ready)):
        why = why_later(deciding_step(ranking.policy, found[at - 1], found[at]), ready[at].facts)
        reasons[id(ready[at])] = f"After {route_name(nodes, ready[at - 1])}: {why}."
    return _with_reasons(ranking, reasons)


def why_best(ranking: Ranking, nodes: Mapping[str, Node], prompt: Prompt = NO_PROMPT) -> str:
    """Return why the first route that is ready goes before the second one, without a full stop.

    Empty where there are not two.
    """
    ready = [score for score in ranking.scores if score.tier == "ready"]
    if len(ready) < 2:
        return ""
    found = places(ranking.policy, [score.facts for score in ready], prompt)
    return _why_best(ranking.policy, ready, found, nodes, prompt)


def _why_best(
    policy: Policy,
    ready: Sequence[RouteScore],
    found: Sequence[Place],
    nodes: Mapping[str, Node],
    prompt: Prompt,
) -> str:
    step = deciding_step(policy, found[0], found[1])
    # As they are listed: of equal ones, the first one is taken.
    order = sorted(range(len(ready)), key=lambda at: ready[at].facts.index)
    decided = Best(order.index(0), order.index(1), step)
    told = as_told(decided, STEPS[policy], [ready[at].facts for at in order], prompt)
    other = ready[order[told.second]]
    return why_first(told.step, ready[0].facts, other.facts, route_name(nodes, other))


def _with_reasons(ranking: Ranking, reasons: Mapping[int, str]) -> Ranking:
    scores = tuple(
        score.changed(why=why) if (why := reasons.get(id(score), score.why)) != score.why else score
        for score in ranking.scores
    )
    return replace(ranking, scores=scores)


def route_name(nodes: Mapping[str, Node], score: RouteScore) -> str:
    """Return the name of a route's backend, with the place behind it, for people."""
    return load_key(nodes[score.backend].backend.name, score.place)


def _facts(node: Node, place: str, model: str, rule: Rule, load: Mapping[str, int]) -> RouteFacts:
    """Return what the backend tells of a route."""
    backend = node.backend
    detail = node.details.get(model) or node.details.get(node.names.get(model, ""), _NO_DETAIL)
    prefer = rule.prefer
    return RouteFacts(
        preference=next(
            (i for i, preferred in enumerate(prefer) if preferred in {backend.id, backend.name}), len(prefer)
        ),
        ring=RING_ORDER[backend.ring],
        priority=backend.priority,
        in_flight=load.get(load_key(backend.id, place), 0),
        slots=detail.slots if backend.slots is None else backend.slots,
        loaded=detail.loaded,
        context=detail.context,
        latency_s=node.health.latency_s,
    )


def _in_order(policy: Policy, scores: list[RouteScore], prompt: Prompt) -> Sequence[RouteScore]:
    """Return the routes of one tier in order."""
    if len(scores) < 2:
        return scores
    found = places(policy, [score.facts for score in scores], prompt)
    return [scores[at] for at in sorted(range(len(scores)), key=lambda at: (found[at].key, at))]


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
        return "ready", HEALTHY
    if place and health.state == "unhealthy":
        return "untried", f"The backend is down, but this service may not be: {health.reason.text}"
    if health.state == "unknown":
        return "untried", health.reason.text
    if health.reason.code == "failing-requests" and now >= health.held_until:
        return "untried", "Its pause after failed requests is over."
    return "last-resort", f"{health.state}: {health.reason.text}"


def beyond_bound(bound: Ring | None) -> str:
    """Return why a backend beyond the limit of all routing is not used."""
    return (
        f"Your settings let no prompt go beyond {'this machine' if bound == 'machine' else f'the {bound}'}."
    )


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
