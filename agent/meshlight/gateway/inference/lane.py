"""Answers ordinary requests at once, in the callbacks of the two connections, without a task.

A request is ordinary when its head is one that the parser has read before (but for the length of the body), its body
is there as a whole, its route follows from tables, and the backend speaks its protocol, or it is translated and wants
a whole answer. Everything else takes the other road, on which nothing has been sent then. Without an idle connection,
it is sent as soon as a new one is there.

The rules are the relay's: it finds the route, reserves it, counts and learns. As soon as anything but a plain answer
comes (no connection, an error, a silence of a second, a client that left or reads too slowly), the request goes on in
a task, from where it is: there is no second set of rules for what can go wrong.
"""

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, ClassVar, Final, Protocol

from meshlight.backends.base import ModelRoute
from meshlight.backends.large_work import LARGE
from meshlight.domain.config import Config
from meshlight.domain.errors import MeshlightError, UpstreamError
from meshlight.domain.operations import OLLAMA_OPERATIONS, Operation
from meshlight.domain.peers import SharingTerms
from meshlight.domain.route_score import RouteScore
from meshlight.gateway.inference.answer_heads import (
    AnswerHead,
    StreamHead,
    TranslatedHead,
    answer_head,
    stream_head,
    translated_head,
)
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.attempt import (
    READ_OPERATIONS,
    SentAttempt,
    StartedResponse,
    body_as_sent,
    demand_of,
)
from meshlight.gateway.inference.begun import Begun
from meshlight.gateway.inference.choice import Choice
from meshlight.gateway.inference.headers import is_page, to_client
from meshlight.gateway.inference.kept_state import STATEFUL, reads_answer
from meshlight.gateway.inference.relay import RECORDED, Relay
from meshlight.gateway.inference.request import (
    JSON,
    VIA,
    InferenceRequest,
    read_head,
    request_header,
    sent_type,
    visited_by,
)
from meshlight.gateway.inference.route_trial import RouteTrial
from meshlight.gateway.inference.sinks import NamedCycle, Renaming
from meshlight.gateway.inference.streaming import SilenceTimer, UsageTap
from meshlight.gateway.inference.timeouts import PROBE_AFTER_S, Cause, FirstByteTimers
from meshlight.gateway.inference.translated_response import (
    TranslatedResponse,
    content_type_of,
    translated_at_once,
)
from meshlight.gateway.inference.upstream_errors import is_plainly_ok
from meshlight.gateway.server.admission import CONNECTION
from meshlight.gateway.server.asgi import ASGIApp, Scope
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.lane import Lane as ConnectionLane
from meshlight.gateway.server.lane import LaneConnection, LaneHead
from meshlight.gateway.server.protocol import FlowControl
from meshlight.gateway.server.request_cycle import OFFER, Answerer, RequestCycle
from meshlight.gateway.translation.base import ResponseTranslator, TranslatedRequest
from meshlight.gateway.translation.ollama.writer import Immediate
from meshlight.gateway.translation.table import translate
from meshlight.http_client.client import Opening, SentRequest, post
from meshlight.http_client.connection import Connection
from meshlight.http_client.known_heads import END, HEAD_BYTES, HeadShape, is_read_as, without_length
from meshlight.http_client.reply import Headers
from meshlight.http_client.response import Push, Response
from meshlight.mesh.backend_connections import BackendConnection

OPERATIONS: Final[Mapping[str, Operation]] = {
    "/v1/chat/completions": "chat/completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages/count_tokens",
    **{f"/{operation}": operation for operation in OLLAMA_OPERATIONS},
}
"""The paths of ordinary requests."""
TRANSLATED: Final = frozenset[Operation]({"messages"})
"""Operations that are translated in the lane, where the backend lacks them."""
HEADS_MAX: Final = 256
"""Heads that are remembered."""
ROUTES_MAX: Final = 2_048
"""Routes that are remembered of all heads together."""
_ODD: Final = frozenset(
    b"origin sec-fetch-site sec-fetch-mode sec-fetch-dest x-meshlight-via content-encoding transfer-encoding expect "
    b"upgrade cookie trailer te proxy-connection keep-alive".split()
)
"""Headers with which a request is not ordinary."""
_UNIQUE: Final = frozenset(
    b"idempotency-key x-idempotency-key traceparent tracestate x-request-id x-client-request-id x-correlation-id "
    b"x-trace-id x-b3-traceid x-b3-spanid b3".split()
)
"""Headers with which a head is like no other one: it is not worth remembering."""


class LaneRoute:
    """How requests with one head go to one backend, while neither its state nor its secret changes."""

    __slots__ = (
        "is_special",
        "is_translated",
        "keeps",
        "link",
        "model_route",
        "score",
        "served_as",
        "start",
        "upstream",
        "version",
    )

    def __init__(
        self,
        score: RouteScore,
        link: BackendConnection,
        start: bytes,
        operation: Operation,
        model_route: ModelRoute | None,
    ) -> None:
        self.model_route = model_route
        """Where the model's own engine is, if it has one."""
        self.upstream = link.upstream if model_route is None else model_route.upstream
        self.served_as = score.model if model_route is None else model_route.model
        """The model's name at its server."""
        self.score = score
        self.link = link
        self.version = link.version
        self.start = start
        """The head of the request, up to the length of its body."""
        self.is_translated = not link.speaks(operation, score.model)
        self.keeps = link.kind.group not in RECORDED and operation in STATEFUL
        """Whether the backend may keep what an answer names."""
        self.is_special = self.is_translated or self.keeps

    def is_odd(self, inbound: InferenceRequest) -> bool:
        """Whether a request goes there in a task, for the answer that it wants."""
        if self.is_translated:
            return inbound.head.stream or bool(self.link.declined_fields)
        return self.keeps and reads_answer(inbound)


class Doorkeeper(Protocol):
    """Who lets requests through."""

    def admits(self, scope: Scope, settings: Config, /) -> bool | None:
        """Whether a request of known size shows the key; None if it is not let through."""


class KnownHead(LaneHead):
    """A head that was read before, and what follows from it."""

    __slots__ = (
        "headers",
        "is_read",
        "needs_look",
        "operation",
        "routes",
        "settings",
        "shape",
        "visited",
    )

    def __init__(self, scope: Scope, operation: Operation) -> None:
        super().__init__(scope)
        self.shape: HeadShape | None = None
        """None for one that is not remembered."""
        self.operation = operation
        self.needs_look = operation in OLLAMA_OPERATIONS
        """Whether its requests go through `Lane.look_into`: in Ollama's API, models have further names."""
        self.is_read = self.needs_look or operation in READ_OPERATIONS
        """Whether something of the body may have to change."""
        self.headers = scope["headers"]
        self.visited = visited_by(request_header(scope["headers"], VIA))
        self.settings: Config | None = None
        """The configuration under which the guard let it through."""
        self.routes: dict[str, LaneRoute] = {}
        """By the id of the backend."""


class Lane(ConnectionLane[KnownHead]):
    """Begins what is ordinary; see above. `settings` returns the configuration in force."""

    odd: ClassVar[frozenset[bytes]] = _ODD
    """Headers with which a request is not ordinary."""
    translates: ClassVar[bool] = True
    """Whether it translates."""
    is_guests: ClassVar[bool] = False
    """Whether its requests come from a peer."""

    def __init__(
        self, guard: Doorkeeper, inference: Inference, relay: Relay, settings: Callable[[], Config]
    ) -> None:
        self._guard = guard
        self.inference = inference
        self.relay = relay
        self._settings = settings
        self._last: KnownHead | None = None
        """The one that came last, which mostly comes again."""
        self.heads: dict[bytes, KnownHead] = {}
        """The heads that were read before, by their bytes without the length of the body."""
        self._routes = 0
        """How many routes of them were remembered."""
        self.guest: SharingTerms | None = None
        """The peer whose request begins; None for own programs."""
        self.begun = 0
        """Requests that were sent without a task."""
        self.handed_over = 0
        """Those of them that went on in a task."""

    def forget_heads(self) -> None:
        """Have the guard look at every head again: another key opens the service now."""
        self.heads.clear()
        self._last = None

    def find(self, data: bytes) -> tuple[KnownHead, int] | None:
        """Return the head that `data` begins with, if it is known, and where its body begins, which is all there."""
        last = self._last
        if last is not None and last.shape is not None and last.settings is self._settings():
            start, length = last.shape.body(data)
            if start:
                return (last, start) if len(data) == start + length else None
        end = data.find(END)
        found = without_length(data, end)
        start = end + len(END)
        if found is None or len(data) != start + found[1]:
            return None
        head = self.heads.get(found[0])
        if head is None or not self._admits(found[0], head):
            return None
        self._last = head
        return head, start

    def find_begun(self, data: bytes) -> tuple[KnownHead, int, int] | None:
        """Return the head that `data` begins with, if it is known, and what is there and missing of a small body."""
        end = data.find(END)
        found = without_length(data, end)
        start = end + len(END)
        if found is None or not len(data) - start < found[1] <= LARGE:
            return None
        head = self.heads.get(found[0])
        if head is None or not self._admits(found[0], head):
            return None
        return head, start, start + found[1] - len(data)

    def _admits(self, known_as: bytes, head: KnownHead) -> bool:
        """Whether there is a lane, and the guard lets a known head through as things are; else it is forgotten."""
        settings = self._settings()
        if head.settings is settings or not settings.lane:
            return settings.lane
        shows_key = self._guard.admits(head.scope, settings)
        if shows_key is None:
            del self.heads[known_as]
            self._last = None
            return False
        head.settings, head.shows_key = settings, shows_key
        return True

    def look_at(self, scope: Scope, data: bytes) -> KnownHead | None:
        """Return the head of an ordinary request that the guard lets through, and know it the next time."""
        operation = OPERATIONS.get(scope["path"])
        settings = self._settings()
        if operation is None or not settings.lane or not _is_ordinary(scope, self.odd):
            return None
        shows_key = self._guard.admits(scope, settings)
        if shows_key is None:
            return None
        # Without what belongs to this one request, which would stay as long as the head does.
        own: Scope = {"headers": tuple(scope["headers"]), "state": {}, "extensions": {}}
        head = KnownHead({**scope, **own}, operation)
        head.settings, head.shows_key = settings, shows_key
        end = data.find(END, 0, HEAD_BYTES)
        found = without_length(data, end)
        if found is None or not _is_read_as(data[:end], scope) or not _UNIQUE.isdisjoint(dict(head.headers)):
            return head
        if len(self.heads) >= HEADS_MAX:
            self.forget_heads()
        head.shape = HeadShape(found[0])
        return self.heads.setdefault(found[0], head)

    def begin(self, head: KnownHead, body: bytes, cycle: RequestCycle, connection: LaneConnection) -> bool:
        """Send a request on; False if it is not for the lane, and nothing was sent."""
        relay = self.relay
        try:
            fields = read_head(body, JSON, is_guest=self.is_guests)
            inbound = InferenceRequest(
                operation=head.operation,
                target=head.scope["path"],
                headers=head.headers,
                content_type=JSON,
                body=body,
                head=fields,
                visited=head.visited,
                guest=self.guest,
            )
            if head.needs_look:
                looked_at = self.look_into(head, inbound)
                if looked_at is None:
                    return False
                inbound = looked_at
            found = relay.at_once(inbound)
            if found is None:
                return False
            score = found.score if isinstance(found, Choice) else found
            route = head.routes.get(score.backend)
            if route is None or route.score is not score or route.version != route.link.version:
                route = self._route(head, score, inbound)
            elif route.model_route is not None:
                route = self._looked_up(head, route, inbound)
            if route is None or len(body) > LARGE or (route.is_special and route.is_odd(inbound)):
                return False
            link, translation = route.link, None
            is_same = route.is_translated or route.served_as == fields.model
            sent = body
            if route.is_translated:
                translation = _translate(inbound, route)
                sent = translation.body
            elif head.is_read or not is_same:
                sent = body_as_sent(inbound, route.served_as, link)
            request = self.make_request(
                cycle if is_same else NamedCycle(cycle, Renaming(route.served_as, fields.model)),
                connection,
            )
            request.translation = translation
            upstream = route.upstream.send_at_once(route.start, sent, request)
        except Exception:  # noqa: BLE001 - the other road says what is wrong, be it a fault of ours
            return False
        if route.model_route is not None:
            request.model_route = route.model_route
        trial = relay.begin(inbound, found, link)
        if upstream is None:
            request.open(route, sent)
        request.begin(trial, upstream)
        self.begun += 1
        return True

    def _looked_up(self, head: KnownHead, route: LaneRoute, inbound: InferenceRequest) -> LaneRoute | None:
        """Return the route to a model of this machine: another one for a new engine, None if there is none."""
        on_demand, model = route.link.on_demand, route.score.model
        if on_demand is not None and on_demand.route_now(model, demand_of(inbound)) is route.model_route:
            return route
        return self._route(head, route.score, inbound)

    def look_into(self, head: KnownHead, inbound: InferenceRequest) -> InferenceRequest | None:  # noqa: ARG002 - for peers' requests
        """Return a request as it is meant; None if it is not for the lane. Raises what reading it raises."""
        return self.inference.ollama.at_once(inbound)

    def _route(self, head: KnownHead, score: RouteScore, inbound: InferenceRequest) -> LaneRoute | None:
        """Return how a request goes to a backend, and remember it; None if it does not go there by the lane."""
        link = self.relay.link_of(score)
        is_translated = not link.speaks(head.operation, score.model)
        if (
            score.place
            or (link.has_routes and link.on_demand is None)
            or (is_translated and not self._translates(head, link))
            or link.backend.first_byte_s < PROBE_AFTER_S
        ):
            return None
        model_route = None
        if link.on_demand is not None:
            model_route = link.on_demand.route_now(score.model, demand_of(inbound))
            if model_route is None:
                return None
        made = self.relay.build(inbound, score.model, link, model_route, translated=is_translated)
        start = made.upstream.start_of_post(made.target, made.headers)
        if self._routes >= ROUTES_MAX:
            self._routes = 0
            for known in self.heads.values():
                known.routes.clear()
        self._routes += score.backend not in head.routes
        route = head.routes[score.backend] = LaneRoute(score, link, start, head.operation, model_route)
        return route

    def make_request(self, cycle: RequestCycle | NamedCycle, connection: LaneConnection) -> "LaneRequest":
        """Return what carries one request."""
        return LaneRequest(self, cycle, connection)

    def _translates(self, head: KnownHead, link: BackendConnection) -> bool:
        """Whether requests of an operation that a backend lacks are for the lane; not where that is news of it."""
        return self.translates and head.operation in TRANSLATED and not link.kind.speaks(head.operation)


class LaneRequest(Answerer):
    """One request in the lane: it listens to a backend's connection, and is a `Waiting` until its first byte."""

    __slots__ = (
        "_connection",
        "_cycle",
        "_is_over",
        "_lane",
        "_opening",
        "_relay",
        "_response",
        "_silence",
        "_since",
        "_started",
        "_tap",
        "_timers",
        "_trial",
        "_upstream",
        "model_route",
        "translation",
    )

    _trial: RouteTrial
    _upstream: Connection
    _timers: FirstByteTimers

    is_guests: ClassVar[bool] = False
    """Whether it came from a peer."""

    def __init__(self, lane: Lane, cycle: RequestCycle | NamedCycle, connection: LaneConnection) -> None:
        self._lane = lane
        self._relay = lane.relay
        self._cycle = cycle
        self._connection = connection
        self.model_route: ModelRoute | None = None
        self._opening: Opening | None = None
        """The connection that is opened for it."""
        self.translation: TranslatedRequest | None = None
        """What was sent, if it was translated."""
        self._response: Response | None = None
        self._started: StartedResponse | None = None
        self._tap: UsageTap | None = None
        self._silence: SilenceTimer | None = None
        self._is_over = False

    def open(self, route: LaneRoute, body: bytes) -> None:
        """Send the request as soon as there is a new connection."""
        self._opening = opening = route.upstream.open_at_once()
        opening.then(partial(self._opened, opening, route, body))

    def begin(self, trial: RouteTrial, upstream: Connection | None) -> None:
        """Wait for the first byte, which comes on `upstream`, if that is there already."""
        self._trial = trial
        if upstream is not None:
            self._upstream = upstream
        self._own_cycle().answerer = self
        self._timers = timers = self._relay.timers or self._relay.first_timers()
        self._since = now = timers.loop.time()
        timers.add(self, now)

    def _to_client(self, headers: Headers, extra: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return to_client(headers, extra)

    def _own_cycle(self) -> RequestCycle:
        """Return the request's own cycle, whatever its answer is passed through."""
        return self._cycle.cycle if isinstance(self._cycle, NamedCycle) else self._cycle

    @property
    def leaves(self) -> tuple[str, str] | None:
        """Where it waits, if it may leave when that falls."""
        return self._relay.leaves(self._trial)

    def _opened(self, opening: Opening, route: LaneRoute, body: bytes) -> None:
        """Send the request; without a connection, leave it to a task, which finds out why there is none.

        So does one whose backend has another key by now: the task builds it anew.
        """
        if self._is_over:
            return
        upstream = opening.connection
        if upstream is None or not upstream.is_usable or route.version != route.link.version:
            self._go_on()
            return
        self._opening = None
        self._upstream = upstream
        post(upstream, route.start, body, self, monotonic())

    # Called by the backend's connection.

    def set_result(self, response: Response, /) -> None:
        """The response's head has come; its body, or the beginning of it, perhaps with it."""
        self._response = response
        response.listener = self

    def set_exception(self, error: UpstreamError, /) -> None:
        """There will be no response."""
        self._go_on(error=error)

    def done(self) -> bool:
        """Whether the response is not waited for any more."""
        return self._is_over

    # Called by the client's connection.

    def client_left(self) -> None:
        """Nobody waits for the answer any more."""
        self._go_on()

    # Called by the timers, and by the relay when the backend falls.

    def check(self) -> None:
        """The first byte has not come within a second."""
        self._go_on()

    def fire(self, cause: Cause) -> None:
        """The wait is over."""
        self._go_on(cause)

    def arrived(self) -> None:
        """Pass on what has come, or leave it to a task if that is not plain."""
        response = self._response
        if response is None or self._is_over:
            return
        try:
            if self._tap is None:
                self._first(response)
            else:
                self._next(response, self._tap)
        except Exception as error:  # noqa: BLE001 - it must not end the backend's connection, and the client be told
            self._fail(error)

    def _first(self, response: Response) -> None:
        first = response.arrived()
        is_complete = response.is_complete
        if not (first or is_complete or response.has_failed):
            return
        trial, known = self._trial, response.known
        if self.translation is not None:
            if not (is_complete and self._translated(response, self.translation, first)):
                self._go_on()
            return
        if known is not None and not self.is_guests:
            ready = known.made.get(trial.inbound.operation)
            if isinstance(ready, AnswerHead):
                if is_complete and is_plainly_ok(first) and self._cycle.can_answer:
                    self._answer(response, ready, first)
                    return
            elif isinstance(ready, StreamHead) and self._stream_as_before(response, ready, first):
                return
        if _is_plain(response, first) and self._cycle.has_room:
            self._start(response, first)
        else:
            self._go_on()

    def _start(self, response: Response, first: bytes) -> None:
        """Pass on the beginning of an answer, which may be all of it."""
        trial, known, is_complete = self._trial, response.known, response.is_complete
        self._timers.discard(self)
        started = StartedResponse(response, response.take())
        if self.model_route is not None:
            started = self._relay.started_at(trial, started, self.model_route)
        self._started = started
        extra = self._relay.record_start(trial, started)
        if self.is_guests or not self._cycle.can_answer:
            known = None  # what is made of it is for own programs, under the model's own name
        if trial.link.kind.group not in RECORDED:
            self._relay.learn_kept(trial, first)
            known = None  # each of its answers is looked at
        self._tap = tap = UsageTap()
        cycle = self._cycle
        head = cycle.start(200, self._to_client(response.headers, extra))
        if is_complete:
            self._end(tap, first)
        if known is not None and (known.is_chunked or is_complete):
            own_id, why = dict(extra).get(b"x-request-id", b""), _why(trial)
            known.made[trial.inbound.operation] = (
                stream_head(head, own_id, why)
                if known.is_chunked
                else answer_head(head, len(first), own_id, why)
            )
        if is_complete:
            return
        tap.feed(first)
        cycle.offer(first)
        self._stream(response, tap)

    def _stream_as_before(self, response: Response, head: StreamHead, first: bytes) -> bool:
        """Pass on the beginning of a stream whose head is like one that was sent before; False if it is not plain."""
        if response.has_failed or not (is_plainly_ok(first) and self._cycle.can_answer):
            return False
        trial, relay = self._trial, self._relay
        self._timers.discard(self)
        relay.note_start(trial, response, first)
        self._cycle.start_chunks(head.written(_why(trial)))
        if response.is_complete:
            self._end(UsageTap(), first)
            return True
        started = StartedResponse(response, response.take())
        if self.model_route is not None:
            started = relay.started_at(trial, started, self.model_route)
        self._started = started
        self._tap = tap = UsageTap()
        tap.feed(first)
        self._cycle.offer(first)
        self._stream(response, tap)
        return True

    def _stream(self, response: Response, tap: UsageTap) -> None:
        """Pass on what comes next, as long as the backend is not silent for too long."""
        relay = self._relay
        self._silence = SilenceTimer(relay.silences, self._timers.loop, self._trial.link.backend.idle_s, self)
        self._silence.begin()
        way = self._cycle.chunk_way()
        if way is not None:
            response.on_chunk = _passing(*way, tap, self._silence)

    def _answer(self, response: Response, head: AnswerHead, body: bytes) -> None:
        """Pass on a whole answer whose head is like one that was sent before."""
        trial, relay = self._trial, self._relay
        self._stop()
        relay.note_start(trial, response, body)
        self._cycle.answer(head.written(len(body), _why(trial)), body)
        relay.end(trial, relay.record_end(trial, 200, UsageTap(body), trial.ticket.first_byte_s))

    def _translated(self, response: Response, translation: TranslatedRequest, body: bytes) -> bool:
        """Pass on a whole answer translated; False, and nothing was sent or counted, if that is not plain."""
        trial, relay, known, back = self._trial, self._relay, response.known, translation.back
        operation = trial.inbound.operation
        ready = known.made.get(operation) if known is not None and self._is_usual(translation) else None
        if not self._cycle.can_answer or not is_plainly_ok(body):
            return False
        if isinstance(ready, TranslatedHead):
            translated = self._whole(back, ready.content_type, body)
            if not translated:
                return False
            self._stop()
            relay.note_start(trial, response, translated)
            self._cycle.answer(
                ready.written(_why(trial)), b"%x\r\n%b\r\n0\r\n\r\n" % (len(translated), translated)
            )
            relay.end(trial, relay.record_end(trial, 200, UsageTap(translated)))
            return True
        if not _is_plain(response, body):
            return False
        content_type = content_type_of(response.headers)
        translated = self._whole(back, content_type, body)
        if not translated:
            return False
        response.take()
        self._timers.discard(self)
        answer = TranslatedResponse(response, back)
        started = StartedResponse(answer, translated, back, translation.dropped)
        if self.model_route is not None:
            started = relay.started_at(trial, started, self.model_route)
        extra = relay.record_start(trial, started)
        head = self._cycle.start(200, self._to_client(answer.headers, extra))
        self._end(UsageTap(), translated)
        if known is not None and self._is_usual(translation):
            own_id = dict(extra).get(b"x-request-id", b"")
            known.made[operation] = translated_head(head, own_id, _why(trial), content_type)
        return True

    def _is_usual(self, translation: TranslatedRequest) -> bool:
        """Whether the head of a translated answer tells nothing but what it tells of each."""
        score = self._trial.score
        return not (translation.dropped or self.is_guests) and self._trial.inbound.head.model == score.model

    def _whole(self, back: ResponseTranslator, content_type: bytes, body: bytes) -> bytes:
        """Return a whole answer translated; empty for one that the other road translates anew, in pieces."""
        try:
            return translated_at_once(back, content_type, body)
        except MeshlightError:  # the other road tells the client
            return b""

    def _next(self, response: Response, tap: UsageTap) -> None:
        if response.has_failed or not self._cycle.has_room:
            self._go_on()
            return
        piece = response.take()
        if response.is_complete:
            self._end(tap, piece)
        elif piece:
            self._cycle.offer(piece)
            tap.feed(piece)
            if self._silence is not None:
                self._silence.begin()

    def _end(self, tap: UsageTap, last: bytes) -> None:
        """Pass on the last piece, and count."""
        self._stop()
        tap.feed(last)
        self._cycle.end(last)
        trial = self._trial
        self._relay.end(trial, self._relay.record_end(trial, 200, tap))

    def _go_on(self, cause: Cause | None = None, error: UpstreamError | None = None) -> None:
        """Leave the request to a task."""
        if self._is_over:
            return
        self._stop()
        response, sent = self._response, None
        if self._opening is not None:
            sent = SentAttempt(self._opening, self.model_route, is_translated=self.translation is not None)
        elif self._tap is None:
            waiter = self._upstream.loop.create_future()
            sent = SentAttempt(
                SentRequest(self._upstream, waiter),
                self.model_route,
                is_translated=self.translation is not None,
            )
            if error is not None:
                waiter.set_exception(error)
            elif response is not None:
                waiter.set_result(response)
            else:
                self._upstream.wait_instead(waiter)
        cycle, connection = self._cycle, self._connection
        renaming = None
        if isinstance(cycle, NamedCycle):
            renaming = cycle.renaming
            cycle = cycle.cycle
        begun = Begun(
            trial=self._trial,
            since=self._since,
            sent=sent,
            started=self._started,
            tap=self._tap,
            cause=cause,
            renaming=renaming,
        )
        self._lane.handed_over += 1
        extensions: Any = {
            DISCONNECT: connection.disconnect,
            OFFER: cycle.offer,
            CONNECTION: connection,
        }
        cycle.scope = {**cycle.scope, "extensions": extensions}
        connection.carry_on(cycle, self.resuming(begun))

    def resuming(self, begun: Begun) -> ASGIApp:
        """Return what goes on with the request in a task."""
        return partial(self._lane.inference.resume, begun)

    def _fail(self, error: Exception) -> None:
        """Count a fault of ours, and have the client told of it."""
        if not self._is_over:
            self._stop()
        if self._response is not None:
            self._response.abort()
        self._relay.end(self._trial, "failed")
        cycle = self._own_cycle()
        self._connection.carry_on(cycle, partial(self._lane.inference.fail, error))

    def _stop(self) -> None:
        """Let go of all that could call, and holds this object: see `RequestCycle.run`."""
        self._is_over = True
        self._timers.discard(self)
        if self._response is not None:
            self._response.listener = self._response.on_chunk = None
        self._own_cycle().answerer = None
        if self._silence is not None:
            self._silence.close()
            self._silence = None


def _is_plain(response: Response, body: bytes) -> bool:
    """Whether an answer, as far as it is there, is a good one beyond doubt."""
    return (
        response.status == 200
        and not response.has_failed
        and not is_page(response.headers)
        and is_plainly_ok(body)
    )


def _passing(flow: FlowControl, write: Callable[[bytes], None], tap: UsageTap, silence: SilenceTimer) -> Push:
    """Return what passes whole chunks on as they come, with as few steps as that can have."""
    feed, begin = tap.feed, silence.begin

    def push(piece: bytes, chunk: bytes) -> bool:
        if flow.write_paused:
            return False
        write(chunk)
        feed(piece)
        begin()
        return True

    return push


def _translate(inbound: InferenceRequest, route: LaneRoute) -> TranslatedRequest:
    """Return a request in the backend's protocol; raises TypeError where no backend is needed for it."""
    made = translate(inbound.operation, inbound.body, route.served_as, route.link.kind)
    if isinstance(made, Immediate):
        raise TypeError("This has an answer of our own.")
    return made


def _why(trial: RouteTrial) -> bytes:
    """Return the header that says why a backend was chosen, as it is sent; empty without a choice."""
    return b"" if trial.choice is None else b"%b: %b\r\n" % trial.choice.header(is_first=True)


def _is_ordinary(scope: Scope, odd: frozenset[bytes]) -> bool:
    """Whether a head asks for nothing but an answer, with JSON, on a connection that stays open."""
    if scope["method"] != "POST" or scope["http_version"] != "1.1" or scope["query_string"]:
        return False
    headers = dict(scope["headers"])
    if not odd.isdisjoint(headers) or b"content-length" not in headers:
        return False
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return False
    try:
        return sent_type(headers.get(b"content-type", b""), OPERATIONS[scope["path"]]) == JSON
    except MeshlightError:
        return False


def _is_read_as(head: bytes, scope: Scope) -> bool:
    """Whether a head is what the parser made of it."""
    if not head.startswith(b"POST %b HTTP/1.1\r\n" % scope["raw_path"]):
        return False
    return scope["raw_path"] == scope["path"].encode() and is_read_as(head, scope["headers"])
