"""One attempt at one route, up to the first body byte: that byte commits the answer, a failed status does not."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

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
from meshlight.gateway.refusal import GOES_ELSEWHERE, read_refusal
from meshlight.mesh.links import Link

SUSPECT_S = 1.0
"""A request that has waited this long for a byte has its backend probed at once."""


class Miss(Struct, frozen=True, kw_only=True):
    """An attempt that gave the client nothing, and what it says of the backend."""

    backend: Backend
    reason: Reason
    was_sent: bool
    """Whether the request had gone out, so that it may have cost or done something."""
    fact: Fact | None = None
    refusal: Reply | None = None
    cause: Cause | None = None


class Opened(Struct, frozen=True):
    """An answer whose first body byte has come (or that is whole and empty)."""

    response: Response
    first: bytes


async def open_route(
    inbound: Inbound,
    model: str,
    link: Link,
    node_id: str,
    interrupt: Interrupt,
    suspect: Callable[[], None],
) -> Opened | Miss:
    """Send the request on one route and wait for the first body byte.

    `suspect` is called when it takes longer than a second. A wait ended by the interrupt for the backend's sake
    (it fell, the first byte came too late) is a Miss; any other cancellation goes on to the caller.
    """
    backend = link.backend
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def doubt() -> None:
        nonlocal timer
        suspect()
        timer = loop.call_later(backend.first_byte_s - patience_s, interrupt.fire, "first-byte")

    patience_s = min(SUSPECT_S, backend.first_byte_s)
    timer = loop.call_later(patience_s, doubt)
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
        )
        if response.status in GOES_ELSEWHERE:
            return _refused(link, await read_refusal(response))
        return Opened(response, await response.read())
    except UpstreamError as error:
        return _failed(link, error)
    except asyncio.CancelledError:
        if response is not None:
            response.abort()
        if interrupt.cause in {"fell", "first-byte"} and (cause := interrupt.settle()) is not None:
            interrupt.again()
            return _interrupted(link, cause)
        raise
    finally:
        timer.cancel()


def _failed(link: Link, error: UpstreamError) -> Miss:
    reason = reasons.reason(error, link.backend, link.kind.label, link.kind.start)
    unreached = isinstance(error, ConnectFailed)
    return Miss(
        backend=link.backend,
        reason=reason,
        was_sent=not unreached,
        fact=Unreached(reason) if unreached else Broke(reason),
    )


def _refused(link: Link, refusal: Reply) -> Miss:
    """Say what a failing status means: of the backend as a whole, or (404 and the like) of this request only."""
    backend, status = link.backend, refusal.status
    fact: Fact | None = None
    if status in {401, 403, 429} or status >= 500:
        reason = reasons.status_reason(refusal, backend, link.kind.label, link.secret)
        fact = _status_fact(refusal, reason)
    else:
        reason = Reason(f"status-{status}", f"It answered {status}.{said(refusal, link.secret)}")
    return Miss(backend=backend, reason=reason, was_sent=True, fact=fact, refusal=refusal)


def _status_fact(refusal: Reply, reason: Reason) -> Fact:
    match reason.code:
        case "unauthorized" | "forbidden":
            return Refused(reason)
        case "rate-limited":
            return Limited(reason, retry_after_s(refusal.headers))
        case "loading":
            return Loading(reason)
    return Broke(reason)


def _interrupted(link: Link, cause: Cause) -> Miss:
    backend = link.backend
    if cause == "fell":
        reason = Reason(
            "hung", f"{backend.name} stopped answering while the request waited for its first byte."
        )
    else:
        reason = Reason(
            "first-byte-too-late",
            f"{backend.name} sent nothing within {backend.first_byte_s:.0f} s.",
            "Raise first_byte_s for this backend if it loads large models.",
        )
    return Miss(backend=backend, reason=reason, was_sent=True, cause=cause)
