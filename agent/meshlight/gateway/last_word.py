"""What the client is told when no route gave an answer: which routes there were, and what is wrong with each."""

from collections.abc import Sequence

from meshlight.backends.upstream import Reply
from meshlight.domain.errors import (
    BackendBroke,
    EveryRouteDown,
    FirstByteTooLate,
    MeshlightError,
    NoSuchModel,
    RouteError,
)
from meshlight.domain.near import near
from meshlight.domain.routing import Ranking
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.attempt import Miss

RETRY_AFTER_S = 5.0
"""When asking again may help: one probe period."""
SHOWN = 8
"""Routes named in one message."""


def no_route(snapshot: Snapshot, ranking: Ranking) -> MeshlightError:
    """Return the error for a model that nobody serves, or whose every route is switched off or out of bounds."""
    if not ranking.verdicts:
        known = (*snapshot.routes, *snapshot.routing.aliases)
        close = near(ranking.asked, known)
        if not known:
            hint = "No backend with a model is connected yet: start a local engine, or add a backend."
        elif close:
            hint = f"Did you mean {' or '.join(close)}? GET /v1/models lists them all."
        else:
            hint = "GET /v1/models lists those there are."
        return NoSuchModel(f"No backend serves the model {ranking.asked[:200]!r}.", hint)
    said = "; ".join(f"{snapshot.nodes[v.backend].backend.name}: {v.why}" for v in ranking.verdicts[:SHOWN])
    return EveryRouteDown(
        f"No route to {ranking.model[:200]!r} may be used: {said}", "Switch a backend on, or change the rule."
    )


def final_refusal(misses: Sequence[Miss]) -> Reply | None:
    """Return the backend's own failing answer, if the last word is to be that one, word for word.

    A backend that refuses *our* key says nothing about the client's: that is told as a route that is down.
    """
    last = misses[-1].refusal
    return None if last is None or last.status in {401, 403} else last


def final_error(model: str, misses: Sequence[Miss]) -> RouteError:
    """Return the error for a request whose every attempt failed."""
    last = misses[-1]
    said = "; ".join(f"{miss.backend.name}: {miss.reason.text}" for miss in misses[:SHOWN])
    fix = next(
        (miss.reason.fix for miss in misses if miss.reason.fix), "`meshlight status` shows every route."
    )
    if last.cause == "first-byte":
        return FirstByteTooLate(
            f"No answer for {model[:200]!r} in time: {said}", fix, RETRY_AFTER_S, len(misses)
        )
    if last.reason.code in {"bad-reply", "connection-lost"}:
        return BackendBroke(f"No usable answer for {model[:200]!r}: {said}", fix, RETRY_AFTER_S, len(misses))
    return EveryRouteDown(f"No route to {model[:200]!r} answers: {said}", fix, RETRY_AFTER_S, len(misses))
