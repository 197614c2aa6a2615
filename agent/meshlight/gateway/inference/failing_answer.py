"""What a failing answer, or none, is called: for the client that asked, and for everybody."""

from msgspec.structs import replace

from meshlight.backends import diagnostics as reasons
from meshlight.backends.clouds.diagnostics import QUOTA_S, wait_s
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.health import Broke, Fact, Limited, Loading, Refused
from meshlight.gateway.inference.timeouts import Cause
from meshlight.gateway.inference.upstream_errors import whole_refusal
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.http_client.client import Reply
from meshlight.mesh.backend_connections import BackendConnection

_OF_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})
_WORDLESS = frozenset({b"content-type", b"retry-after", b"retry-after-ms"})


def told(refusal: Reply, back: ResponseTranslator | None, secret: str | None) -> Reply:
    """Return a failing answer in the caller's protocol, and without our key if it quotes that."""
    key = (secret or "").strip().encode()
    if key and key in refusal.body:
        refusal = whole_refusal(refusal, refusal.body.replace(key, b"***"))
    if back is None or refusal.status < 400:
        return refusal
    body = back.error(refusal.status, refusal.body)
    kept = [pair for pair in refusal.headers if pair[0] not in _OF_BODY]
    headers = (*kept, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return replace(refusal, headers=headers, body=body)


def without_words(refusal: Reply) -> Reply:
    """Return a failing answer without what may quote the request that it failed."""
    headers = tuple(pair for pair in refusal.headers if pair[0] in _WORDLESS)
    return replace(refusal, headers=headers, body=b"")


def account_reason(link: BackendConnection, refusal: Reply) -> Reason | None:
    """Return what it says of key, money or bounds; None where it speaks of something else."""
    return reasons.account_reason(refusal, link.backend, link.kind.label, link.secret)


def status_reason(link: BackendConnection, refusal: Reply) -> Reason:
    """Return what its status says of the backend."""
    return reasons.status_reason(refusal, link.backend, link.kind.label, link.secret)


def fact_of(refusal: Reply, reason: Reason) -> Fact:
    """Return what follows from it for the backend."""
    match reason.code:
        case "unauthorized" | "forbidden" | "region":
            return Refused(reason)
        case "rate-limited":
            return Limited(reason, wait_s(refusal))
        case "quota":
            return Limited(reason, QUOTA_S)
        case "loading":
            return Loading(reason)
    return Broke(reason)


def interrupted_reason(backend: Backend, cause: Cause, place: str) -> Reason:
    """Return why a wait for the first byte ended."""
    who = f"{backend.name}/{place}" if place else backend.name
    if cause == "fell":
        return Reason("hung", f"{who} stopped answering while the request waited for its first byte.")
    return Reason(
        "first-byte-too-late",
        f"{who} sent nothing within {backend.first_byte_s:g} s.",
        "Raise first_byte_s for this backend if it loads large models.",
    )
