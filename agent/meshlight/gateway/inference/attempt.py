"""One attempt at one route: builds the request as this backend takes it, sends it, and waits for the first body byte.

That byte commits the answer; a failing status does not. A refusal that is about the form of the request is answered
by sending it to the same backend in another form (see `retry_policy`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import ModelRoute
from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.backend import Reason
from meshlight.domain.errors import ConnectError, ReadError, Untranslatable, UpstreamError
from meshlight.domain.local_models import Demand
from meshlight.domain.operations import Operation
from meshlight.domain.routing import RouteScore
from meshlight.gateway.inference.context_refusals import STATUSES, too_long
from meshlight.gateway.inference.failures import (
    COMPLETE_GROUPS,
    AttemptRoute,
    FailedAttempt,
    account_reason,
    failed_by_error,
    failed_by_refusal,
    failed_by_wait,
    may_mean_path,
)
from meshlight.gateway.inference.headers import bare, to_backend
from meshlight.gateway.inference.request import VIA, InferenceRequest
from meshlight.gateway.inference.retry_policy import FORM_RETRIES, RetryPolicy
from meshlight.gateway.inference.timeouts import Cancellation, FirstByteTimer
from meshlight.gateway.inference.translated_response import ImmediateResponse, TranslatedResponse
from meshlight.gateway.inference.upstream_errors import (
    is_plainly_ok,
    is_refusal,
    read_error,
    read_refusal,
    refusal_reply,
    speaks_of_backend,
)
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.gateway.translation.carried_state import restore_call_ids
from meshlight.gateway.translation.ollama.writer import Immediate
from meshlight.gateway.translation.passthrough import without_own_state
from meshlight.gateway.translation.refused_fields import EXTENSIONS, refused_fields, without_fields
from meshlight.gateway.translation.table import is_translatable, translate
from meshlight.http_client.client import Headers, Opening, Reply, Response, SentRequest, Upstream
from meshlight.mesh.backend_connections import BackendConnection

READ_OPERATIONS: Final = frozenset[Operation]({"messages", "messages/count_tokens", "api/chat", "responses"})
"""Operations whose bodies may be read and changed even where they are passed on in their own protocol."""
_JSON: Final = b"application/json"
_NO_SUCH_PATH: Final = frozenset({404, 405, 501})
_OF_FORM: Final = frozenset({400, 422})
"""Statuses that may say that a field is not accepted."""
_FORM_MAX: Final = 64 * 1024
"""Bytes of a refusal that are searched for a field."""
_OF_ACCOUNT: Final = frozenset({400, 402})
"""Statuses that are about the request, and at some clouds about a wrong key or about money."""
_NOTHING: Final = frozenset[str]()


class StartedResponse(Struct, frozen=True):
    """An answer whose first body byte has come, or that is complete and empty."""

    response: Response | TranslatedResponse | ImmediateResponse
    first: bytes
    translator: ResponseTranslator | None = None
    """What translates it, if it is translated."""
    dropped: tuple[str, ...] = ()
    """What the client sent and the backend did not get."""
    notes: Mapping[str, str] | None = None
    """Labelled lines about the backend that this attempt brought."""
    why_lost: Callable[[], Awaitable[Reason | None]] | None = None
    """Says why the connection ended before the answer did, where somebody knows."""
    served_as: str = ""
    """The model's name at its server, where that may be another than ours."""
    sends: int = 1
    """How often the request was sent to this backend."""


class UpstreamRequest(Struct, frozen=True):
    """A request ready to be sent; `translator` translates the answer back, if the request was translated."""

    upstream: Upstream
    target: str
    headers: Headers
    body: bytes
    translator: ResponseTranslator | None = None
    dropped: tuple[str, ...] = ()
    """What the client sent and the backend does not get."""


class SentAttempt(Struct, frozen=True):
    """An attempt that has begun: its request was sent already, or the connection for it is being opened."""

    request: SentRequest | Opening
    model_route: ModelRoute | None = None
    """Where to, if that is not the backend's own address."""
    is_translated: bool = False


async def open_route(
    inbound: InferenceRequest,
    score: RouteScore,
    link: BackendConnection,
    node_id: str,
    policy: RetryPolicy,
    cancellation: Cancellation,
    first_byte_timer: FirstByteTimer,
    sent: SentAttempt | None = None,
) -> StartedResponse | FailedAttempt:
    """Send the request on one route and wait for the first body byte.

    A wait that was cancelled because of the backend (it fell, the first byte came too late) is a FailedAttempt; any
    other cancellation goes on to the caller. `sent` is the request, if it was sent already. Raises BadRequest when
    the body can't be read.
    """
    runner = _AttemptRunner(inbound, score, link, node_id, policy, sent)
    started: StartedResponse | FailedAttempt | None = None
    try:
        started = await runner.run()
    except Untranslatable as error:
        reason = Reason("untranslatable", error.title, error.hint)
        return runner.counted(FailedAttempt(backend=link.backend, reason=reason, error=error))
    except UpstreamError as error:
        failed = failed_by_error(runner.route(), error)
        is_lost = isinstance(error, ReadError | ConnectError) and link.on_demand is not None
        why = await runner.why_lost() if is_lost else None
        return runner.counted(failed if why is None else replace(failed, reason=why))
    except asyncio.CancelledError:
        if cancellation.cause in {"fell", "first-byte"} and (cause := cancellation.settle()) is not None:
            cancellation.rearm()
            return runner.counted(failed_by_wait(runner.route(), cause, was_sent=runner.is_sent))
        raise
    finally:
        first_byte_timer.end()
        if runner.response is not None and not isinstance(started, StartedResponse):
            runner.response.abort()
    ended = runner.counted(started) if runner.sends > 1 else started
    if link.on_demand is not None and isinstance(ended, StartedResponse):
        return replace(ended, why_lost=runner.why_lost, served_as=runner.served_as)
    return ended


def build_upstream_request(
    inbound: InferenceRequest,
    model: str,
    link: BackendConnection,
    model_route: ModelRoute | None,
    node_id: str,
    *,
    translated: bool,
    without: frozenset[str] = frozenset(),
) -> UpstreamRequest | Immediate:
    """Return one attempt's request for the route's `model`, or its answer where no backend is needed for it.

    `without` are the fields that a translation leaves out because this backend has declined them.
    Raises Untranslatable when this backend's protocol can't express something in it.
    """
    kind, operation, translator = link.kind, inbound.operation, None
    dropped: tuple[str, ...] = ()
    upstream = link.upstream
    if model_route is not None:
        upstream, model = model_route.upstream, model_route.model
    if translated:
        made = translate(operation, inbound.body, model, kind, inbound.stored)
        if isinstance(made, Immediate):
            return made
        operation, body, translator, dropped = made.operation, made.body, made.back, made.dropped
        if without:
            body, removed = without_fields(body, without)
            dropped = (*dropped, *removed)
        path = f"/v1/{operation}"
    else:
        path, body = inbound.target_for(model), body_as_sent(inbound, model, link)
        if inbound.stored is not None:
            from meshlight.gateway.translation.responses.native import for_native  # noqa: PLC0415 - see `translate`

            body = restore_call_ids(for_native(body, inbound.stored, takes_text=kind.group != "cloud"))
    template = link.template(operation)
    auth = template.auth if model_route is None else model_route.auth
    if translated or model_route is not None:
        headers = bare(_JSON if translated else inbound.content_type, auth)
    else:
        headers = to_backend(inbound.headers, auth, inbound.content_type, is_guest=inbound.guest is not None)
    if template.defaults:
        present = {name for name, _ in headers}
        headers.extend(pair for pair in template.defaults if pair[0] not in present)
    if kind.group not in {"cluster", "cloud"} and not link.is_metered:
        visited = ",".join((*inbound.visited, node_id)) if inbound.visited else node_id
        headers.append((VIA, visited.encode("latin-1", "replace")))
    if template.changes_path:
        path = kind.path(operation, path)
    return UpstreamRequest(upstream, upstream.target(path), headers, body, translator, dropped)


def body_as_sent(inbound: InferenceRequest, model: str, link: BackendConnection) -> bytes:
    """Return the body for a backend that speaks the client's protocol, with the route's `model`."""
    body = inbound.body_for(model)
    if inbound.operation in READ_OPERATIONS:
        body = without_own_state(inbound.operation, body, link.kind.kind)
    return body


class _AttemptRunner:
    """One request on its way to one backend, and the answer to it."""

    __slots__ = (
        "_form_retries",
        "_inbound",
        "_is_misread",
        "_is_renewed",
        "_is_started_again",
        "_is_translated",
        "_link",
        "_model",
        "_model_route",
        "_node_id",
        "_place",
        "_policy",
        "_sent",
        "_without",
        "is_sent",
        "response",
        "sends",
    )

    def __init__(
        self,
        inbound: InferenceRequest,
        score: RouteScore,
        link: BackendConnection,
        node_id: str,
        policy: RetryPolicy,
        sent: SentAttempt | None,
    ) -> None:
        self._sent = None if sent is None else sent.request
        self._inbound = inbound
        self._model = score.model
        self._place = score.place
        self._link = link
        self._node_id = node_id
        self._policy = policy
        self._is_translated = (
            not link.speaks(inbound.operation, score.model) if sent is None else sent.is_translated
        )
        self._is_misread = False
        """Whether it is translated because the backend refused its own protocol: that is about this request only."""
        self._is_renewed = False
        self._is_started_again = False
        self._without = link.declined_fields.get(score.model, _NOTHING)
        self._form_retries = 0
        self.is_sent = False
        self.sends = 0
        """How often it was sent; the HTTP client counts."""
        self._model_route = None if sent is None else sent.model_route
        self.response: Response | None = None

    def route(self) -> AttemptRoute:
        """Return what judging a failure needs to know."""
        inbound = self._inbound
        return AttemptRoute(
            self._link,
            self._model,
            self._place,
            is_elsewhere=self._model_route is not None,
            operation=inbound.operation,
            path=inbound.path,
            is_at_chat=self._is_translated or inbound.operation in {"chat/completions", "completions"},
        )

    @property
    def served_as(self) -> str:
        """The model's name at its server."""
        return self._model if self._model_route is None else self._model_route.model

    async def why_lost(self) -> Reason | None:
        """Return why the model's engine has ended; None if nobody knows."""
        on_demand, route = self._link.on_demand, self._model_route
        if on_demand is None or route is None:
            return None
        return await on_demand.why_lost(self._model, route)

    def counted(self, ended: StartedResponse | FailedAttempt) -> StartedResponse | FailedAttempt:
        """Return how it ended, with how often it was sent."""
        return replace(ended, sends=self.sends) if self.sends > 1 else ended

    async def run(self) -> StartedResponse | FailedAttempt:
        """Send it, and again where the backend's refusal was about the form and not the request."""
        while True:
            upstream_request = self._built_at_once() or await self._build()
            if isinstance(upstream_request, Immediate):
                return StartedResponse(
                    ImmediateResponse(upstream_request.content_type, len(upstream_request.body)),
                    upstream_request.body,
                )
            self.is_sent = True
            sent, self._sent = self._sent, None
            try:
                self.response = response = await upstream_request.upstream.send(
                    "POST",
                    upstream_request.target,
                    upstream_request.headers,
                    upstream_request.body,
                    fresh=self._policy.new_connection,
                    resend=self._policy.resend,
                    counter=self,
                    sent=sent,
                )
            except ConnectError as unreached:
                await self._start_again(unreached)
                continue
            if is_refusal(response):
                refusal, is_complete = await read_refusal(response)
            elif response.status == 200:
                first, error, is_complete = await response.read(), None, True
                if not is_plainly_ok(first):
                    first, error = await read_error(response, first)
                if error is None or (too_long(error) is None and not self._is_about_backend(error)):
                    if upstream_request.translator is not None:
                        return await self._translated(
                            response, upstream_request.translator, upstream_request, first
                        )
                    return StartedResponse(response, first)
                response.abort()
                refusal = error
            elif response.status in _OF_FORM and self._may_be_misread:
                response.abort()
                self._is_translated = self._is_misread = True
                continue
            else:
                started = await self._start(response, upstream_request)
                if started is None:
                    response.abort()
                    continue
                return started
            if not self._can_improve(refusal):
                return failed_by_refusal(self.route(), refusal, is_complete, upstream_request.translator)

    async def _start_again(self, error: ConnectError) -> None:
        """Have the engine started again that ended before it could be reached, once; raises the error otherwise."""
        if self._is_started_again:
            raise error
        self._is_started_again = True
        if await self.why_lost() is None:
            raise error

    def _built_at_once(self) -> UpstreamRequest | Immediate | None:
        """Build the request, if that needs no look elsewhere and no work that may be long."""
        inbound, link = self._inbound, self._link
        if self._is_translated or (
            self._sent is None and (link.has_routes or inbound.operation in READ_OPERATIONS)
        ):
            return None
        return build_upstream_request(
            inbound, self._model, link, self._model_route, self._node_id, translated=False
        )

    async def _build(self) -> UpstreamRequest | Immediate:
        """Find the model's route, and build the request for it; a large body is translated beside the event loop."""
        link, inbound = self._link, self._inbound
        if self._place and link.places is not None:
            self._model_route = await link.places.route_at(self._place, self._model)
        elif self._sent is None and link.channel is not None and link.has_routes:
            self._model_route = (
                await link.channel.route(self._model, link.secret)
                if link.on_demand is None
                else await link.on_demand.route_for(self._model, demand_of(inbound))
            )
        if not self._is_translated and inbound.operation not in READ_OPERATIONS:
            return build_upstream_request(
                inbound, self._model, link, self._model_route, self._node_id, translated=False
            )
        return await in_thread_if_large(
            len(inbound.body),
            build_upstream_request,
            inbound,
            self._model,
            link,
            self._model_route,
            self._node_id,
            translated=self._is_translated,
            without=self._without,
        )

    @property
    def _may_be_misread(self) -> bool:
        """Whether a refusal may be about a part of the Responses API that an engine lacks and translation has."""
        return (
            self._inbound.operation == "responses"
            and not self._is_translated
            and self._link.kind.group not in COMPLETE_GROUPS
        )

    def _is_about_backend(self, error: Reply) -> bool:
        """Whether an error within a stream is about the backend, as its status would be."""
        return speaks_of_backend(error.status) or account_reason(self._link, error) is not None

    async def _start(
        self, response: Response, upstream_request: UpstreamRequest
    ) -> StartedResponse | FailedAttempt | None:
        """Return the answer; None when the request is to be sent to the same backend again."""
        first, translator = b"", upstream_request.translator
        if translator is None or response.status in STATUSES or response.status in _OF_ACCOUNT:
            first = await response.read()
            if response.status in _OF_ACCOUNT and response.is_complete:
                refusal = refusal_reply(response, first)
                if account_reason(self._link, refusal) is not None:
                    return failed_by_refusal(self.route(), refusal, True, translator)
        if response.status in STATUSES:
            while first and len(first) <= _FORM_MAX and (piece := await response.read()):
                first += piece
            refusal = refusal_reply(response, first)
            if too_long(refusal) is not None:
                return failed_by_refusal(self.route(), refusal, response.is_complete, translator)
        if translator is None:
            return StartedResponse(response, first)
        if response.status in _OF_FORM:
            while len(first) <= _FORM_MAX and (piece := await response.read()):
                first += piece
            if self._drop_declined(refusal_reply(response, first), upstream_request.body):
                return None
        return await self._translated(response, translator, upstream_request, first)

    async def _translated(
        self,
        response: Response,
        translator: ResponseTranslator,
        upstream_request: UpstreamRequest,
        first: bytes,
    ) -> StartedResponse:
        operation, is_ok = self._inbound.operation, response.status < 400
        if is_ok and not self._is_misread and self._link.kind.speaks(operation):
            self._link.record_missing_operation(operation, self._model)
        answer = TranslatedResponse(response, translator, first)
        notes: Mapping[str, str] | None = None
        first = await answer.read()
        if is_ok and self._form_retries:
            self._link.record_declined_fields(self._model, self._without)
            notes = self._link.declined_lines()
        return StartedResponse(answer, first, translator, upstream_request.dropped, notes)

    def _drop_declined(self, refusal: Reply, body: bytes) -> bool:
        """Leave out the fields that a refusal of a translated request declines; False if it declines none."""
        declined = refused_fields(refusal, body) - self._without
        if not declined or self._form_retries >= FORM_RETRIES:
            return False
        self._form_retries += 1
        self._without |= declined if self._form_retries == 1 else declined | EXTENSIONS
        return True

    def _can_improve(self, refusal: Reply) -> bool:
        """Prepare another request to the same backend, if there is a promising one."""
        channel, places = self._link.channel, self._link.places
        if channel is not None and not self._is_renewed:
            if self._place and places is not None:
                self._is_renewed = places.renew_at(self._place, refusal.status, refusal.body)
            else:
                self._is_renewed = channel.renew(self._model, refusal.status, refusal.body)
            if self._is_renewed:
                return True
        if self._is_translated or self._link.kind.group in COMPLETE_GROUPS:
            return False
        if refusal.status not in _NO_SUCH_PATH and not may_mean_path(refusal):
            return False
        self._is_translated = is_translatable(self._inbound.operation)  # an older version may lack the path
        return self._is_translated


def demand_of(inbound: InferenceRequest) -> Demand:
    """Return what a request brings that matters for loading its model; a guest does not say how long it stays."""
    is_guest = inbound.guest is not None
    return Demand(is_guest=is_guest, keep_alive_s=None if is_guest else inbound.keep_alive_s)
