"""What a failed attempt means: which error it was, what it says of the backend, and whether to hold it against it.

A failing status speaks of the request first. A 401 or 403 is held against the backend only where the body names the
key or the account; where it is unclear, a probe is requested at once and decides.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends import diagnostics as reasons
from meshlight.backends.clouds.diagnostics import QUOTA_S, wait_s
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import (
    ConnectError,
    RouteUnavailable,
    TranslationFailed,
    Untranslatable,
    UpstreamError,
)
from meshlight.domain.health import Broke, Fact, Limited, Loading, Refused, Unreached
from meshlight.domain.operations import Operation, path_of
from meshlight.domain.text import sanitize_line
from meshlight.gateway.errors import protocol_of
from meshlight.gateway.inference.context_refusals import TooLong, too_long
from meshlight.gateway.inference.timeouts import Cause
from meshlight.gateway.inference.upstream_errors import RETRY_AFTER_S, refusal_reply
from meshlight.gateway.translation.anthropic.errors import error_body, error_type
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.http_client.client import Reply
from meshlight.http_client.error_text import is_html, message_of, quoted_error
from meshlight.mesh.backend_connections import BackendConnection

COMPLETE_GROUPS = frozenset({"cloud", "peer"})
"""Groups of backends that have every path of their kind: a 404 of theirs is about the model."""
_NOT_ITS_FAULT = frozenset({501, 505, 508})
"""Failing statuses that speak of the request, not of the backend: llama.cpp says `501` for "not with this model"."""
_NOT_COMPUTED = frozenset({501, 503, 505, 529})
"""Failing statuses by which a server rejects a request before it has done any work for it."""

RefusalSubject = Literal["key", "request", "model", "unclear"]
"""What a 401 or 403 refuses: the key, this one request, or the model. `unclear` leaves it to a probe."""

NO_ACCESS_S = 60.0
"""For how long other backends are tried first for a model that this account may not use."""

_CODES = re.compile(
    rb'"(?:invalid_api_key|API_KEY_INVALID|authentication_error|invalid_token|token_expired|expired_token'
    rb'|key_expired|account_deactivated|account_disabled|boundary)"'
)
"""Codes of an error that are certainly about the key or the account."""
_KEY = (
    r"(?:api[ _-]?key|access[ _-]?(?:key|token)|auth(?:entication|orization)?[ _-]?(?:key|token)|token"
    r"|credentials?)"
)
_BAD = (
    r"(?:invalid|incorrect|wrong|missing|expired|revoked|malformed|unknown|unrecognized|bad|no|not valid|disabled"
    r"|deactivated|suspended|blocked|required|refused|rejected)"
)
_OF_KEY = re.compile(
    rf"\b{_BAD}\W+(?:\w+\W+){{0,3}}?{_KEY}\b"
    rf"|\b(?:{_KEY}|account|organi[sz]ation|subscription)\W+(?:\w+\W+){{0,4}}?{_BAD}\b"
    r"|\bauthentication (?:failed|error|required)\b"
)
_OF_MODEL = re.compile(
    r"\b(?:access|permission|entitled|allowed|authorized|enabled)\b.{0,80}\bmodels?\b"
    r"|\bmodels?\b.{0,120}\b(?:access|permission|not allowed|not enabled|not available|not authorized)\b"
    r"|\b(?:key|caller|account|project|organi[sz]ation|user|team)\b.{0,40}\b(?:not have|no|lacks?)\b.{0,20}"
    r"\b(?:access|permission)"
)
_OF_PROMPT = re.compile(
    r"\b(?:flagged|moderation|polic(?:y|ies)|content[ _-]?filter|safety|guardrails?|prohibited content)"
    r"|\b(?:prompt|input|content|message)\b.{0,40}\b(?:blocked|rejected|refused|violat)"
)
_OF_PATH = re.compile(r"\b(?:route|path|endpoint|url)s?\b")
_BARE = re.compile(r"\b(?:forbidden|denied|unauthori[sz]ed)\b")
_BARE_MAX = 4
"""A text of at most so many words with one of those says no more than the status does."""


_RAW = 400
"""Bytes of an error without a message that are searched."""
_OF_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})
_PROBLEM_MAX = 4_096
"""Bytes of an answer in which the title of a problem is looked for."""
_UNQUOTED = frozenset({b"content-type", b"retry-after", b"retry-after-ms"})


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """Why a route gave no answer that commits the request, and what follows from it for its backend."""

    backend: Backend
    reason: Reason
    was_sent: bool = False
    sends: int = 1
    """How often it was sent there; a failed connection counts once too."""
    was_answered: bool = False
    """Whether a refusal came back: what rejects a request has served nothing that would have to be paid."""
    was_free: bool = False
    """Whether the answer shows that the request was rejected before any work was done for it."""
    is_final: bool = False
    """Whether other backends would be asked in vain: the refusal is about this request alone."""
    wants_probe: bool = False
    """Whether only a probe can tell if the key is refused."""
    fact: Fact | None = None
    """What to record of the backend; None when the failure says nothing about it. It quotes nothing of a request."""
    part: str = ""
    """What the fact is about: a place behind the backend, or a model; empty for the backend as a whole."""
    refusal: Reply | None = None
    """The failing answer, if it was read to its end."""
    place: str = ""
    """The place behind the backend that was tried; empty where the backend is the only one."""
    cause: Cause | None = None
    too_long: TooLong | None = None
    """What the backend said of the request's length, if that is what it refused."""
    error: Untranslatable | None = None
    """What in the request this backend's protocol cannot express."""
    retry_after_s: float | None = RETRY_AFTER_S
    """When the same request may succeed here; None if waiting is not known to help."""

    @property
    def is_broken(self) -> bool:
        """Whether the backend failed at its work: it answered 500 or more, broke off, or was silent for too long."""
        if self.refusal is None:
            return self.cause == "first-byte" or isinstance(self.fact, Broke)
        return self.refusal.status >= 500 and self.refusal.status not in _NOT_ITS_FAULT

    @property
    def may_be_the_requests_fault(self) -> bool:
        """Whether a backend answered 500, as engines also do when they can't process what the client sent.

        llama-server does it for an image sent to a model without vision. It is held against the backend only when
        another one then answers the same request.
        """
        if self.refusal is None or self.too_long is not None:
            return False
        return self.refusal.status == 500 or self.wants_probe


def is_of_backend(failure: FailedAttempt) -> bool:
    """Whether a failure says that the model can't be used there now, and nothing of the request."""
    if failure.error is not None or failure.too_long is not None or failure.may_be_the_requests_fault:
        return False
    return failure.fact is not None or failure.cause == "fell" or not failure.was_sent


def sends_of(failures: Sequence[FailedAttempt]) -> int:
    """Return how often a request was sent in failed attempts."""
    return sum(failure.sends for failure in failures) if failures else 0


class AttemptRoute(Struct, frozen=True):
    """The route that an attempt took, as far as judging its failure needs it."""

    link: BackendConnection
    model: str
    place: str
    """The place behind the backend; empty where the backend is the only one."""
    is_elsewhere: bool
    """Whether the model is served at another address than the backend's own."""
    operation: Operation
    """What was requested, in the client's protocol."""
    path: str
    """The path that was requested, for people."""
    is_at_chat: bool
    """Whether it went to a path that every server of models has."""


def failed_by_error(route: AttemptRoute, error: UpstreamError) -> FailedAttempt:
    """Return the failure of an attempt that got no answer."""
    link = route.link
    if isinstance(error, RouteUnavailable):
        # Whoever loads models for requests knows whether waiting helps; others don't.
        wait_s = RETRY_AFTER_S if link.on_demand is None else error.retry_after_s
        return FailedAttempt(backend=link.backend, reason=error.why, retry_after_s=wait_s)
    if isinstance(error, TranslationFailed):
        reason = Reason("bad-reply", f"{link.backend.name}: {error.title}", error.hint)
    elif route.is_elsewhere:  # not the backend's own address: its kind has no texts for it
        code = "unreachable" if isinstance(error, ConnectError) else "connection-lost"
        reason = Reason(code, error.title, error.hint)
    else:
        reason = link.kind.explain(error, link.backend)
    unreached = isinstance(error, ConnectError)
    fact = Unreached(reason) if unreached else Broke(reason)
    return FailedAttempt(
        backend=link.backend,
        reason=reason,
        was_sent=not unreached,
        fact=None if route.is_elsewhere and not route.place else fact,
        part=route.place,
    )


def failed_by_refusal(
    route: AttemptRoute, refusal: Reply, is_complete: bool, translator: ResponseTranslator | None
) -> FailedAttempt:
    """Return the failure of an attempt that got a failing answer.

    The answer is about the backend or a part of it, or (404 and the like) about this request.
    """
    link, status = route.link, refusal.status
    if (length := too_long(refusal)) is not None:
        return _failed_by_length(route, refusal, length, is_complete, translator)
    fact: Fact | None = None
    part, is_final, wants_probe = route.place, False, False
    of_account = account_reason(link, refusal)
    if status < 300:
        reason = reasons.no_list_reason(refusal, link.backend, link.kind.label, link.secret)
        fact = Broke(reason)
    elif status in {401, 403} and of_account is None:
        reason, fact, refused = _forbidden(route, refusal)
        is_final, wants_probe = refused in {"request", "model"}, refused == "unclear"
        part = part or ("" if refused == "key" else route.model)
    elif (
        of_account is not None
        or status < 400
        or status == 429
        or (status >= 500 and status not in _NOT_ITS_FAULT)
    ):
        reason = of_account or status_reason(link, refusal)
        is_quotable = of_account is not None or reason.code == "loading"
        fact = _fact_of(refusal, reason if is_quotable else status_reason(link, _without_quotes(refusal)))
        part = part or (route.model if link.kind.group == "peer" else "")
    else:
        reason = Reason(f"status-{status}", f"It answered {status}.{quoted_error(refusal, link.secret)}")
    return FailedAttempt(
        backend=link.backend,
        reason=reason,
        was_sent=True,
        was_answered=True,
        was_free=300 <= status < 500 or status in _NOT_COMPUTED,
        is_final=is_final,
        wants_probe=wants_probe,
        # What a service behind another address answers says nothing about the backend itself.
        fact=None if route.is_elsewhere and not part else fact,
        part=part,
        refusal=_for_client(refusal, translator, link.secret, route.operation) if is_complete else None,
    )


def _failed_by_length(
    route: AttemptRoute,
    refusal: Reply,
    length: TooLong,
    is_complete: bool,
    translator: ResponseTranslator | None,
) -> FailedAttempt:
    """Return the failure of an attempt whose request does not fit there: that is held against nobody."""
    text = "The request is longer than its context."
    if length.limit:
        tokens = f"{length.tokens:,}" if length.tokens else "more"
        text = f"It holds {length.limit:,} tokens, the prompt has {tokens}."
    if secret := (route.link.secret or "").strip():
        length = replace(length, text=length.text.replace(secret, "***"))
    return FailedAttempt(
        backend=route.link.backend,
        reason=Reason("too-long", text, "Use a model with a longer context, or shorten the request."),
        was_sent=True,
        was_answered=True,
        was_free=True,
        too_long=length,
        refusal=_for_client(refusal, translator, route.link.secret, route.operation) if is_complete else None,
    )


def failed_by_wait(route: AttemptRoute, cause: Cause, *, was_sent: bool) -> FailedAttempt:
    """Return the failure of an attempt whose wait for the first byte was ended."""
    backend, place = route.link.backend, route.place
    name = f"{backend.name}/{place}" if place else backend.name
    reason = Reason(
        "first-byte-too-late",
        f"{name} sent nothing within {backend.first_byte_s:g} s.",
        "Raise first_byte_s for this backend if it loads large models.",
    )
    if cause == "fell":
        reason = Reason("hung", f"{name} stopped answering while the request waited for its first byte.")
    return FailedAttempt(backend=backend, reason=reason, was_sent=was_sent, cause=cause)


def account_reason(link: BackendConnection, refusal: Reply) -> Reason | None:
    """Return what a failing answer says of key, money or limits; None where it is about something else."""
    return reasons.account_reason(refusal, link.backend, link.kind.label, link.secret)


def status_reason(link: BackendConnection, refusal: Reply) -> Reason:
    """Return what the status of a failing answer says of the backend."""
    return reasons.status_reason(refusal, link.backend, link.kind.label, link.secret)


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


def subject(reply: Reply) -> RefusalSubject:
    """Return what an answer with 401 or 403 refuses."""
    message = _message(reply)
    text = message or _raw_text(reply)
    if _OF_PROMPT.search(text):
        return "request"
    if _OF_MODEL.search(text):
        return "model"
    if _CODES.search(reply.body[:4096]) or _OF_KEY.search(text):
        return "key"
    if _BARE.search(text) and len(text.split()) <= _BARE_MAX:
        return "unclear"
    # A 403 with an explanation has accepted the caller; one without may come from any proxy.
    return "request" if reply.status == 403 and message else "unclear"


def may_mean_path(reply: Reply) -> bool:
    """Whether the path may be missing: servers that check keys before paths answer 401 for paths they lack."""
    if reply.status == 401:
        return subject(reply) in {"key", "unclear"}
    return reply.status == 403 and _OF_PATH.search(_message(reply)) is not None


def _forbidden(route: AttemptRoute, refusal: Reply) -> tuple[Reason, Fact | None, RefusalSubject]:
    """Judge a 401 or 403: why it was, what it says of the backend or its part, and what it refuses."""
    link, refused = route.link, subject(refusal)
    if route.place and link.places is not None and refused in {"key", "unclear"}:
        why = link.places.refusal_reason(route.place, refusal)
        return why, Refused(why), "key"
    reason = status_reason(link, refusal)
    unquoted = status_reason(link, _without_quotes(refusal))
    if refused == "model":
        return reason, Limited(_no_access(route.model, reasons.where(link.backend)), NO_ACCESS_S), refused
    if refused == "request":
        return reason, None, refused
    if (
        refusal.status == 401
        and link.kind.group not in COMPLETE_GROUPS
        and (link.is_proven or not route.is_at_chat)
    ):
        # The same key has worked elsewhere, or the path may not exist at all: a probe can tell.
        reason = _path_refused(route.path, reasons.where(link.backend), is_proven=link.is_proven)
        return reason, Broke(reason), "unclear"
    return reason, Refused(unquoted) if refused == "key" else Broke(unquoted), refused


def _no_access(model: str, where: str) -> Reason:
    """Return the reason why a route is left alone for a while; it quotes nothing of a request."""
    return Reason(
        "no-access",
        f"The account at {where} may not use {sanitize_line(model)}.",
        "Have the model allowed for this account or project, or choose another one.",
    )


def _path_refused(path: str, where: str, *, is_proven: bool) -> Reason:
    """Return the reason for a 401 that may mean the path; `is_proven` where the same key has worked elsewhere."""
    text = f"{where} refuses {path} (401), though it accepts the key elsewhere: it may lack that path."
    if not is_proven:
        text = f"{where} refuses {path} (401): it may lack that path, or not accept the API key."
    return Reason("path-refused", text, "Use another backend for such requests, or check the key.")


def _fact_of(refusal: Reply, reason: Reason) -> Fact:
    """Return what follows from a failing answer for the backend."""
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


def _for_client(
    refusal: Reply, translator: ResponseTranslator | None, secret: str | None, operation: Operation
) -> Reply:
    """Return a failing answer in the caller's protocol, and without our key if it quotes that."""
    key = (secret or "").strip().encode()
    if key and key in refusal.body:
        refusal = refusal_reply(refusal, refusal.body.replace(key, b"***"))
    if refusal.status < 400:
        return refusal
    if translator is not None:
        body = translator.error(refusal.status, refusal.body)
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


def _without_quotes(refusal: Reply) -> Reply:
    """Return a failing answer without the parts that may quote the request."""
    headers = tuple(pair for pair in refusal.headers if pair[0] in _UNQUOTED)
    return replace(refusal, headers=headers, body=b"")


def _message(reply: Reply) -> str:
    """Return an error's message, in lower case."""
    return "" if is_html(reply) else sanitize_line(message_of(reply)).lower()


def _raw_text(reply: Reply) -> str:
    """Return the beginning of an error whose message is in no known field."""
    return "" if is_html(reply) else sanitize_line(reply.body[:_RAW].decode("utf-8", "replace"), _RAW).lower()
