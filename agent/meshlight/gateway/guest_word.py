"""What a peer is told when no route gave an answer: why, but nothing of this node's backends.

Reasons as the people here see them name backends and quote addresses; a guest gets to see neither.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from meshlight.backends.kind import Face, path_of
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
from meshlight.gateway.answer import protocol_of
from meshlight.gateway.attempt import Miss
from meshlight.gateway.refusal import RETRY_AFTER_S
from meshlight.gateway.translation.messages_error import error_body, error_type

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
_BROKEN = frozenset({"bad-reply", "connection-lost", "not-an-api", "redirected"})
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
_SAID = frozenset({b"retry-after", b"retry-after-ms"})


def nothing_shared() -> NoSuchModel:
    """Return the error for a model that the guest may not have, whether it is here or not."""
    return NoSuchModel("No model of that name is shared with you.", "GET /peer/catalog lists those that are.")


def no_guest_route(model: str, *, lacks_face: bool) -> MeshlightError:
    """Return the error for a model that is shared and yet can't be used."""
    if lacks_face:
        return NotFound(f"Nothing that serves {model[:200]!r} there takes this kind of request.")
    return EveryRouteDown(f"The owner's rules let nothing use {model[:200]!r} there now.")


def final_guest_error(model: str, misses: Sequence[Miss]) -> MeshlightError:
    """Return the error for a guest's request whose every attempt failed."""
    last = misses[-1]
    if last.error is not None and all(miss.error is not None for miss in misses):
        return last.error
    kind: type[RouteError] = EveryRouteDown
    if last.cause == "first-byte":
        kind = FirstByteTooLate
    elif last.reason.code in _BROKEN:
        kind = BackendBroke
    why = _WORDS.get(last.reason.code, "it can't be reached")
    is_warming = any(miss.reason.code == "loading" for miss in misses)
    return kind(
        f"The other machine gets no answer from {model[:200]!r}: {why}.",
        "`meshlight status` there shows why.",
        RETRY_AFTER_S,
        len(misses),
        is_warming=is_warming,
    )


def for_guest(refusal: Reply, face: Face) -> Reply:
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
    body = _body(status, code, f"The model's server answered {status}: {why}.", face)
    kept = [pair for pair in refusal.headers if pair[0] in _SAID]
    headers = (*kept, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return replace(refusal, headers=headers, body=body)


def _body(status: int, code: str, message: str, face: Face) -> bytes:
    made: object
    match protocol_of(path_of(face).replace("MODEL", "m")):
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
