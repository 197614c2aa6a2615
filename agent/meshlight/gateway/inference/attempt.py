"""One attempt at one route, up to the first body byte: that byte commits the answer, a failed status does not.

What one attempt sends, and where: the request as this backend takes it, translated if it must be.
"""

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from meshlight.backends import diagnostics as reasons
from meshlight.backends.base import ModelRoute
from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import (
    ConnectError,
    RouteUnavailable,
    TranslationFailed,
    Untranslatable,
    UpstreamError,
)
from meshlight.domain.health import Broke, Fact, Limited, Refused, Unreached
from meshlight.domain.operations import Operation, path_of
from meshlight.domain.routing import RouteScore
from meshlight.gateway.inference.blame import (
    NO_ACCESS_S,
    RefusalSubject,
    may_mean_path,
    no_access,
    path_refused,
    subject,
)
from meshlight.gateway.inference.failing_answer import (
    account_reason,
    fact_of,
    interrupted_reason,
    status_reason,
    told,
    without_words,
)
from meshlight.gateway.inference.first_event import is_clear, read_error
from meshlight.gateway.inference.headers import bare, to_backend
from meshlight.gateway.inference.request import InferenceRequest
from meshlight.gateway.inference.timeouts import Cancellation, Cause, FirstByteTimer
from meshlight.gateway.inference.translated_response import ImmediateResponse, TranslatedResponse
from meshlight.gateway.inference.upstream_errors import (
    is_refusal,
    read_refusal,
    says_no_such_path,
    speaks_of_backend,
    whole_refusal,
)
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.gateway.translation.carried_state import restore_call_ids
from meshlight.gateway.translation.ollama.writer import Immediate
from meshlight.gateway.translation.passthrough import without_own_state
from meshlight.gateway.translation.refused_fields import EXTENSIONS, refused_fields, without_fields
from meshlight.gateway.translation.responses.native import for_native
from meshlight.gateway.translation.table import is_translatable, translate
from meshlight.http_client.client import Headers, Reply, Response, Upstream
from meshlight.http_client.error_text import quoted_error
from meshlight.mesh.backend_connections import BackendConnection

READ_FACES = frozenset[Operation]({"messages", "messages/count_tokens", "api/chat", "responses"})
"""Faces whose bodies may be read and changed even where they are passed on in their own protocol."""
_JSON = b"application/json"


class UpstreamRequest(Struct, frozen=True):
    """A request ready to be sent; `back` brings the answer home where it was translated."""

    upstream: Upstream
    target: str
    headers: Headers
    body: bytes
    back: ResponseTranslator | None = None
    dropped: tuple[str, ...] = ()
    """What the client sent and the backend does not get."""


def build_upstream_request(
    inbound: InferenceRequest,
    model: str,
    link: BackendConnection,
    way: ModelRoute | None,
    node_id: str,
    *,
    translated: bool,
    without: frozenset[str] = frozenset(),
) -> UpstreamRequest | Immediate:
    """Make one attempt's request for the route's `model`, or its answer where nobody need be asked.

    `without` are the fields that a translation has to leave out, for this backend has declined them.
    Raises Untranslatable when this backend's protocol has no word for something in it.
    """
    kind, operation, back = link.kind, inbound.operation, None
    dropped: tuple[str, ...] = ()
    upstream = link.upstream
    if way is not None:
        upstream, model = way.upstream, way.model
    if translated:
        made = translate(operation, inbound.body, model, kind, inbound.stored)
        if isinstance(made, Immediate):
            return made
        operation, body, back, dropped = made.operation, made.body, made.back, made.dropped
        if without:
            body, gone = without_fields(body, without)
            dropped = (*dropped, *gone)
        path = f"/v1/{operation}"
    else:
        path, body = (
            inbound.target_for(model),
            without_own_state(operation, inbound.body_for(model), kind.kind),
        )
        if inbound.stored is not None:
            body = restore_call_ids(for_native(body, inbound.stored, takes_text=kind.group != "cloud"))
    lane = link.lane(operation)
    auth = lane.auth if way is None else way.auth
    if translated or way is not None:
        headers = bare(_JSON if translated else inbound.content_type, auth)
    else:
        headers = to_backend(inbound.headers, auth, inbound.content_type, is_guest=inbound.guest is not None)
    if lane.defaults:
        present = {name for name, _ in headers}
        headers.extend(pair for pair in lane.defaults if pair[0] not in present)
    if kind.group not in {"cluster", "cloud"} and not link.backend.is_metered:
        visited = ",".join((*inbound.visited, node_id)) if inbound.visited else node_id
        headers.append((b"x-meshlight-via", visited.encode("latin-1", "replace")))
    if lane.moves:
        path = kind.path(operation, path)
    return UpstreamRequest(upstream, upstream.address.target(path), headers, body, back, dropped)


_NOT_ITS_FAULT = frozenset({501, 505, 508})
"""Failing statuses that speak of what was asked, not of the backend: `501` is llama.cpp's word for "not with this
model"."""
_NOT_COMPUTED = frozenset({501, 503, 505, 529})
"""Failing statuses by which a server turns a request away before it has done anything for it."""
_NO_SUCH_PATH = frozenset({404, 405, 501})
_OF_FORM = frozenset({400, 422})
"""Statuses that may say that a field is not taken."""
_FORM_MAX = 64 * 1024
"""Bytes of a refusal in which a field is looked for."""
_FORM_TRIES = 4
"""How often one request is sent again without a field that was declined."""
_COMPLETE = frozenset({"cloud", "peer"})
"""Groups whose 404 speaks of the model, for none of them is too old to have the paths of its kind."""
_OF_ACCOUNT = frozenset({400, 402})
"""Statuses that speak of the request, and at some clouds of a wrong key or of money."""

_NOTHING = frozenset[str]()


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """An attempt that gave the client nothing, and what it says of the backend."""

    backend: Backend
    reason: Reason
    """For the client that asked: it may quote what the backend said of this very request."""
    was_sent: bool = False
    """Whether the request had gone out, so that it may have cost or done something."""
    was_answered: bool = False
    """Whether the backend refused it in so many words, so that it has not been charged."""
    was_free: bool = False
    """Whether it was refused before anything was computed or done."""
    is_final: bool = False
    """Whether the refusal speaks of this request, whoever is asked: its client gets it, and no other is tried."""
    wants_probe: bool = False
    """Whether only a probe can say if it is the key that was refused."""
    fact: Fact | None = None
    """For everybody: it quotes nothing of a request."""
    part: str = ""
    """What of the backend the fact speaks of: a place behind it, or a model; empty for the backend as a whole."""
    refusal: Reply | None = None
    """The failing answer, whole."""
    place: str = ""
    """The place behind the backend that was tried; empty where it is one itself."""
    cause: Cause | None = None
    error: Untranslatable | None = None
    """What of the request this backend's protocol has no word for."""


class StartedResponse(Struct, frozen=True):
    """An answer whose first body byte has come (or that is whole and empty)."""

    response: Response | TranslatedResponse | ImmediateResponse
    first: bytes
    back: ResponseTranslator | None = None
    """What has translated it, where it was."""
    dropped: tuple[str, ...] = ()
    """What the client sent and the backend did not get."""
    learnt: Mapping[str, str] | None = None
    """Labelled lines about the backend that this attempt brought."""


async def open_route(
    inbound: InferenceRequest,
    score: RouteScore,
    link: BackendConnection,
    node_id: str,
    interrupt: Cancellation,
    patience: FirstByteTimer,
) -> StartedResponse | FailedAttempt:
    """Send the request on one route and wait for the first body byte.

    A wait ended by the interrupt for the backend's sake (it fell, the first byte came too late) is a Miss; any
    other cancellation goes on to the caller. Raises BadRequest when the body can't be read.
    """
    backend = link.backend
    trip = _AttemptRunner(inbound, score, link, node_id)
    opened: StartedResponse | FailedAttempt | None = None
    try:
        opened = await trip.run()
    except Untranslatable as error:
        return FailedAttempt(
            backend=backend, reason=Reason("untranslatable", error.title, error.hint), error=error
        )
    except UpstreamError as error:
        return _failed(trip, error)
    except asyncio.CancelledError:
        if interrupt.cause in {"fell", "first-byte"} and (cause := interrupt.settle()) is not None:
            interrupt.again()
            reason = interrupted_reason(backend, cause, score.place)
            return FailedAttempt(backend=backend, reason=reason, was_sent=trip.is_sent, cause=cause)
        raise
    finally:
        patience.end()
        if trip.response is not None and not isinstance(opened, StartedResponse):
            trip.response.abort()
    return opened


class _AttemptRunner:
    """One request on its way to one backend, and what came back."""

    __slots__ = (
        "_inbound",
        "_is_misread",
        "_is_renewed",
        "_is_translated",
        "_node_id",
        "_tries",
        "_without",
        "is_sent",
        "link",
        "model",
        "place",
        "response",
        "way",
    )

    def __init__(
        self, inbound: InferenceRequest, score: RouteScore, link: BackendConnection, node_id: str
    ) -> None:
        self._inbound = inbound
        self.model = score.model
        self.place = score.place
        self.link = link
        self._node_id = node_id
        self._is_translated = not link.speaks(inbound.operation, score.model)
        self._is_misread = False
        """Whether it is translated because the backend refused its own protocol: that speaks of this request only."""
        self._is_renewed = False
        self._without = link.declines.get(score.model, _NOTHING)
        self._tries = 0
        self.is_sent = False
        self.way: ModelRoute | None = None
        self.response: Response | None = None

    @property
    def operation(self) -> Operation:
        """What is asked for."""
        return self._inbound.operation

    @property
    def is_at_chat(self) -> bool:
        """Whether it goes to a path that every server of models has."""
        return self._is_translated or self.operation in {"chat/completions", "completions"}

    async def _packed(self) -> UpstreamRequest | Immediate:
        """Find the way, and make the request for it; a large body is translated beside the event loop."""
        link, inbound = self.link, self._inbound
        if self.place and link.places is not None:
            self.way = await link.places.route_at(self.place, self.model)
        elif link.channel is not None:
            self.way = await link.channel.route(self.model, link.secret)
        return await in_thread_if_large(
            len(inbound.body) if self._is_translated or inbound.operation in READ_FACES else 0,
            build_upstream_request,
            inbound,
            self.model,
            link,
            self.way,
            self._node_id,
            translated=self._is_translated,
            without=self._without,
        )

    async def run(self) -> StartedResponse | FailedAttempt:
        """Send it, and once more where the backend's refusal was about the form and not the request."""
        link, inbound = self.link, self._inbound
        while True:
            upstream_request = await self._packed()
            if isinstance(upstream_request, Immediate):
                return StartedResponse(
                    ImmediateResponse(upstream_request.content_type, len(upstream_request.body)),
                    upstream_request.body,
                )
            self.is_sent = True
            self.response = response = await upstream_request.upstream.send(
                "POST",
                upstream_request.target,
                upstream_request.headers,
                upstream_request.body,
                fresh=inbound.is_dear,
                resend=not link.backend.is_metered,
            )
            if is_refusal(response):
                refusal, is_whole = await read_refusal(response)
            elif response.status == 200:
                first, error, is_whole = await response.read(), None, True
                if not is_clear(first):
                    first, error = await read_error(response, first)
                if error is None or not self._goes_elsewhere(error):
                    if upstream_request.back is not None:
                        return await self._translated(
                            response, upstream_request.back, upstream_request, first
                        )
                    if not (is_translatable(inbound.operation) and says_no_such_path(first)):
                        return StartedResponse(response, first)
                    response.abort()
                    self._is_translated = True
                    continue
                response.abort()
                refusal = error
            elif response.status in _OF_FORM and self._may_be_misread:
                response.abort()
                self._is_translated = self._is_misread = True
                continue
            else:
                opened = await self._open(response, upstream_request)
                if opened is None:
                    response.abort()
                    continue
                return opened
            if not self._does_better(refusal):
                return _refused(self, refusal, is_whole, upstream_request.back)

    @property
    def _may_be_misread(self) -> bool:
        """Whether a refusal may be about a part of the Responses API that an engine has not got, and we can carry."""
        return (
            self._inbound.operation == "responses"
            and not self._is_translated
            and self.link.kind.group not in _COMPLETE
        )

    def _goes_elsewhere(self, error: Reply) -> bool:
        """Whether an error told in a stream speaks of the backend, as the status would."""
        return speaks_of_backend(error.status) or account_reason(self.link, error) is not None

    async def _open(
        self, response: Response, upstream_request: UpstreamRequest
    ) -> StartedResponse | FailedAttempt | None:
        """Return what came; None when the same backend shall be asked once more."""
        first, back = b"", upstream_request.back
        if back is None or response.status in _OF_ACCOUNT:
            first = await response.read()
            if response.status in _OF_ACCOUNT and response.is_complete:
                refusal = whole_refusal(response, first)
                if account_reason(self.link, refusal) is not None:
                    return _refused(self, refusal, True, back)
        if back is None:
            return StartedResponse(response, first)
        if response.status in _OF_FORM:
            while len(first) <= _FORM_MAX and (piece := await response.read()):
                first += piece
            if self._does_without(whole_refusal(response, first), upstream_request.body):
                return None
        return await self._translated(response, back, upstream_request, first)

    async def _translated(
        self, response: Response, back: ResponseTranslator, upstream_request: UpstreamRequest, first: bytes
    ) -> StartedResponse:
        if response.status < 400 and not self._is_misread and self.link.kind.speaks(self._inbound.operation):
            self.link.learn_lack(self._inbound.operation, self.model)
        answer = TranslatedResponse(response, back, first)
        return StartedResponse(
            answer, await answer.read(), back, upstream_request.dropped, self._learn(response.status)
        )

    def _does_without(self, refusal: Reply, body: bytes) -> bool:
        """Leave out what a refusal of a translated request declines; False where it is about something else."""
        declined = refused_fields(refusal, body) - self._without
        if not declined or self._tries >= _FORM_TRIES:
            return False
        self._tries += 1
        self._without |= declined if self._tries == 1 else declined | EXTENSIONS
        return True

    def _learn(self, status: int) -> Mapping[str, str] | None:
        """Remember what had to be left out for the request to be taken."""
        if self._tries == 0 or status >= 400:
            return None
        self.link.learn_declined(self.model, self._without)
        return self.link.notes()

    def _does_better(self, refusal: Reply) -> bool:
        """Prepare another try at the same backend, if there is a promising one."""
        channel, places = self.link.channel, self.link.places
        if channel is not None and not self._is_renewed:
            if self.place and places is not None:
                self._is_renewed = places.renew_at(self.place, refusal.status, refusal.body)
            else:
                self._is_renewed = channel.renew(self.model, refusal.status, refusal.body)
            if self._is_renewed:
                return True
        if self._is_translated or self.link.kind.group in _COMPLETE:
            return False
        if refusal.status not in _NO_SUCH_PATH and not may_mean_path(refusal):
            return False
        self._is_translated = is_translatable(self._inbound.operation)  # an older version may lack the path
        return self._is_translated


def _failed(trip: "_AttemptRunner", error: UpstreamError) -> FailedAttempt:
    link = trip.link
    if isinstance(error, RouteUnavailable):
        return FailedAttempt(backend=link.backend, reason=error.why)
    if isinstance(error, TranslationFailed):
        reason = Reason("bad-reply", f"{link.backend.name}: {error.title}", error.hint)
    elif trip.way is not None:  # not the backend's own address: its kind has no words for it
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
        fact=None if trip.way is not None and not trip.place else fact,
        part=trip.place,
    )


def _refused(
    trip: "_AttemptRunner", refusal: Reply, is_whole: bool, back: ResponseTranslator | None
) -> FailedAttempt:
    """Say what a failing answer means: of the backend or a part of it, or (404 and the like) of this request."""
    link, status = trip.link, refusal.status
    fact: Fact | None = None
    part, is_final, wants_probe = trip.place, False, False
    own = account_reason(link, refusal)
    if status < 300:
        reason = reasons.no_list_reason(refusal, link.backend, link.kind.label, link.secret)
        fact = Broke(reason)
    elif status in {401, 403} and own is None:
        reason, fact, refused = _forbidden(trip, refusal)
        is_final, wants_probe = refused in {"request", "model"}, refused == "unclear"
        part = part or ("" if refused == "key" else trip.model)
    elif own is not None or status < 400 or status == 429 or (status >= 500 and status not in _NOT_ITS_FAULT):
        reason = own or status_reason(link, refusal)
        is_quiet = own is not None or reason.code == "loading"
        fact = fact_of(refusal, reason if is_quiet else status_reason(link, without_words(refusal)))
        part = part or (trip.model if link.kind.group == "peer" else "")
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
        # Of a service behind another address nothing follows for the backend itself.
        fact=None if trip.way is not None and not part else fact,
        part=part,
        refusal=told(refusal, back, link.secret) if is_whole else None,
    )


def _forbidden(trip: "_AttemptRunner", refusal: Reply) -> tuple[Reason, Fact | None, RefusalSubject]:
    """Judge a 401 or 403: why it was, what it says of the backend or its part, and what it refuses."""
    link, refused = trip.link, subject(refusal)
    if trip.place and link.places is not None and refused in {"key", "unclear"}:
        why = link.places.refusal_reason(trip.place, refusal)
        return why, Refused(why), "key"
    reason = status_reason(link, refusal)
    quiet = status_reason(link, without_words(refusal))
    if refused == "model":
        return reason, Limited(no_access(trip.model, reasons.where(link.backend)), NO_ACCESS_S), refused
    if refused == "request":
        return reason, None, refused
    if refusal.status == 401 and link.kind.group not in _COMPLETE and (link.is_proven or not trip.is_at_chat):
        # The same key has served, or nobody knows if that path is there at all: a probe can tell.
        reason = path_refused(path_of(trip.operation), reasons.where(link.backend), is_proven=link.is_proven)
        return reason, Broke(reason), "unclear"
    return reason, Refused(quiet) if refused == "key" else Broke(quiet), refused
