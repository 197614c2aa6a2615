"""The error that a client gets when no route gave an answer.

This machine's own clients read which routes there were and what is wrong with each. A peer reads why, but nothing
about this node's backends: reasons name backends and quote addresses, so a guest gets other texts.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from meshlight.backends.peer import NOT_SHARED
from meshlight.domain.backend import Reason
from meshlight.domain.errors import (
    AllBusy,
    BackendFailed,
    EveryRouteDown,
    FirstByteTooLate,
    MeshlightError,
    ModelNotFound,
    NotFound,
    RouteError,
)
from meshlight.domain.model_names import other_tag
from meshlight.domain.operations import GEMINI_OPERATIONS, Operation
from meshlight.domain.routing import NAME_MAX, Ranking, beyond_bound
from meshlight.domain.rules import is_pattern
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.domain.text import similar_names
from meshlight.gateway.inference.failures import FailedAttempt, protocol_error, sends_of
from meshlight.gateway.inference.upstream_errors import RETRY_AFTER_S
from meshlight.http_client.client import Reply

SHOWN = 8
"""Routes named in one message."""
AT_CHAT = "Ask for it at /v1/chat/completions; GET /v1beta/models lists those that Gemini's API reaches."
"""The hint for a model that is not Gemini's."""
_LISTS_ALL = "`meshlight models` lists those there are, as GET /v1/models does."
_ELSEWHERE = "Use a model of an engine that has it; GET /v1/models lists them all."
_NOT_FOR_CLIENTS = frozenset({401, 403})
"""Refusals that are about our own key, not the client's."""
_BROKEN = frozenset({"bad-reply", "connection-lost", "not-an-api", "redirected"})


def no_route(snapshot: Snapshot, ranking: Ranking, *, lacks: Operation | None = None) -> MeshlightError:
    """Return the error for a model that no backend serves, or none of whose routes may be used.

    `lacks` is the requested operation, if there are routes, but to backends without it.
    """
    if not ranking.scores:
        return no_such_model(snapshot, ranking.asked)
    nodes = snapshot.nodes
    states = _joined(f"{nodes[v.backend].backend.name}: {v.why}" for v in ranking.scores)
    title = f"No route to {ranking.model[:200]!r} may be used: {states}"
    if lacks is not None:
        return NotFound(title, AT_CHAT if lacks in GEMINI_OPERATIONS else _ELSEWHERE)
    if (bound := snapshot.routing.bound) is not None and any(
        verdict.why == beyond_bound(bound) for verdict in ranking.scores
    ):
        return EveryRouteDown(
            title, "Use a model that is nearer, or allow it in Settings: `meshlight settings set bound none`."
        )
    return EveryRouteDown(title, "Switch a backend on, or change the rule.")


def all_busy(model: str, state: str, retry_after_s: float, waited_s: float | None) -> AllBusy:
    """Return the error for a request that found no free slot: not even a place in the queue, or not in time.

    `state` says how busy the routes are; it names none, so that a peer may read it too.
    """
    if waited_s is None:
        title = f"Too many requests wait for {model[:200]!r}: {state}."
    else:
        title = f"No slot for {model[:200]!r} became free within {waited_s:g} s: {state}."
    return AllBusy(title, f"Try again in {retry_after_s:g} s.", retry_after_s)


def no_such_model(snapshot: Snapshot, name: str) -> MeshlightError:
    """Return the error for a model that no backend serves, with similar names and the backends not reached yet."""
    nodes = snapshot.nodes.values()
    silent = [n for n in nodes if n.backend.enabled and not n.models and n.health.state != "healthy"]
    if not snapshot.routes and silent:
        states = _joined(map(_state, silent))
        fix = next((node.health.reason.fix for node in silent if node.health.reason.fix), "")
        return EveryRouteDown(f"No backend has listed its models yet: {states}", fix, RETRY_AFTER_S)
    if unusable := _unusable(snapshot, name):
        reasons = _joined(f"{node.backend.name}: {why.text}" for node, why in unusable)
        fix = next((why.fix for _, why in unusable if why.fix), "`meshlight status` shows every backend.")
        if all(why.code == NOT_SHARED for _, why in unusable):  # to try again would not help
            return ModelNotFound(f"No backend serves the model {name[:200]!r}: {reasons}", fix)
        return EveryRouteDown(f"No route to {name[:200]!r} can be used now: {reasons}", fix, RETRY_AFTER_S)
    title = f"No backend serves the model {name[:200]!r}."
    names = {name, other_tag(name)}
    off = [n.backend.name for n in nodes if not n.backend.enabled and names.intersection(n.models)]
    close = similar_names(
        name, (*snapshot.routes, *(a for a in snapshot.routing.aliases if not is_pattern(a)))
    )
    if off:
        hint = f"{', '.join(off[:SHOWN])} has it, but is switched off: switch it on to use it."
    elif close:
        hint = f"Did you mean {' or '.join(close)}? {_LISTS_ALL}"
    elif snapshot.routes:
        hint = _LISTS_ALL
    else:
        hint = "No backend has a model yet. `meshlight setup` gets a first one."
    if silent:
        hint += f" Not reached yet, so it may be there: {_joined(map(_state, silent))}"
    return ModelNotFound(title, hint)


def _unusable(snapshot: Snapshot, name: str) -> list[tuple[Node, Reason]]:
    """Return the backends where a model is known to exist and can't be used, and why."""
    target = next(iter(snapshot.routing.wishes(name)), name)
    found = []
    for node in snapshot.nodes.values() if len(target) <= NAME_MAX else ():
        if not node.unusable or not node.backend.enabled:
            continue
        prefixes = ("", f"{node.backend.id}/", f"{node.backend.name}/")
        names = (target.removeprefix(prefix) for prefix in prefixes if target.startswith(prefix))
        why = next((node.unusable[name] for name in names if name in node.unusable), None)
        if why is not None:
            found.append((node, why))
    return found


def final_refusal(failures: Sequence[FailedAttempt]) -> Reply | None:
    """Return the last backend's failing answer, if the client is to get that one unchanged.

    A backend that refuses *our* key says nothing about the client's: that counts as a route that is down.
    """
    failure = failures[-1]
    last = failure.refusal
    if last is None or last.status < 400:
        return None
    if last.status in _NOT_FOR_CLIENTS and not failure.is_final:
        return None
    # To a client, 401 means that its own key is wrong.
    return replace(last, status=403) if last.status == 401 else last


def final_error(model: str, failures: Sequence[FailedAttempt]) -> MeshlightError:
    """Return the error for a request whose every attempt failed."""
    last = failures[-1]
    if last.error is not None and all(failure.error is not None for failure in failures):
        return last.error
    reasons = _joined(f"{failure.backend.name}: {failure.reason.text}" for failure in failures)
    fix = next(
        (failure.reason.fix for failure in failures if failure.reason.fix),
        "`meshlight status` shows every route.",
    )
    title = f"No route to {model[:200]!r} answers: {reasons}"
    kind: type[RouteError] = EveryRouteDown
    if last.cause == "first-byte":
        title = f"No answer for {model[:200]!r} in time: {reasons}"
        kind = FirstByteTooLate
    elif last.reason.code in _BROKEN:
        title = f"No usable answer for {model[:200]!r}: {reasons}"
        kind = BackendFailed
    is_warming = any(failure.reason.code == "loading" for failure in failures)
    return kind(title, fix, _retry_after_s(failures), sends_of(failures), is_warming=is_warming)


def _retry_after_s(failures: Sequence[FailedAttempt]) -> float | None:
    """Return when the first of the routes may work again; None if waiting helps none."""
    return min((f.retry_after_s for f in failures if f.retry_after_s is not None), default=None)


def _state(node: Node) -> str:
    return f"{node.backend.name}: {node.health.reason.text}"


def _joined(texts: Iterable[str]) -> str:
    return "; ".join([text for text, _ in zip(texts, range(SHOWN), strict=False)])


BROKEN_OFF = "The connection to the model was lost."
_GUEST_TEXTS = {
    "loading": "it is being loaded",
    "rate-limited": "it gets too many requests at once",
    "quota": "its owner's quota is used up",
    "hung": "it stopped answering",
    "timed-out": "it does not answer in time",
    "first-byte-too-late": "it sent nothing in time",
    "connection-lost": "the connection to it was lost",
    "bad-reply": "it answers with something that is no answer",
    "no-memory": "it does not fit into the memory there now",
    "loading-queue-full": "too many requests wait for it already",
    "missing": "it is not there any more",
}
"""Code of a reason → what a guest may know of it; for all others "it can't be reached"."""
_CAUSES = (
    (
        "context_length_exceeded",
        "prompt is too long for the model's context",
        rb"context_length_exceeded|exceed_context_size|context (?:length|size|window)|prompt is too long",
    ),
    ("content_filter", "a content filter refused it", rb"content_filter|content_policy|flagged|moderation"),
    ("no_images", "the model accepts no images", rb"(?:image|vision|mmproj)[^.]{0,80}support|no vision"),
    (
        "no_tools",
        "the model accepts no tools",
        rb"(?:tools?|function)[^.]{0,80}support|support (?:tools|function)",
    ),
)
"""Code, text and pattern of what a refusal can be about, so that a guest can fix its request. Nothing else of it is
passed on, since servers quote paths, hosts and accounts in their errors."""
_PATTERNS = tuple((code, text, re.compile(pattern, re.IGNORECASE)) for code, text, pattern in _CAUSES)
_SEARCHED = 4_096
"""Bytes of a refusal that are searched for them."""
_BY_STATUS = {
    404: "it does not know the model or this kind of request",
    405: "it does not accept this kind of request",
    408: "it took too long",
    413: "the request is too large for it",
    415: "it does not accept this type of body",
    429: "it gets too many requests at once",
    501: "it does not accept this kind of request",
}
_OF_REQUEST = frozenset({400, 403, 413, 422})
_TIMES = frozenset({b"retry-after", b"retry-after-ms"})


def nothing_shared() -> ModelNotFound:
    """Return the error for a model that the guest may not use, whether it exists or not."""
    return ModelNotFound(
        "No model of that name is shared with you.", "GET /peer/catalog lists those that are."
    )


def no_guest_route(model: str, *, lacks_path: bool) -> MeshlightError:
    """Return the error for a model that is shared but can't be used."""
    if lacks_path:
        return NotFound(f"Nothing that serves {model[:200]!r} there accepts this kind of request.")
    return EveryRouteDown(f"The owner's rules let nothing use {model[:200]!r} there now.")


def final_guest_error(model: str, failures: Sequence[FailedAttempt]) -> MeshlightError:
    """Return the error for a guest's request whose every attempt failed."""
    last = failures[-1]
    if last.error is not None and all(failure.error is not None for failure in failures):
        return last.error
    kind: type[RouteError] = EveryRouteDown
    if last.cause == "first-byte":
        kind = FirstByteTooLate
    elif last.reason.code in _BROKEN:
        kind = BackendFailed
    why = _GUEST_TEXTS.get(last.reason.code, "it can't be reached")
    is_warming = any(failure.reason.code == "loading" for failure in failures)
    return kind(
        f"The other machine gets no answer from {model[:200]!r}: {why}.",
        "`meshlight status` there shows why.",
        _retry_after_s(failures),
        sends_of(failures),
        is_warming=is_warming,
    )


def for_guest(refusal: Reply, operation: Operation) -> Reply:
    """Return a backend's failing answer in our own words, in the shape of the operation's protocol.

    Its status and its `Retry-After` stay; nothing else that the backend wrote does.
    """
    status = refusal.status
    start = refusal.body[:_SEARCHED]
    code, why = f"status_{status}", _BY_STATUS.get(status, "it rejects the request")
    if status >= 500:
        code, why = f"status_{status}", _BY_STATUS.get(status, "something failed there")
    elif status in _OF_REQUEST:
        code, why = next(
            ((code, text) for code, text, pattern in _PATTERNS if pattern.search(start)), (code, why)
        )
    body = protocol_error(status, code, f"The model's server answered {status}: {why}.", operation)
    kept = [pair for pair in refusal.headers if pair[0] in _TIMES]
    headers = (*kept, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return replace(refusal, headers=headers, body=body)
