"""One attempt at one route, up to the first body byte: that byte commits the answer, a failed status does not."""

import asyncio

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends import reasons
from meshlight.backends.aside import aside
from meshlight.backends.cloud_reasons import QUOTA_S, wait_s
from meshlight.backends.kind import Way
from meshlight.backends.quote import said
from meshlight.backends.upstream import Reply, Response
from meshlight.domain.backend import Backend
from meshlight.domain.errors import ConnectFailed, Untranslatable, Untranslated, UpstreamError, WayClosed
from meshlight.domain.health import Broke, Fact, Limited, Loading, Refused, Unreached
from meshlight.domain.reason import Reason
from meshlight.gateway.inbound import Inbound
from meshlight.gateway.interrupt import Cause, Interrupt
from meshlight.gateway.parcel import pack
from meshlight.gateway.patience import Patience
from meshlight.gateway.refusal import is_refusal, read_refusal, says_no_such_path, whole_refusal
from meshlight.gateway.translated_response import ImmediateResponse, TranslatedResponse
from meshlight.gateway.translation.back import Back
from meshlight.gateway.translation.ollama_immediate import Immediate
from meshlight.gateway.translation.table import is_translatable
from meshlight.mesh.links import Link

_NOT_ITS_FAULT = frozenset({501, 505, 508})
"""Failing statuses that speak of what was asked, not of the backend: `501` is llama.cpp's word for "not with this
model"."""
_NO_SUCH_PATH = frozenset({404, 405, 501})
_COMPLETE = frozenset({"cloud", "peer"})
"""Groups whose 404 speaks of the model, for none of them is too old to have the paths of its kind."""
_OF_ACCOUNT = frozenset({400, 402})
"""Statuses that speak of the request, and at some clouds of a wrong key or of money."""
_OF_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})
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
    error: Untranslatable | None = None
    """What of the request this backend's protocol has no word for."""


class Opened(Struct, frozen=True):
    """An answer whose first body byte has come (or that is whole and empty)."""

    response: Response | TranslatedResponse | ImmediateResponse
    first: bytes
    back: Back | None = None
    """What has translated it, where it was."""


async def open_route(
    inbound: Inbound, model: str, link: Link, node_id: str, interrupt: Interrupt, patience: Patience
) -> Opened | Miss:
    """Send the request on one route and wait for the first body byte.

    A wait ended by the interrupt for the backend's sake (it fell, the first byte came too late) is a Miss; any
    other cancellation goes on to the caller. Raises BadRequest when the body can't be read.
    """
    backend = link.backend
    trip = _Trip(inbound, model, link, node_id)
    opened: Opened | Miss | None = None
    try:
        opened = await trip.run()
    except Untranslatable as error:
        return Miss(backend=backend, reason=Reason("untranslatable", error.title, error.hint), error=error)
    except UpstreamError as error:
        return _failed(link, error) if trip.way is None else _closed(backend, error)
    except asyncio.CancelledError:
        if interrupt.cause in {"fell", "first-byte"} and (cause := interrupt.settle()) is not None:
            interrupt.again()
            return _interrupted(backend, cause, was_sent=trip.is_sent)
        raise
    finally:
        patience.end()
        if trip.response is not None and not isinstance(opened, Opened):
            trip.response.abort()
    return opened


class _Trip:
    """One request on its way to one backend, and what came back."""

    __slots__ = (
        "_inbound",
        "_is_renewed",
        "_is_translated",
        "_link",
        "_model",
        "_node_id",
        "is_sent",
        "response",
        "way",
    )

    def __init__(self, inbound: Inbound, model: str, link: Link, node_id: str) -> None:
        self._inbound = inbound
        self._model = model
        self._link = link
        self._node_id = node_id
        self._is_translated = not link.speaks(inbound.face, model)
        self._is_renewed = False
        self.is_sent = False
        self.way: Way | None = None
        self.response: Response | None = None

    async def run(self) -> Opened | Miss:
        """Send it, and once more where the backend's refusal was about the form and not the request."""
        link, inbound = self._link, self._inbound
        while True:
            if link.channel is not None:
                self.way = await link.channel.way(self._model, link.secret)
            is_translated = self._is_translated
            size = len(inbound.body) if is_translated else 0
            parcel = await aside(
                size, pack, inbound, self._model, link, self.way, self._node_id, translated=is_translated
            )
            if isinstance(parcel, Immediate):
                return Opened(ImmediateResponse(parcel.content_type, len(parcel.body)), parcel.body)
            self.is_sent = True
            self.response = response = await parcel.upstream.send(
                "POST",
                parcel.target,
                parcel.headers,
                parcel.body,
                fresh=inbound.is_dear,
                resend=not link.backend.is_metered,
            )
            if not is_refusal(response):
                if response.status == 200 and parcel.back is None:
                    first = await response.read()
                    if not (is_translatable(inbound.face) and says_no_such_path(first)):
                        return Opened(response, first)
                    response.abort()
                    self._is_translated = True
                    continue
                return await self._open(response, parcel.back)
            refusal, is_whole = await read_refusal(response)
            if not self._does_better(refusal):
                return _refused(link, refusal, is_whole, parcel.back, has_way=self.way is not None)

    async def _open(self, response: Response, back: Back | None) -> Opened | Miss:
        first = b""
        if back is None or response.status in _OF_ACCOUNT:
            first = await response.read()
            if response.status in _OF_ACCOUNT and response.is_whole:
                refusal = whole_refusal(response, first)
                if _account_reason(self._link, refusal) is not None:
                    return _refused(self._link, refusal, True, back, has_way=self.way is not None)
        if back is None:
            return Opened(response, first)
        if response.status < 400 and self._link.kind.speaks(self._inbound.face):
            self._link.learn_lack(self._inbound.face, self._model)
        answer = TranslatedResponse(response, back, first)
        return Opened(answer, await answer.read(), back)

    def _does_better(self, refusal: Reply) -> bool:
        """Prepare another try at the same backend, if there is a promising one."""
        channel = self._link.channel
        if channel is not None and not self._is_renewed:
            self._is_renewed = channel.renew(self._model, refusal.status, refusal.body)
            if self._is_renewed:
                return True
        if self._is_translated or refusal.status not in _NO_SUCH_PATH or self._link.kind.group in _COMPLETE:
            return False
        self._is_translated = is_translatable(self._inbound.face)  # an older version may lack the path
        return self._is_translated


def _failed(link: Link, error: UpstreamError) -> Miss:
    if isinstance(error, WayClosed):
        return _closed(link.backend, error)
    if isinstance(error, Untranslated):
        reason = Reason("bad-reply", f"{link.backend.name}: {error.title}", error.hint)
    else:
        reason = link.kind.why(error, link.backend)
    unreached = isinstance(error, ConnectFailed)
    return Miss(
        backend=link.backend,
        reason=reason,
        was_sent=not unreached,
        fact=Unreached(reason) if unreached else Broke(reason),
    )


def _closed(backend: Backend, error: UpstreamError) -> Miss:
    """Say that the way to this one model is closed, which says nothing of the backend as a whole."""
    if isinstance(error, WayClosed):
        return Miss(backend=backend, reason=error.why)
    is_sent = not isinstance(error, ConnectFailed)
    code = "connection-lost" if is_sent else "unreachable"
    return Miss(backend=backend, reason=Reason(code, error.title, error.hint), was_sent=is_sent)


def _refused(link: Link, refusal: Reply, is_whole: bool, back: Back | None, *, has_way: bool) -> Miss:
    """Say what a failing answer means: of the backend as a whole, or (404 and the like) of this request only."""
    status = refusal.status
    fact: Fact | None = None
    own = _account_reason(link, refusal)
    if status < 300:
        reason = reasons.no_list_reason(refusal, link.backend, link.kind.label, link.secret)
        fact = Broke(reason)
    elif (
        own is not None
        or status < 400
        or status in {401, 403, 429}
        or (status >= 500 and status not in _NOT_ITS_FAULT)
    ):
        reason = own or _reason(link, refusal)
        is_quiet = own is not None or reason.code == "loading"
        quiet = reason if is_quiet else _reason(link, _without_words(refusal))
        fact = None if has_way else _fact(refusal, quiet)
    else:
        reason = Reason(f"status-{status}", f"It answered {status}.{said(refusal, link.secret)}")
    return Miss(
        backend=link.backend,
        reason=reason,
        was_sent=True,
        was_answered=True,
        fact=fact,
        refusal=_told(refusal, back, link.secret) if is_whole else None,
    )


def _told(refusal: Reply, back: Back | None, secret: str | None) -> Reply:
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


def _without_words(refusal: Reply) -> Reply:
    """Return a failing answer without what may quote the request that it failed."""
    headers = tuple(pair for pair in refusal.headers if pair[0] in _WORDLESS)
    return replace(refusal, headers=headers, body=b"")


def _account_reason(link: Link, refusal: Reply) -> Reason | None:
    return reasons.account_reason(refusal, link.backend, link.kind.label, link.secret)


def _reason(link: Link, refusal: Reply) -> Reason:
    return reasons.status_reason(refusal, link.backend, link.kind.label, link.secret)


def _fact(refusal: Reply, reason: Reason) -> Fact:
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


def _interrupted(backend: Backend, cause: Cause, *, was_sent: bool) -> Miss:
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
    return Miss(backend=backend, reason=reason, was_sent=was_sent, cause=cause)
