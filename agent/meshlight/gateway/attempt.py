"""One attempt at one route, up to the first body byte: that byte commits the answer, a failed status does not."""

import asyncio

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends import reasons
from meshlight.backends.quote import said
from meshlight.backends.retry_after import retry_after_s
from meshlight.backends.upstream import Reply, Response
from meshlight.domain.backend import Backend
from meshlight.domain.errors import ConnectFailed, UpstreamError
from meshlight.domain.health import Broke, Fact, Limited, Loading, Refused, Unreached
from meshlight.domain.reason import Reason
from meshlight.gateway.headers import to_backend
from meshlight.gateway.inbound import Inbound
from meshlight.gateway.interrupt import Cause, Interrupt
from meshlight.gateway.patience import Patience
from meshlight.gateway.refusal import is_refusal, read_refusal
from meshlight.mesh.links import Link

_NOT_ITS_FAULT = frozenset({501, 505, 508})
"""Failing statuses that speak of what was asked, not of the backend: `501` is llama.cpp's word for "not with this
model"."""
_WORDLESS = frozenset({b"content-type", b"retry-after", b"retry-after-ms"})


class Miss(Struct, frozen=True, kw_only=True):
    """An attempt that gave the client nothing, and what it says of the backend."""

    backend: Backend
    reason: Reason
    """For the client that asked: it may quote what the backend said of this very request."""
    was_sent: bool = False
    """Whether the request had gone out, so that it may have cost or done something."""
    was_answered: bool = False
    """Whether the backend refused it in so many words, so that it has not cost anything."""
    fact: Fact | None = None
    """For everybody: it quotes nothing of a request."""
    refusal: Reply | None = None
    """The failing answer, whole."""
    cause: Cause | None = None


class Opened(Struct, frozen=True):
    """An answer whose first body byte has come (or that is whole and empty)."""

    response: Response
    first: bytes


async def open_route(
    inbound: Inbound, model: str, link: Link, node_id: str, interrupt: Interrupt, patience: Patience
) -> Opened | Miss:
    """Send the request on one route and wait for the first body byte.

    A wait ended by the interrupt for the backend's sake (it fell, the first byte came too late) is a Miss; any
    other cancellation goes on to the caller.
    """
    backend = link.backend
    response: Response | None = None
    try:
        headers = to_backend(inbound.headers, link.auth)
        if not backend.is_metered:
            visited = ",".join((*inbound.visited, node_id))
            headers.append((b"x-meshlight-via", visited.encode("latin-1", "replace")))
        response = await link.upstream.send(
            "POST",
            link.address.target(inbound.target),
            headers,
            inbound.body_for(model),
            fresh=inbound.is_dear,
            resend=not backend.is_metered,
        )
        if is_refusal(response):
            return _refused(link, *await read_refusal(response))
        return Opened(response, await response.read())
    except UpstreamError as error:
        return _failed(link, error)
    except asyncio.CancelledError:
        if response is not None:
            response.abort()
        if interrupt.cause in {"fell", "first-byte"} and (cause := interrupt.settle()) is not None:
            interrupt.again()
            return _interrupted(backend, cause)
        raise
    finally:
        patience.end()


def _failed(link: Link, error: UpstreamError) -> Miss:
    reason = reasons.reason(error, link.backend, link.kind.label, link.kind.start)
    unreached = isinstance(error, ConnectFailed)
    return Miss(
        backend=link.backend,
        reason=reason,
        was_sent=not unreached,
        fact=Unreached(reason) if unreached else Broke(reason),
    )


def _refused(link: Link, refusal: Reply, is_whole: bool) -> Miss:
    """Say what a failing answer means: of the backend as a whole, or (404 and the like) of this request only."""
    status = refusal.status
    fact: Fact | None = None
    if status < 300:
        reason = reasons.no_list_reason(refusal, link.backend, link.kind.label, link.secret)
        fact = Broke(reason)
    elif status < 400 or status in {401, 403, 429} or (status >= 500 and status not in _NOT_ITS_FAULT):
        reason = _reason(link, refusal)
        quiet = reason if reason.code == "loading" else _reason(link, _without_words(refusal))
        fact = _fact(refusal, quiet)
    else:
        reason = Reason(f"status-{status}", f"It answered {status}.{said(refusal, link.secret)}")
    return Miss(
        backend=link.backend,
        reason=reason,
        was_sent=True,
        was_answered=True,
        fact=fact,
        refusal=refusal if is_whole else None,
    )


def _without_words(refusal: Reply) -> Reply:
    """Return a failing answer without what may quote the request that it failed."""
    headers = tuple(pair for pair in refusal.headers if pair[0] in _WORDLESS)
    return replace(refusal, headers=headers, body=b"")


def _reason(link: Link, refusal: Reply) -> Reason:
    return reasons.status_reason(refusal, link.backend, link.kind.label, link.secret)


def _fact(refusal: Reply, reason: Reason) -> Fact:
    match reason.code:
        case "unauthorized" | "forbidden":
            return Refused(reason)
        case "rate-limited":
            return Limited(reason, retry_after_s(refusal.headers))
        case "loading":
            return Loading(reason)
    return Broke(reason)


def _interrupted(backend: Backend, cause: Cause) -> Miss:
    if cause == "fell":
        reason = Reason(
            "hung", f"{backend.name} stopped answering while the request waited for its first byte."
        )
    else:
        reason = Reason(
            "first-byte-too-late",
            f"{backend.name} sent nothing within {backend.first_byte_s:g} s.",
            "Raise first_byte_s for this backend if it loads large models.",
        )
    return Miss(backend=backend, reason=reason, was_sent=True, cause=cause)
