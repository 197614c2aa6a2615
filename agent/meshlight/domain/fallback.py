"""Which other model answers while no route of the requested one is usable.

Only what the user has written down: the further models of an alias that lists several, and `fallback` in the model's
rule. The fallbacks of a fallback are not followed. It is never done silently: each route of such a ranking says why.
"""

from collections.abc import Callable

from msgspec.structs import replace

from meshlight.domain.model_names import other_tag
from meshlight.domain.peers import shared_id
from meshlight.domain.routing import Ranking, resolve
from meshlight.domain.snapshot import Snapshot
from meshlight.domain.text import sanitize_line


def alternatives(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    """Return the other names to try for a requested name, in order; the one that it stands for is not among them."""
    routing = snapshot.routing
    model, backends = resolve(snapshot, name)
    wishes = routing.wishes(name)
    if not wishes and model not in {name, other_tag(name)}:
        wishes = routing.pattern_wishes(name)
        if backends and model not in {resolve(snapshot, wish)[0] for wish in wishes}:
            return ()  # `backend/model`: no other one was meant
    found = dict.fromkeys((*wishes, *routing.rule(model).fallback))
    return tuple(other for other in found if other != name and resolve(snapshot, other)[0] != model)


def with_fallback(
    snapshot: Snapshot,
    ranking: Ranking,
    rank_one: Callable[[str], Ranking],
    is_usable: Callable[[Ranking], bool] = lambda ranking: ranking.is_usable,
) -> Ranking:
    """Return the ranking of the first usable model: the requested one's, which is `ranking`, or of another.

    `rank_one` ranks the routes of another name. If none is usable, `ranking` is returned.
    """
    if is_usable(ranking):
        return ranking
    for other in alternatives(snapshot, ranking.asked):
        found = rank_one(other)
        if is_usable(found):
            why = why_not(ranking)
            scores = tuple(score.changed(fallback=why) for score in found.scores)
            return replace(found, asked=ranking.asked, scores=scores)
    return ranking


def why_not(ranking: Ranking) -> str:
    """Return why a model does not answer, in a few words that name no backend and no folder."""
    name = sanitize_line(shared_id(ranking.model))
    if not ranking.scores:
        return f"{name} is not served"
    if all(score.tier == "excluded" for score in ranking.scores):
        return f"{name} may not be used"
    return f"{name} is down"
