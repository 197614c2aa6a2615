"""Answers ordinary requests at once, in the callbacks of the two connections, without a task.

A request is ordinary when its head is one that the parser has read before (but for the length of the body), its body
is there as a whole, its route follows from tables, and the backend speaks its protocol and has an idle connection.
Everything else takes the other road, on which nothing has been sent then.

The rules are the relay's: it finds the route, reserves it, counts and learns. As soon as anything but a plain answer
comes (an error, a silence of a second, a client that left or reads too slowly), the request goes on in a task, from
where it is: there is no second set of rules for what can go wrong.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from meshlight.backends.large_work import LARGE
from meshlight.domain.config import Config
from meshlight.domain.errors import MeshlightError, UpstreamError
from meshlight.domain.operations import Operation
from meshlight.domain.routing import RouteScore
from meshlight.gateway.access.guard import Guard
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.attempt import StartedResponse, body_as_sent
from meshlight.gateway.inference.headers import is_page, to_client
from meshlight.gateway.inference.kept_state import STATEFUL
from meshlight.gateway.inference.relay import RECORDED, Begun, Relay, RouteTrial
from meshlight.gateway.inference.request import JSON, InferenceRequest, read_head, sent_type
from meshlight.gateway.inference.streaming import SilenceTimer, UsageTap
from meshlight.gateway.inference.timeouts import PROBE_AFTER_S, Cause, FirstByteTimers, Waiting
from meshlight.gateway.inference.upstream_errors import is_plainly_ok
from meshlight.gateway.server.admission import CONNECTION
from meshlight.gateway.server.asgi import Scope
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.lane import LaneConnection
from meshlight.gateway.server.request_cycle import OFFER, RequestCycle
from meshlight.http_client.client import SentRequest
from meshlight.http_client.connection import Connection
from meshlight.http_client.response import Response
from meshlight.mesh.backend_connections import BackendConnection

OPERATIONS: Mapping[str, Operation] = {
    "/v1/chat/completions": "chat/completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
}
"""The paths of ordinary requests."""
HEADS_MAX = 256
"""Heads that are remembered."""
HEAD_BYTES = 4_096
_LENGTH = b"ength: "
"""What stands before the length of a body, in whatever case its name begins."""
_LENGTH_LINE = b"\r\ncontent-length: "
_DIGITS_MAX = 6
_ZERO = ord("0")
_ODD = frozenset(
    b"origin sec-fetch-site sec-fetch-mode sec-fetch-dest x-meshlight-via content-encoding transfer-encoding expect "
    b"upgrade cookie trailer te proxy-connection keep-alive".split()
)
"""Headers with which a request is not ordinary."""
_UNIQUE = frozenset(
    b"idempotency-key x-idempotency-key traceparent tracestate x-request-id x-client-request-id x-correlation-id "
    b"x-trace-id x-b3-traceid x-b3-spanid b3".split()
)
"""Headers with which a head is like no other one: it is not worth remembering."""


class KnownHead:
    """A head that was read before, and what follows from it."""

    __slots__ = (
        "_backend",
        "_link",
        "_start",
        "_template",
        "headers",
        "operation",
        "scope",
        "settings",
        "shows_key",
    )

    def __init__(self, scope: Scope, operation: Operation) -> None:
        self.scope = scope
        self.operation = operation
        self.headers = scope["headers"]
        self.settings: Config | None = None
        """The configuration under which the guard let it through."""
        self.shows_key = False
        self._link: BackendConnection | None = None
        self._template: object = None
        self._backend: object = None
        self._start = b""

    def start_for(
        self, link: BackendConnection, relay: Relay, inbound: InferenceRequest, model: str
    ) -> bytes:
        """Return the head of the request to a backend, up to the length of its body."""
        template = link.template(self.operation)
        if self._link is not link or self._template is not template or self._backend is not link.backend:
            made = relay.build(inbound, model, link)
            self._start = made.upstream.start_of_post(made.target, made.headers)
            self._link, self._template, self._backend = link, template, link.backend
        return self._start


class Lane:
    """Begins what is ordinary; see above. `settings` returns the configuration in force."""

    def __init__(self, guard: Guard, inference: Inference, settings: Callable[[], Config]) -> None:
        self._guard = guard
        self.inference = inference
        self.relay = inference.relay
        self._settings = settings
        self._in_force = Config()
        self.heads: dict[bytes, KnownHead] = {}
        """The heads that were read before, by their bytes without the length of the body."""
        self.begun = 0
        """Requests that were sent without a task."""
        self.handed_over = 0
        """Those of them that went on in a task."""

    def is_on(self) -> bool:
        """Whether the configuration in force has the lane; asked before anything else, for each request."""
        self._in_force = settings = self._settings()
        return settings.lane

    def forget_heads(self) -> None:
        """Have the guard look at every head again: another key opens the service now."""
        self.heads.clear()

    def find(self, data: bytes, end: int) -> KnownHead | None:
        """Return the head that `data` begins with, if it is known and the rest is its whole body."""
        found = _without_length(data, end)
        if found is None or len(data) != end + 4 + found[1]:
            return None
        head = self.heads.get(found[0])
        if head is None:
            return None
        settings = self._in_force
        if head.settings is not settings:
            shows_key = self._guard.admits(head.scope, settings)
            if shows_key is None:
                del self.heads[found[0]]
                return None
            head.settings, head.shows_key = settings, shows_key
        return head

    def look_at(self, scope: Scope, data: bytes) -> KnownHead | None:
        """Return the head of an ordinary request that the guard lets through, and know it the next time."""
        operation = OPERATIONS.get(scope["path"])
        settings = self._in_force
        if operation is None or not _is_ordinary(scope):
            return None
        shows_key = self._guard.admits(scope, settings)
        if shows_key is None:
            return None
        head = KnownHead({**scope, "headers": tuple(scope["headers"]), "state": {}}, operation)
        head.settings, head.shows_key = settings, shows_key
        end = data.find(b"\r\n\r\n", 0, HEAD_BYTES)
        found = _without_length(data, end)
        if found is None or not _is_read_as(data[:end], scope) or not _UNIQUE.isdisjoint(dict(head.headers)):
            return head
        if len(self.heads) >= HEADS_MAX:
            self.heads.clear()
        return self.heads.setdefault(found[0], head)

    def begin(self, head: KnownHead, body: bytes, cycle: RequestCycle, connection: LaneConnection) -> bool:
        """Send a request on; False if it is not for the lane, and nothing was sent."""
        relay = self.relay
        try:
            fields = read_head(body, JSON)
            inbound = InferenceRequest(
                operation=head.operation,
                target=head.scope["path"],
                headers=head.headers,
                content_type=JSON,
                body=body,
                head=fields,
            )
            found = relay.at_once(inbound)
            if found is None:
                return False
            score = found if isinstance(found, RouteScore) else found.score
            model = score.model
            if model != fields.model or score.place or len(body) > LARGE:
                return False
            link = relay.link_of(score)
            if (
                link.channel is not None
                or (link.kind.group not in RECORDED and head.operation in STATEFUL)
                or not link.speaks(head.operation, model)
                or link.backend.first_byte_s < PROBE_AFTER_S
            ):
                return False
            start = head.start_for(link, relay, inbound, model)
            sent = body_as_sent(inbound, model, link)
            request = LaneRequest(self, cycle, connection)
            upstream = link.upstream.send_at_once(start, sent, request)
        except MeshlightError:  # the other road says what is wrong
            return False
        if upstream is None:
            return False
        request.begin(relay.begin(inbound, found, link), upstream)
        self.begun += 1
        return True


class LaneRequest:
    """One request in the lane: the `Waiter` of a backend's connection, and a `Waiting` until its first byte."""

    __slots__ = (
        "_connection",
        "_cycle",
        "_is_over",
        "_lane",
        "_relay",
        "_response",
        "_silence",
        "_since",
        "_started",
        "_tap",
        "_timers",
        "_trial",
        "_upstream",
        "_waiting",
    )

    _trial: RouteTrial
    _upstream: Connection
    _timers: FirstByteTimers

    def __init__(self, lane: Lane, cycle: RequestCycle, connection: LaneConnection) -> None:
        self._lane = lane
        self._relay = lane.relay
        self._cycle = cycle
        self._connection = connection
        self._response: Response | None = None
        self._started: StartedResponse | None = None
        self._tap: UsageTap | None = None
        self._silence: SilenceTimer | None = None
        self._waiting: set[Waiting] | None = None
        self._is_over = False
        self._since = 0.0

    def begin(self, trial: RouteTrial, upstream: Connection) -> None:
        """Wait for the first byte."""
        self._trial = trial
        self._upstream = upstream
        self._connection.disconnect.add(self._go_on)
        self._timers, self._waiting = self._relay.wait_of(trial)
        self._since = now = self._timers.loop.time()
        self._timers.add(self, now)
        if self._waiting is not None:
            self._waiting.add(self)

    # Called by the backend's connection.

    def set_result(self, response: Response, /) -> None:
        """The response's head has come; its body, or the beginning of it, perhaps with it."""
        self._response = response
        response.on_arrival = self._arrived

    def set_exception(self, error: UpstreamError, /) -> None:
        """There will be no response."""
        self._go_on(error=error)

    def done(self) -> bool:
        """Whether the response is not waited for any more."""
        return self._is_over

    def cancelled(self) -> bool:
        """Never: who takes over waits instead."""
        return False

    # Called by the timers, and by the relay when the backend falls.

    def check(self) -> None:
        """The first byte has not come within a second."""
        self._go_on()

    def fire(self, cause: Cause) -> None:
        """The wait is over."""
        self._go_on(cause)

    def _arrived(self) -> None:
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
        if (
            response.status != 200
            or response.has_failed
            or is_page(response.headers)
            or not is_plainly_ok(first)
            or not self._cycle.has_room
        ):
            self._go_on()
            return
        self._end_wait()
        self._started = started = StartedResponse(response, response.take())
        headers = to_client(response.headers, self._relay.record_start(self._trial, started))
        self._tap = tap = UsageTap()
        cycle = self._cycle
        cycle.start(200, headers)
        if is_complete:
            self._end(tap, first)
            return
        tap.feed(first)
        cycle.offer(first)
        self._silence = SilenceTimer(self._trial.link.backend.idle_s, self)
        self._silence.begin()

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
        if self._tap is None:
            waiter = self._upstream.loop.create_future()
            sent = SentRequest(self._upstream, waiter)
            if error is not None:
                waiter.set_exception(error)
            elif response is not None:
                waiter.set_result(response)
            else:
                self._upstream.wait_instead(waiter)
        begun = Begun(
            trial=self._trial,
            since=self._since,
            sent=sent,
            started=self._started,
            tap=self._tap,
            cause=cause,
        )
        self._lane.handed_over += 1
        cycle, connection = self._cycle, self._connection
        extensions: Any = {
            DISCONNECT: connection.disconnect,
            OFFER: cycle.offer,
            CONNECTION: connection,
        }
        cycle.scope = {**cycle.scope, "extensions": extensions}
        connection.carry_on(cycle, partial(self._lane.inference.resume, begun))

    def _fail(self, error: Exception) -> None:
        """Count a fault of ours, and have the client told of it."""
        if not self._is_over:
            self._stop()
        if self._response is not None:
            self._response.abort()
        self._relay.end(self._trial, "failed")
        self._connection.carry_on(self._cycle, partial(self._lane.inference.fail, error))

    def _end_wait(self) -> None:
        self._timers.waits.pop(self, None)
        if self._waiting is not None:
            self._waiting.discard(self)
            self._waiting = None

    def _stop(self) -> None:
        """Let go of all that could call."""
        self._is_over = True
        if self._tap is None:
            self._end_wait()
        if self._response is not None:
            self._response.on_arrival = None  # which holds this object: see `RequestCycle.run`
        self._connection.disconnect.discard(self._go_on)
        if self._silence is not None:
            self._silence.end()
            self._silence = None


def _without_length(data: bytes, end: int) -> tuple[bytes, int] | None:
    """Return a head without the length of its body, and that; None where it stands in no usual way."""
    if not 0 < end < HEAD_BYTES:
        return None
    begins = data.find(_LENGTH, 0, end) + len(_LENGTH)
    ends = data.find(b"\r\n", begins, end + 2)
    if begins < len(_LENGTH) or ends < 0:
        return None
    digits = data[begins:ends]
    if not digits.isdigit() or digits[0] == _ZERO or len(digits) > _DIGITS_MAX:
        return None
    return data[:begins] + data[ends:end], int(digits)


def _is_ordinary(scope: Scope) -> bool:
    """Whether a head asks for nothing but an answer, with JSON, on a connection that stays open."""
    if scope["method"] != "POST" or scope["http_version"] != "1.1" or scope["query_string"]:
        return False
    headers = dict(scope["headers"])
    if not _ODD.isdisjoint(headers) or b"content-length" not in headers:
        return False
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return False
    try:
        return sent_type(headers.get(b"content-type", b""), OPERATIONS[scope["path"]]) == JSON
    except MeshlightError:
        return False


def _is_read_as(head: bytes, scope: Scope) -> bool:
    """Whether the lines of a head are what the parser made of it, and the body's length is where it is looked for."""
    first, *lines = head.split(b"\r\n")
    if first != b"POST %b HTTP/1.1" % scope["raw_path"] or scope["raw_path"] != scope["path"].encode():
        return False
    read = []
    for line in lines:
        name, _, value = line.partition(b":")
        read.append((name.lower(), value.strip(b" \t")))
    if read != list(scope["headers"]):
        return False
    before = head[: head.find(_LENGTH) + len(_LENGTH)].lower()
    return before.endswith(_LENGTH_LINE)
