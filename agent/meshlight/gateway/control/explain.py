"""Explains where a request for a model would go: the ranking of its routes, with the reasons."""

from meshlight.domain.api_types import RouteExplanation, RouteView, latency_ms
from meshlight.domain.choice import Prompt
from meshlight.domain.fallback import with_fallback
from meshlight.domain.model_names import other_tag
from meshlight.domain.route_score import RouteScore
from meshlight.domain.routing import Ranking, load_key, rank
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.context_guard import fix_for_length, without_small
from meshlight.gateway.inference.request import check_name
from meshlight.gateway.inference.route_errors import no_route, no_such_model
from meshlight.mesh.registry import Registry
from meshlight.mesh.route_memory import RouteMemory
from meshlight.mesh.traffic import Traffic


def explain(
    registry: Registry, traffic: Traffic, model: str, memory: RouteMemory, tokens: int = 0
) -> RouteExplanation:
    """Explain the routes of a model, including those that are switched off, for a request of so many tokens.

    Raises BadRequest for an invalid name, NoSuchModel if no backend has the model, EveryRouteDown if no backend has
    listed its models yet.
    """
    check_name(model)
    snapshot = registry.snapshot
    # The number of the next request, as the relay will count it.
    number, prompt = traffic.router.total + 1, Prompt(tokens=tokens)

    def rank_one(name: str) -> Ranking:
        return rank(snapshot, name, traffic.load, registry.now(), number, knowledge=memory, prompt=prompt)

    nodes = snapshot.nodes
    asked = rank_one(model)
    ranking = with_fallback(snapshot, asked, rank_one)
    fix = ""
    if tokens:
        is_itself = ranking is asked
        could_answer = asked
        asked = without_small(asked, nodes, tokens)
        if asked is not could_answer and not asked.candidates:
            fix = fix_for_length(could_answer, nodes)
        ranking = asked if is_itself else without_small(ranking, nodes, tokens)
    instead = ranking.scores if ranking.fallback else ()
    scores = (*instead, *asked.scores, *_switched_off(snapshot, asked))
    if not scores:
        raise no_such_model(snapshot, model)
    candidates = ranking.candidates
    return RouteExplanation(
        asked=asked.asked,
        model=asked.model,
        instead=ranking.model if instead else "",
        fallback=ranking.fallback,
        policy=ranking.policy,
        answers=candidates[0].backend if candidates else None,
        fix="" if candidates else fix or no_route(snapshot, asked).hint,
        routes=tuple(
            RouteView(
                backend=score.backend,
                name=load_key(nodes[score.backend].backend.name, score.place),
                model=score.model,
                ring=nodes[score.backend].backend.ring,
                state=nodes[score.backend].health.state,
                tier=score.tier,
                why=score.why,
                latency_ms=latency_ms(nodes[score.backend].health),
                in_flight=traffic.load.get(load_key(score.backend, score.place), 0),
                place=score.place,
                loaded=score.facts.loaded,
                slots=score.facts.slots,
                context=score.facts.context,
                expected_s=_rounded(score.facts.finish_s()),
            )
            for score in scores
        ),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _switched_off(snapshot: Snapshot, ranking: Ranking) -> list[RouteScore]:
    """Return the routes that routing does not consider."""
    known = {score.backend for score in ranking.scores}
    names = {ranking.model, other_tag(ranking.model)}
    return [
        RouteScore(backend=node.backend.id, model=ranking.model, tier="excluded", why="Switched off.")
        for node in snapshot.nodes.values()
        if not node.backend.enabled and names.intersection(node.models) and node.backend.id not in known
    ]
