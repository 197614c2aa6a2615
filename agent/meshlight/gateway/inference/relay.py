"""Carries a request to a backend: ranks its routes, tries them in order, and passes the first good answer on.

Routes to backends that lack the requested path are left out. When another route may be tried is `retry_policy`'s
decision. What each attempt shows of a backend is recorded in the registry, and the backend probed soon if it failed.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from meshlight.backends.kinds import KINDS
from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import MeshlightError, Paused, RoutingLoop
from meshlight.domain.fair_queue import Route
from meshlight.domain.health import Broke, Fact, Served
from meshlight.domain.operations import Operation
from meshlight.domain.peers import may_use, own_id
from meshlight.domain.routing import Ranking, RouteScore, load_key, rank
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.gateway.inference.attempt import StartedResponse, open_route
from meshlight.gateway.inference.failures import FailedAttempt
from meshlight.gateway.inference.headers import dropped, request_id, to_client
from meshlight.gateway.inference.queue import ModelQueue, Place
from meshlight.gateway.inference.request import HOPS, InferenceRequest, request_header
from meshlight.gateway.inference.retry_policy import EXTRA_ATTEMPTS, RetryBudget, allows_next, policy_for
from meshlight.gateway.inference.route_errors import (
    all_busy,
    final_error,
    final_guest_error,
    final_refusal,
    for_guest,
    no_guest_route,
    no_route,
    nothing_shared,
)
from meshlight.gateway.inference.sinks import NamedSink, RecordingSink, Sink
from meshlight.gateway.inference.streaming import StreamAborted, UsageTap, stream_response
from meshlight.gateway.inference.timeouts import Cancellation, FirstByteTimer
from meshlight.gateway.inference.upstream_errors import last_headers
from meshlight.gateway.inference.waiting_stream import WaitingStream, takes_beats
from meshlight.gateway.lan.app import PAUSED_RETRY_S
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.gateway.translation.responses.native import asked_to_keep
from meshlight.gateway.translation.table import is_reachable
from meshlight.http_client.client import Headers
from meshlight.mesh.backend_connections import BackendConnection, BackendConnections
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Outcome, Ticket, Traffic

log = logging.getLogger(__name__)

_TEXT_STREAMS = frozenset({"chat/completions", "completions"})
"""Operations whose streams have an event for each token."""
_STAYS = frozenset({"failing-requests", "rate-limited"})
"""Reasons for which a waiting request stays with its backend: they are about other requests."""
_STAYS_AT_PLACE = _STAYS | {"token-refused", "service-refused", "no-access"}
"""The same for a place behind a backend: a request that waits there for its first byte was let in."""
_ANSWERS = frozenset({"failing-requests", "loading"})
"""Reasons of a backend that is down and still answers: better than none, once the healthy ones have failed."""
_PATH_LACKING = frozenset({404, 405})
"""Statuses by which a backend says that it lacks a path."""

SOLE_ROUTES_MAX = 256
"""Models whose only route is remembered."""
LACKING_MAX = 1_000
"""Paths that are remembered as lacking."""
_ATTEMPTS = tuple((b"x-meshlight-attempts", b"%d" % number) for number in range(EXTRA_ATTEMPTS + 2))


class Relay:
    """Carries requests to backends and answers back."""

    def __init__(
        self,
        registry: Registry,
        links: BackendConnections,
        prober: Prober,
        traffic: Traffic,
        clock: Callable[[], float],
        node_id: str,
        is_paused: Callable[[], bool] = lambda: False,
        queue: ModelQueue | None = None,
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._traffic = traffic
        self._clock = clock
        self._node_id = node_id
        self._is_paused = is_paused
        self._queue = queue
        self._budget = RetryBudget()
        self._turn = 0
        self._sole: dict[tuple[str, Operation], tuple[Snapshot, RouteScore]] = {}
        """Models with one healthy route: nothing but a new snapshot can change their ranking."""
        self._lacking: set[tuple[str, str, str]] = set()
        """Backend, model and path of requests of no known operation that a backend answered by 404 or 405."""
        self._waiting: dict[tuple[str, str], set[Cancellation]] = {}
        """The requests that wait for a first byte and may leave, by backend and place behind it."""
        registry.listen(self._on_change)

    async def run(self, inbound: InferenceRequest, sink: Sink, disconnect: DisconnectListeners) -> None:
        """Answer one request through `sink`.

        Raises ModelNotFound, NotFound or a RouteError when nothing was sent to the client yet and nothing will be.
        """
        self._admit(inbound)
        self._traffic.start()
        self._budget.record_request(self._clock())
        outcome: Outcome = "failed"
        cancellation = Cancellation()
        disconnect.add(cancellation.client_left)
        try:
            outcome = await self._try_routes(inbound, sink, cancellation)
        except asyncio.CancelledError:
            outcome = "cancelled"
            if cancellation.cause != "left" or cancellation.settle() is None:
                raise
        finally:
            disconnect.discard(cancellation.client_left)
            self._traffic.end(outcome)

    def request_probe(self, backend: Backend) -> None:
        """Have a backend probed soon."""
        self._prober.probe_soon(backend.id)

    def is_lost(self, backend: Backend) -> bool:
        """Whether a request that waits for this backend waits in vain."""
        node = self._registry.snapshot.nodes.get(backend.id)
        if node is None or node.health.state != "unhealthy" or node.health.good:
            return False
        return node.health.reason.code not in _STAYS

    def _admit(self, inbound: InferenceRequest) -> None:
        if self._is_paused():
            if inbound.guest is not None:
                raise Paused("The owner of that machine has paused its routing.", "", PAUSED_RETRY_S)
            raise Paused(
                "Routing is paused.",
                "Resume it in the tray's menu, or remove `paused` in the config.",
                PAUSED_RETRY_S,
            )
        if self._node_id in inbound.visited or len(inbound.visited) > HOPS:
            raise RoutingLoop(
                f"The request came round in a circle: {' → '.join(inbound.visited)}.",
                "Two nodes list each other as a backend: remove one of the two entries.",
            )

    async def _try_routes(self, inbound: InferenceRequest, sink: Sink, cancellation: Cancellation) -> Outcome:
        self._turn += 1
        failures: list[FailedAttempt] = []
        tried: list[RouteScore] = []
        stream: WaitingStream | None = None
        score: RouteScore | None = self._first_route(inbound)
        try:
            while score is not None:
                if self._queue is not None and self._queue.is_full(score.backend, score.place, score.model):
                    if stream is None and takes_beats(inbound):
                        sink = stream = WaitingStream(sink, inbound)
                    score = await self._free_route(self._queue, score, inbound, tried, stream)
                    if score is None:
                        break
                tried.append(score)
                result = await self._try_route(score, inbound, sink, cancellation, len(tried))
                if not isinstance(result, FailedAttempt):
                    for failure in failures:
                        if result == "ok" and failure.may_be_the_requests_fault:
                            self._record_failure(
                                failure
                            )  # another backend could do it: so it was not the request
                    return result
                failures.append(result)
                self._record_attempt(inbound, score, result)
                score = self._next_route(inbound, failures, tried)
            await self._send_failure(inbound, failures, sink)
        except MeshlightError as error:
            if stream is None or not stream.has_begun:
                raise
            await stream.fail(error)
        return "failed"

    def _record_attempt(self, inbound: InferenceRequest, score: RouteScore, failure: FailedAttempt) -> None:
        """Record what a failed attempt shows, unless it may be the request's own fault."""
        refusal = failure.refusal
        if failure.is_broken:
            self._traffic.symptoms.failed(failure.backend.id, score.model)
        if inbound.operation == "other" and refusal and refusal.status in _PATH_LACKING:
            self._record_lacking(failure.backend.id, score.model, inbound.path)
        if not failure.may_be_the_requests_fault:
            self._record_failure(failure)
        elif failure.wants_probe:
            self._request_probe_after(failure)

    async def _send_failure(
        self, inbound: InferenceRequest, failures: list[FailedAttempt], sink: Sink
    ) -> None:
        """Send the last backend's failing answer; raises the RouteError if there is none to send."""
        refusal = final_refusal(failures)
        is_guest = inbound.guest is not None
        if refusal is None:
            make_error = final_guest_error if is_guest else final_error
            raise make_error(inbound.head.model, failures)
        if is_guest:
            refusal = for_guest(refusal, inbound.operation)
        last = failures[-1]
        headers = last_headers(refusal, is_loading=last.reason.code == "loading")
        await sink.start(
            refusal.status, to_client(headers, _own_headers(headers, last.backend.id, len(failures), inbound))
        )
        await sink.end(refusal.body)

    def _first_route(self, inbound: InferenceRequest) -> RouteScore:
        snapshot = self._registry.snapshot
        key = (inbound.head.model, inbound.operation)
        sole = self._sole.get(key)
        if sole is not None and sole[0] is snapshot and inbound.guest is None:
            return sole[1]
        all_routes = self._rank(inbound)
        ranking = self._with_path(all_routes, inbound)
        candidates = ranking.candidates
        if not ranking.scores and inbound.guest is not None:
            raise nothing_shared()
        if not candidates and inbound.guest is not None:
            raise no_guest_route(inbound.head.model, lacks_path=bool(all_routes.candidates))
        if not candidates:
            raise no_route(snapshot, ranking, lacks=inbound.operation if all_routes.candidates else None)
        if len(ranking.scores) == 1 and candidates[0].tier == "ready" and inbound.guest is None:
            if len(self._sole) >= SOLE_ROUTES_MAX:
                self._sole.clear()
            self._sole[key] = (snapshot, candidates[0])
        return candidates[0]

    def _next_route(
        self, inbound: InferenceRequest, failures: list[FailedAttempt], tried: list[RouteScore]
    ) -> RouteScore | None:
        """Return the route to try after the last failure; ranked anew, for the mesh may have changed meanwhile."""
        if not allows_next(inbound, failures, tried[-1].tier):
            return None
        following = next(iter(self._usable(inbound, _places(tried))), None)
        if following is None or self._budget.allows(len(failures), tried[-1].tier, self._clock()):
            return following
        return None

    def _usable(self, inbound: InferenceRequest, done: frozenset[tuple[str, str]]) -> Sequence[RouteScore]:
        """Return the routes that may be tried now, best first, without those (backend, place) that were tried."""
        ranking = self._with_path(self._rank(inbound), inbound)
        if not done:
            return ranking.candidates
        return [s for s in ranking.scores if (s.backend, s.place) not in done and self._is_worth_trying(s)]

    async def _free_route(
        self,
        queue: ModelQueue,
        score: RouteScore,
        inbound: InferenceRequest,
        tried: Sequence[RouteScore],
        stream: WaitingStream | None,
    ) -> RouteScore | None:
        """Return the best route with a free slot, and wait for one if there is none: `score`, the best, is full.

        None when, after a failed attempt, no route is left or the wait was too long. Raises AllBusy for a first
        attempt that can't wait (longer), and what `_first_route` raises when the last route is gone.
        """
        routing = self._registry.snapshot.routing
        if not routing.queue:
            return score
        done = _places(tried)
        guest = inbound.guest
        deadline: float | None = None
        limit_s = 0.0
        has_waited = bool(tried)
        while True:
            usable = self._usable(inbound, done)
            if not usable:
                return None if tried else self._first_route(inbound)
            worth = [s for s in usable if not self._is_in_vain(s)]
            if not worth:
                return usable[0]
            free = next((s for s in worth if not queue.is_full(s.backend, s.place, s.model)), None)
            if free is not None:
                return free
            if deadline is None:
                limit_s = routing.queue_s or max(self._first_byte_s(s) for s in worth)
                deadline = self._clock() + limit_s
            place = Place(
                model=worth[0].model,
                kind=(inbound.head.model, inbound.operation, inbound.path, guest, done),
                routes=partial(self._routes_to_wait_for, inbound, done),
                caller=_caller(inbound),
                limit_s=deadline - self._clock(),
                is_guest=guest is not None,
                is_first=has_waited,
                beat=None if stream is None else stream.beat,
            )
            since = self._clock()
            try:
                waited = await queue.wait(place)
            except asyncio.CancelledError:
                self._traffic.symptoms.left("", place.model, self._clock() - since)
                raise
            if waited != "go":
                if tried:
                    return None
                routes = [(s.backend, s.place, s.model) for s in worth]
                raise all_busy(
                    inbound.head.model,
                    queue.state(place.model, routes),
                    queue.retry_after_s(place.model),
                    limit_s if waited == "late" else None,
                )
            has_waited = True

    def _routes_to_wait_for(
        self, inbound: InferenceRequest, done: frozenset[tuple[str, str]]
    ) -> Sequence[Route]:
        """Return the routes that may be used now, without those where a request would wait in vain."""
        usable = self._usable(inbound, done)
        return [(s.backend, s.place, s.model) for s in usable if not self._is_in_vain(s)]

    def _is_in_vain(self, score: RouteScore) -> bool:
        """Whether a route is tried only because there is no better one: its failure is to come soon."""
        if score.tier != "last-resort":
            return False
        node = self._registry.node(score.backend)
        return is_lost_part(node, score.place) if score.place else self.is_lost(node.backend)

    def _first_byte_s(self, score: RouteScore) -> float:
        return self._registry.node(score.backend).backend.first_byte_s

    def _rank(self, inbound: InferenceRequest) -> Ranking:
        snapshot = self._registry.snapshot
        name, terms = inbound.head.model, None
        if inbound.guest is not None:
            name, terms = own_id(snapshot, inbound.guest, name), partial(may_use, inbound.guest)
        return rank(snapshot, name, self._traffic.load, self._clock(), self._turn, terms)

    def _with_path(self, ranking: Ranking, inbound: InferenceRequest) -> Ranking:
        """Return the ranking without the routes whose backend has no such path."""
        ranking = without_lacking_kinds(
            ranking, inbound.operation, self._registry.snapshot.nodes, inbound.path
        )
        if inbound.operation != "other" or not self._lacking:
            return ranking
        scores = tuple(
            replace(score, tier="last-resort", why=f"It answered that it lacks {inbound.path}.")
            if score.tier != "excluded" and (score.backend, score.model, inbound.path) in self._lacking
            else score
            for score in ranking.scores
        )
        return replace(ranking, scores=scores)

    def _is_worth_trying(self, score: RouteScore) -> bool:
        if score.tier == "last-resort":
            node = self._registry.node(score.backend)
            health = node.parts.get(score.place or score.model, node.health)
            return health.reason.code in _ANSWERS
        return score.tier != "excluded"

    async def _try_route(
        self,
        score: RouteScore,
        inbound: InferenceRequest,
        sink: Sink,
        cancellation: Cancellation,
        number: int,
    ) -> Outcome | FailedAttempt:
        """Try one route, as attempt number `number`; return how it ended, or why it gave no answer."""
        link = self._links.put(self._registry.node(score.backend).backend)
        backend, place = link.backend, score.place
        policy = policy_for(is_costly=inbound.is_costly, is_metered=link.is_metered)
        may_leave = policy.may_leave
        waiting = self._waiting.setdefault((backend.id, place), set())
        started_at = self._clock()
        ticket = self._traffic.reserve(backend.id, score.model, place)
        outcome: Outcome = "failed"
        try:
            watcher = _PlaceWatcher(self._registry, link, place) if place else self
            first_byte_timer = FirstByteTimer(
                backend, cancellation, watcher, asyncio.get_running_loop(), may_leave=may_leave
            )
            if may_leave:
                waiting.add(cancellation)
            try:
                started = await open_route(
                    inbound, score, link, self._node_id, policy, cancellation, first_byte_timer
                )
            finally:
                waiting.discard(cancellation)
                if place and not waiting:  # places come and go
                    self._waiting.pop((backend.id, place), None)
            if isinstance(started, FailedAttempt):
                return replace(started, place=place) if place else started
            ticket.first_byte(self._clock() - started_at)
            response = started.response
            self._record_notes(link, started)
            extra = _own_headers(response.headers, backend.id, number, inbound)
            if started.dropped:
                extra.append(dropped(started.dropped))
            if inbound.stored is not None and started.translator is None and link.kind.group == "engine":
                sink = await _recording(sink, inbound) if response.status == 200 else sink
            asked = inbound.head.model if inbound.named is None else inbound.named
            if started.translator is None and asked and asked != score.model:
                sink = NamedSink(sink, score.model, asked)
            tap = await stream_response(
                started,
                inbound.operation,
                sink,
                extra,
                cancellation,
                backend.idle_s,
                is_guest=inbound.guest is not None,
            )
            if response.status < 400:
                outcome = "ok"
                link.is_proven = True
            self._record_success(backend.id, score)
            self._record_tokens(ticket, tap, inbound)
        except StreamAborted as aborted:
            self._record_abort(link, score, aborted.why)
        except asyncio.CancelledError:
            outcome = self._record_cancelled(ticket, cancellation, started_at)
            raise
        finally:
            ticket.close(outcome)
            if self._queue is not None:
                self._queue.freed(score.model)
        return outcome

    def _record_notes(self, link: BackendConnection, started: StartedResponse) -> None:
        """Show people what an answer tells about its backend, such as the limits of an account."""
        limits = link.kind.about_from_headers(started.response.headers) if link.is_metered else None
        if limits or started.notes:
            self._registry.record_about(link.backend.id, {**(limits or {}), **(started.notes or {})})

    def _record_success(self, backend_id: str, score: RouteScore) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is None:
            return
        if node.parts and (part := score.place or score.model) in node.parts:
            self._registry.record_part_fact(backend_id, part, Served())
        if not score.place and (
            node.health.failures or node.health.ejections or node.health.state == "unhealthy"
        ):
            self._registry.record_fact(backend_id, Served())

    def _record_abort(self, link: BackendConnection, score: RouteScore, why: str) -> None:
        """Hold it against a route that its answer ended before it was complete."""
        backend, place = link.backend, score.place
        self._traffic.symptoms.failed(backend.id, score.model)
        log.info("%s broke off: %s", load_key(backend.id, place), why)
        part = place or (score.model if link.kind.group == "peer" else "")
        self._apply(backend.id, part, Broke(Reason("connection-lost", why)))
        self._request_probe_at(backend, place)

    def _record_cancelled(self, ticket: Ticket, cancellation: Cancellation, started_at: float) -> Outcome:
        """Note it if the client left before the first byte; returns the outcome."""
        if cancellation.cause == "left" and not ticket.first_byte_s:
            self._traffic.symptoms.left(ticket.backend, ticket.model, self._clock() - started_at)
        return "cancelled"

    def _record_tokens(self, ticket: Ticket, tap: UsageTap, inbound: InferenceRequest) -> None:
        """Count the tokens that the answer's `usage` says; without, estimate those of a stream."""
        if (counts := tap.read()) is not None:
            ticket.tokens(*counts)
            self._traffic.symptoms.prompt(ticket.backend, ticket.model, inbound.body, counts[0])
        elif inbound.operation in _TEXT_STREAMS:
            ticket.estimated_tokens(tap.estimate())

    def _record_failure(self, failure: FailedAttempt) -> None:
        """Hold a failure against its backend or a part of it, and have that probed at once."""
        log.info("attempt on %s failed: %s", failure.backend.id, failure.reason.code)
        if failure.fact is not None:
            self._apply(failure.backend.id, failure.part, failure.fact)
        if not failure.is_final:
            self._request_probe_after(failure)

    def _record_lacking(self, backend_id: str, model: str, path: str) -> None:
        if len(self._lacking) >= LACKING_MAX:
            self._lacking.clear()
        self._lacking.add((backend_id, model, path))

    def _apply(self, backend_id: str, part: str, fact: Fact) -> None:
        if part:
            self._registry.record_part_fact(backend_id, part, fact)
        else:
            self._registry.record_fact(backend_id, fact)

    def _request_probe_after(self, failure: FailedAttempt) -> None:
        if failure.wants_probe:
            self._prober.probe_soon(failure.backend.id, for_key=True)
        else:
            self._request_probe_at(failure.backend, failure.place)

    def _request_probe_at(self, backend: Backend, place: str) -> None:
        """Have a backend probed soon, or the place behind it that was used: one says nothing about the other."""
        link = self._links.get(backend.id)
        if place and link is not None and link.places is not None:
            link.places.check_soon(place)
        else:
            self.request_probe(backend)

    def _on_change(self, change: Change) -> None:
        """Let the requests that wait for a first byte leave, when their backend or the place behind it fell.

        Those that wait for a slot look again at the routes there are.
        """
        if self._queue is not None and (change.shape or change.removed or change.incident or change.fell):
            self._queue.look_again()
        for key in [key for key in self._waiting if key[0] in change.removed] if change.removed else ():
            del self._waiting[key]
        if change.fell is not None and is_lost_part(
            self._registry.snapshot.nodes.get(change.fell[0]), change.fell[1]
        ):
            self._release_waiting(change.fell)
        if change.incident is None or change.incident[2] != "unhealthy":
            return
        backend_id = change.incident[0]
        if self._lacking:  # it may come back as another version, with other paths
            self._lacking = {key for key in self._lacking if key[0] != backend_id}
        if self.is_lost(self._registry.node(backend_id).backend):
            self._release_waiting((backend_id, ""))

    def _release_waiting(self, key: tuple[str, str]) -> None:
        for cancellation in tuple(self._waiting.get(key, ())):
            cancellation.fire("fell")


class _PlaceWatcher:
    """Watches one place behind a backend: the backend's own probes say nothing about what waits there."""

    def __init__(self, registry: Registry, link: BackendConnection, place: str) -> None:
        self._registry = registry
        self._link = link
        self._place = place

    def request_probe(self, backend: Backend) -> None:  # noqa: ARG002 - a HealthWatcher's
        """Have the place checked soon."""
        if self._link.places is not None:
            self._link.places.check_soon(self._place)

    def is_lost(self, backend: Backend) -> bool:
        """Whether its checks fail now."""
        return is_lost_part(self._registry.snapshot.nodes.get(backend.id), self._place)


def _places(tried: Sequence[RouteScore]) -> frozenset[tuple[str, str]]:
    return frozenset((score.backend, score.place) for score in tried)


def _caller(inbound: InferenceRequest) -> str:
    """Return who sent a request, for turns in a queue: a peer, or a program of this machine by its user agent."""
    if inbound.guest is not None:
        return inbound.guest.id
    return f"{hash(request_header(inbound.headers, b'user-agent')):x}"


def is_lost_part(node: Node | None, place: str) -> bool:
    """Whether a request that waits at a place behind a backend waits in vain."""
    part = node.parts.get(place) if node is not None else None
    return part is not None and part.state == "unhealthy" and part.reason.code not in _STAYS_AT_PLACE


def without_lacking_kinds(
    ranking: Ranking, operation: Operation, nodes: Mapping[str, Node], path: str
) -> Ranking:
    """Return the ranking with every route excluded, with the reason, whose kind of backend lacks the path."""
    lacking = {
        score.backend
        for score in ranking.scores
        if not is_reachable(operation, KINDS[nodes[score.backend].backend.kind])
    }
    if not lacking:
        return ranking
    scores = tuple(
        replace(
            score,
            tier="excluded",
            why=f"{KINDS[nodes[score.backend].backend.kind].label} has no {path}.",
        )
        if score.backend in lacking and score.tier != "excluded"
        else score
        for score in ranking.scores
    )
    return replace(ranking, scores=scores)


async def _recording(sink: Sink, inbound: InferenceRequest) -> Sink:
    """Return a sink that stores the response that passes through it, if the request asks for that."""
    if inbound.stored is None:
        return sink
    recorded = await in_thread_if_large(len(inbound.body), asked_to_keep, inbound.body, inbound.stored)
    return sink if recorded is None else RecordingSink(sink, recorded)


def _own_headers(
    headers: Headers, backend_id: str, attempts: int, inbound: InferenceRequest
) -> list[tuple[bytes, bytes]]:
    """Return the headers that Meshlight adds to a backend's answer; a guest does not see which backend it was."""
    extra: list[tuple[bytes, bytes]] = []
    if inbound.guest is None:
        extra.append((b"x-meshlight-backend", backend_id.encode()))
        extra.append(_ATTEMPTS[attempts])
    given = dict(headers)
    known = given.get(b"x-request-id")
    if known is None:
        extra.append(request_id())
    if inbound.operation.startswith("messages") and b"request-id" not in given:  # Anthropic's name for it
        extra.append((b"request-id", known or extra[-1][1]))
    return extra
