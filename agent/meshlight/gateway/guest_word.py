"""What a peer is told when no route gave an answer: why, but nothing of this node's backends.

Reasons as the people here see them name backends and quote addresses; a guest gets to see neither.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

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
from meshlight.gateway.attempt import Miss
from meshlight.gateway.refusal import RETRY_AFTER_S

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
QUOTED_MAX = 1 << 16
"""Bytes of a failing answer that are passed on to a guest."""
# Every part has a bound: without one, each letter of a long word would be tried as the start of a URL.
_PLACES = re.compile(
    rb"""[a-z][a-z0-9+.-]{0,15}+://[^\s"'<>\\]++"""  # a URL
    rb"""|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]\d)"""  # an IPv4 address, perhaps with its port
    rb"""|\[(?=[0-9a-f.%]{0,8}:)[0-9a-f:.%]{1,80}\](?::\d{1,5})?"""  # an IPv6 address as URLs have it
    rb"""|\blocalhost(?::\d{1,5})?""",
    re.IGNORECASE,
)
_SAID = frozenset({b"content-type", b"retry-after", b"retry-after-ms"})


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


def for_guest(refusal: Reply) -> Reply:
    """Return a backend's failing answer without the addresses that it quotes, and with none of its headers.

    One of more than QUOTED_MAX bytes is none for people: a sentence stands for it.
    """
    body = refusal.body
    kept = [pair for pair in refusal.headers if pair[0] in _SAID]
    if len(body) > QUOTED_MAX:
        words = "The model's server answered with a long error; its owner can see it there."
        body = msgspec.json.encode(
            {"error": {"message": words, "type": "api_error", "code": "backend_broke"}}
        )
        kept = [
            *(pair for pair in kept if pair[0] != b"content-type"),
            (b"content-type", b"application/json"),
        ]
    body = _PLACES.sub(b"(an address)", body)
    return replace(refusal, headers=(*kept, (b"content-length", b"%d" % len(body))), body=body)
