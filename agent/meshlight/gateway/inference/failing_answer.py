"""What a failing answer, or none, is called: for the client that asked, and for everybody."""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends import diagnostics as reasons
from meshlight.backends.base import Operation, path_of
from meshlight.backends.clouds.diagnostics import QUOTA_S, wait_s
from meshlight.backends.error_text import sanitize_line
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.health import Broke, Fact, Limited, Loading, Refused
from meshlight.gateway.errors import protocol_of
from meshlight.gateway.inference.timeouts import Cause
from meshlight.gateway.inference.upstream_errors import whole_refusal
from meshlight.gateway.translation.anthropic.response import error_body, error_type
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.http_client.client import Reply
from meshlight.mesh.backend_connections import BackendConnection

_OF_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})
_PROBLEM_MAX = 4_096
"""Bytes of an answer in which the title of a problem is looked for."""
_WORDLESS = frozenset({b"content-type", b"retry-after", b"retry-after-ms"})


def told(refusal: Reply, back: ResponseTranslator | None, secret: str | None, operation: Operation) -> Reply:
    """Return a failing answer in the caller's protocol, and without our key if it quotes that."""
    key = (secret or "").strip().encode()
    if key and key in refusal.body:
        refusal = whole_refusal(refusal, refusal.body.replace(key, b"***"))
    if refusal.status < 400:
        return refusal
    if back is not None:
        body = back.error(refusal.status, refusal.body)
    elif title := _problem_title(refusal):
        body = protocol_error(refusal.status, f"status_{refusal.status}", title, operation)
    else:
        return refusal
    kept = [pair for pair in refusal.headers if pair[0] not in _OF_BODY]
    headers = (*kept, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return replace(refusal, headers=headers, body=body)


class _Problem(Struct):
    title: str
    msg: str = ""
    error: Any = None


def _problem_title(refusal: Reply) -> str:
    """Return what a problem (RFC 9457) says, which a proxy before an engine sends; empty for any other body."""
    if b'"title"' not in refusal.body[:_PROBLEM_MAX]:
        return ""
    try:
        found = msgspec.json.decode(refusal.body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    text = f"{found.title}: {found.msg}" if found.msg else found.title
    return sanitize_line(text) if found.error is None else ""


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


def protocol_error(status: int, code: str, message: str, operation: Operation) -> bytes:
    """Return the body of an error in the shape that clients of an operation understand."""
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
