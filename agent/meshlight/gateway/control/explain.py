"""Why a request would go where it goes: the ranking of routes, with everything routing knows."""

from meshlight.domain.api_types import RouteExplanation, RouteView, latency_ms
from meshlight.domain.model_names import other_tag
from meshlight.domain.routing import Ranking, RouteScore, load_key, rank
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.request import check_name
from meshlight.gateway.inference.route_errors import no_such_model
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic


def explain(registry: Registry, traffic: Traffic, model: str) -> RouteExplanation:
    """Explain the routes of a model, those that are switched off too.

    Raises BadRequest for what is no name, NoSuchModel when nobody has it, EveryRouteDown when no backend has told
    its models yet.
    """
    check_name(model)
    snapshot = registry.snapshot
    # The next request's turn, as the relay will count it.
    ranking = rank(snapshot, model, traffic.load, registry.now(), traffic.router.total + 1)
    scores = (*ranking.scores, *_switched_off(snapshot, ranking))
    if not scores:
        raise no_such_model(snapshot, model)
    candidates = ranking.candidates
    nodes = snapshot.nodes
    return RouteExplanation(
        asked=ranking.asked,
        model=ranking.model,
        policy=ranking.policy,
        answers=candidates[0].backend if candidates else None,
        routes=tuple(
            RouteView(
                backend=v.backend,
                name=load_key(nodes[v.backend].backend.name, v.place),
                model=v.model,
                ring=nodes[v.backend].backend.ring,
                state=nodes[v.backend].health.state,
                tier=v.tier,
                why=v.why,
                latency_ms=latency_ms(nodes[v.backend].health),
                in_flight=traffic.load.get(load_key(v.backend, v.place), 0),
                place=v.place,
            )
            for v in scores
        ),
    )


def _switched_off(snapshot: Snapshot, ranking: Ranking) -> list[RouteScore]:
    """Return the routes that routing does not even look at."""
    known = {score.backend for score in ranking.scores}
    names = {ranking.model, other_tag(ranking.model)}
    return [
        RouteScore(backend=node.backend.id, model=ranking.model, tier="excluded", why="Switched off.")
        for node in snapshot.nodes.values()
        if not node.backend.enabled and names.intersection(node.models) and node.backend.id not in known
    ]
