"""What the client is told when no route gave an answer: which routes there were, and what is wrong with each."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from meshlight.backends.kind import GEMINI_FACES, Face
from meshlight.backends.upstream import Reply
from meshlight.domain.errors import (
    BackendBroke,
    EveryRouteDown,
    FirstByteTooLate,
    MeshlightError,
    NoSuchModel,
    NotFound,
    RouteError,
)
from meshlight.domain.near import near
from meshlight.domain.routing import Ranking
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.domain.tags import other_tag
from meshlight.gateway.attempt import Miss
from meshlight.gateway.refusal import RETRY_AFTER_S

SHOWN = 8
"""Routes named in one message."""
AT_CHAT = "Ask for it at /v1/chat/completions; GET /v1beta/models lists those that Gemini's API reaches."
"""What to do with a model that is not Gemini's."""
_ELSEWHERE = "Use a model of an engine that has it; GET /v1/models lists them all."
_NOT_FOR_CLIENTS = frozenset({401, 403})
"""Refusals that are about our own key, not the client's."""
_BROKEN = frozenset({"bad-reply", "connection-lost", "not-an-api", "redirected"})


def no_route(snapshot: Snapshot, ranking: Ranking, *, lacks: Face | None = None) -> MeshlightError:
    """Return the error for a model that nobody serves, or none of whose routes may be used.

    `lacks` is the face that was asked for, where there are routes, but to backends without it.
    """
    if not ranking.verdicts:
        return no_such_model(snapshot, ranking.asked)
    nodes = snapshot.nodes
    said = _joined(f"{nodes[v.backend].backend.name}: {v.why}" for v in ranking.verdicts)
    title = f"No route to {ranking.model[:200]!r} may be used: {said}"
    if lacks is not None:
        return NotFound(title, AT_CHAT if lacks in GEMINI_FACES else _ELSEWHERE)
    return EveryRouteDown(title, "Switch a backend on, or change the rule.")


def no_such_model(snapshot: Snapshot, name: str) -> MeshlightError:
    """Return the error for a model that nobody serves: the names that are near, and who could not be asked yet."""
    nodes = snapshot.nodes.values()
    silent = [n for n in nodes if n.backend.enabled and not n.models and n.health.state != "healthy"]
    if not snapshot.routes and silent:
        said = _joined(map(_state, silent))
        fix = next((node.health.reason.fix for node in silent if node.health.reason.fix), "")
        return EveryRouteDown(f"No backend has named its models yet: {said}", fix, RETRY_AFTER_S)
    title = f"No backend serves the model {name[:200]!r}."
    names = {name, other_tag(name)}
    off = [n.backend.name for n in nodes if not n.backend.enabled and names.intersection(n.models)]
    close = near(name, (*snapshot.routes, *snapshot.routing.aliases))
    if off:
        hint = f"{', '.join(off[:SHOWN])} has it, but is switched off: switch it on to use it."
    elif close:
        hint = f"Did you mean {' or '.join(close)}? GET /v1/models lists them all."
    elif snapshot.routes:
        hint = "GET /v1/models lists those there are."
    else:
        hint = "No backend with a model is connected yet: start a local engine, or add a backend."
    if silent:
        hint += f" Not asked yet, so it may be there: {_joined(map(_state, silent))}"
    return NoSuchModel(title, hint)


def final_refusal(misses: Sequence[Miss]) -> Reply | None:
    """Return the backend's own failing answer, if the last word is to be that one, word for word.

    A backend that refuses *our* key says nothing about the client's: that is told as a route that is down.
    """
    miss = misses[-1]
    last = miss.refusal
    if last is None or last.status < 400:
        return None
    if last.status in _NOT_FOR_CLIENTS and not miss.is_final:
        return None
    # What 401 means to a client is that its own key is wrong.
    return replace(last, status=403) if last.status == 401 else last


def final_error(model: str, misses: Sequence[Miss]) -> MeshlightError:
    """Return the error for a request whose every attempt failed."""
    last = misses[-1]
    if last.error is not None and all(miss.error is not None for miss in misses):
        return last.error
    said = _joined(f"{miss.backend.name}: {miss.reason.text}" for miss in misses)
    fix = next(
        (miss.reason.fix for miss in misses if miss.reason.fix), "`meshlight status` shows every route."
    )
    title = f"No route to {model[:200]!r} answers: {said}"
    kind: type[RouteError] = EveryRouteDown
    if last.cause == "first-byte":
        title = f"No answer for {model[:200]!r} in time: {said}"
        kind = FirstByteTooLate
    elif last.reason.code in _BROKEN:
        title = f"No usable answer for {model[:200]!r}: {said}"
        kind = BackendBroke
    is_warming = any(miss.reason.code == "loading" for miss in misses)
    return kind(title, fix, RETRY_AFTER_S, len(misses), is_warming=is_warming)


def _state(node: Node) -> str:
    return f"{node.backend.name}: {node.health.reason.text}"


def _joined(said: Iterable[str]) -> str:
    return "; ".join([text for text, _ in zip(said, range(SHOWN), strict=False)])
