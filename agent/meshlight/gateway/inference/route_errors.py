"""What the client is told when no route gave an answer: which routes there were, and what is wrong with each.

What a peer is told when no route gave an answer: why, but nothing of this node's backends.

Reasons as the people here see them name backends and quote addresses; a guest gets to see neither.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from meshlight.domain.errors import (
    BackendFailed,
    EveryRouteDown,
    FirstByteTooLate,
    MeshlightError,
    ModelNotFound,
    NotFound,
    RouteError,
)
from meshlight.domain.model_names import other_tag
from meshlight.domain.operations import GEMINI_OPERATIONS, Operation, path_of
from meshlight.domain.routing import Ranking
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.domain.text import similar_names
from meshlight.gateway.errors import protocol_of
from meshlight.gateway.inference.attempt import FailedAttempt
from meshlight.gateway.inference.upstream_errors import RETRY_AFTER_S
from meshlight.gateway.translation.anthropic.response import error_body, error_type
from meshlight.http_client.client import Reply

SHOWN = 8
"""Routes named in one message."""
AT_CHAT = "Ask for it at /v1/chat/completions; GET /v1beta/models lists those that Gemini's API reaches."
"""What to do with a model that is not Gemini's."""
_ELSEWHERE = "Use a model of an engine that has it; GET /v1/models lists them all."
_NOT_FOR_CLIENTS = frozenset({401, 403})
"""Refusals that are about our own key, not the client's."""
_BROKEN = frozenset({"bad-reply", "connection-lost", "not-an-api", "redirected"})


def no_route(snapshot: Snapshot, ranking: Ranking, *, lacks: Operation | None = None) -> MeshlightError:
    """Return the error for a model that nobody serves, or none of whose routes may be used.

    `lacks` is the face that was asked for, where there are routes, but to backends without it.
    """
    if not ranking.scores:
        return no_such_model(snapshot, ranking.asked)
    nodes = snapshot.nodes
    said = _joined(f"{nodes[v.backend].backend.name}: {v.why}" for v in ranking.scores)
    title = f"No route to {ranking.model[:200]!r} may be used: {said}"
    if lacks is not None:
        return NotFound(title, AT_CHAT if lacks in GEMINI_OPERATIONS else _ELSEWHERE)
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
    close = similar_names(name, (*snapshot.routes, *snapshot.routing.aliases))
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
    return ModelNotFound(title, hint)


def final_refusal(misses: Sequence[FailedAttempt]) -> Reply | None:
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


def final_error(model: str, misses: Sequence[FailedAttempt]) -> MeshlightError:
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
        kind = BackendFailed
    is_warming = any(miss.reason.code == "loading" for miss in misses)
    return kind(title, fix, RETRY_AFTER_S, len(misses), is_warming=is_warming)


def _state(node: Node) -> str:
    return f"{node.backend.name}: {node.health.reason.text}"


def _joined(said: Iterable[str]) -> str:
    return "; ".join([text for text, _ in zip(said, range(SHOWN), strict=False)])


BROKEN_OFF = "The way to the model broke off."
_WORDS = {
    "loading": "it is being loaded",
    "rate-limited": "too much is asked of it at once",
    "quota": "its owner's quota is used up",
    "hung": "it stopped answering",
    "timed-out": "it does not answer in time",
    "first-byte-too-late": "it sent nothing in time",
    "connection-lost": "the connection to it was lost",
    "bad-reply": "it answers with something that is no answer",
}
"""Code of a reason → what may be said of it; all others are "it can't be reached"."""
_CAUSES = (
    (
        "context_length_exceeded",
        "prompt is too long for the model's context",
        rb"context_length_exceeded|exceed_context_size|context (?:length|size|window)|prompt is too long",
    ),
    ("content_filter", "a content filter refused it", rb"content_filter|content_policy|flagged|moderation"),
    ("no_images", "the model takes no pictures", rb"(?:image|vision|mmproj)[^.]{0,80}support|no vision"),
    (
        "no_tools",
        "the model takes no tools",
        rb"(?:tools?|function)[^.]{0,80}support|support (?:tools|function)",
    ),
)
"""What a refusal is about, by words in it: a client can mend its request by that. The rest stays here, since servers
quote paths, hosts and accounts in their errors."""
_FOUND = tuple((code, words, re.compile(marks, re.IGNORECASE)) for code, words, marks in _CAUSES)
_LOOKED_AT = 4_096
"""Bytes of a refusal in which those words are looked for."""
_BY_STATUS = {
    404: "it does not know the model or this kind of request",
    405: "it does not take this kind of request",
    408: "it took too long",
    413: "the request is too large for it",
    415: "it does not take this type of body",
    429: "too much is asked of it at once",
    501: "it does not take this kind of request",
}
_OF_REQUEST = frozenset({400, 403, 413, 422})
_TEXTS = frozenset({b"retry-after", b"retry-after-ms"})


def nothing_shared() -> ModelNotFound:
    """Return the error for a model that the guest may not have, whether it is here or not."""
    return ModelNotFound(
        "No model of that name is shared with you.", "GET /peer/catalog lists those that are."
    )


def no_guest_route(model: str, *, lacks_face: bool) -> MeshlightError:
    """Return the error for a model that is shared and yet can't be used."""
    if lacks_face:
        return NotFound(f"Nothing that serves {model[:200]!r} there takes this kind of request.")
    return EveryRouteDown(f"The owner's rules let nothing use {model[:200]!r} there now.")


def final_guest_error(model: str, misses: Sequence[FailedAttempt]) -> MeshlightError:
    """Return the error for a guest's request whose every attempt failed."""
    last = misses[-1]
    if last.error is not None and all(miss.error is not None for miss in misses):
        return last.error
    kind: type[RouteError] = EveryRouteDown
    if last.cause == "first-byte":
        kind = FirstByteTooLate
    elif last.reason.code in _BROKEN:
        kind = BackendFailed
    why = _WORDS.get(last.reason.code, "it can't be reached")
    is_warming = any(miss.reason.code == "loading" for miss in misses)
    return kind(
        f"The other machine gets no answer from {model[:200]!r}: {why}.",
        "`meshlight status` there shows why.",
        RETRY_AFTER_S,
        len(misses),
        is_warming=is_warming,
    )


def for_guest(refusal: Reply, operation: Operation) -> Reply:
    """Return a backend's failing answer in our own words, in the shape that the clients of `face` understand.

    Its status stays, and when to ask again; nothing that the backend wrote does.
    """
    status = refusal.status
    start = refusal.body[:_LOOKED_AT]
    code, why = f"status_{status}", _BY_STATUS.get(status, "it takes it for wrong")
    if status >= 500:
        code, why = f"status_{status}", _BY_STATUS.get(status, "something failed there")
    elif status in _OF_REQUEST:
        code, why = next(((code, words) for code, words, marks in _FOUND if marks.search(start)), (code, why))
    body = _body(status, code, f"The model's server answered {status}: {why}.", operation)
    kept = [pair for pair in refusal.headers if pair[0] in _TEXTS]
    headers = (*kept, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return replace(refusal, headers=headers, body=body)


def _body(status: int, code: str, message: str, operation: Operation) -> bytes:
    made: object
    match protocol_of(path_of(operation).replace("MODEL", "m")):
        case "anthropic":
            return error_body(error_type(status), message)
        case "ollama":
            made = {"error": message}
        case "gemini":
            word = "INTERNAL" if status >= 500 else "INVALID_ARGUMENT"
            made = {"error": {"code": status, "message": message, "status": word}}
        case _:
            kind = "api_error" if status >= 500 else "invalid_request_error"
            made = {"error": {"message": message, "type": kind, "code": code, "param": None}}
    return msgspec.json.encode(made)
