"""The inference path: takes a request, walks its routes, passes the first good answer on.

Another route may be tried as long as no body byte has gone to the client: always when the connection failed, and
when the request was sent and brought nothing unless that could cost or do something twice. Afterwards never.

Leaves out the routes to backends that have no such path at all.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from meshlight.backends.kinds import KINDS
from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import Paused, RoutingLoop
from meshlight.domain.health import Broke, Fact, Served
from meshlight.domain.operations import Operation, path_of
from meshlight.domain.peers import may_use, own_id
from meshlight.domain.routing import EXTRA_ATTEMPTS, Ranking, RetryBudget, RouteScore, load_key, rank
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.gateway.inference.attempt import FailedAttempt, open_route
from meshlight.gateway.inference.headers import dropped, request_id, to_client
from meshlight.gateway.inference.named_sink import NamedSink
from meshlight.gateway.inference.recording_sink import RecordingSink
from meshlight.gateway.inference.request import HOPS, InferenceRequest
from meshlight.gateway.inference.route_errors import (
    final_error,
    final_guest_error,
    final_refusal,
    for_guest,
    no_guest_route,
    no_route,
    nothing_shared,
)
from meshlight.gateway.inference.streaming import Sink, StreamAborted, UsageTap, stream_response
from meshlight.gateway.inference.timeouts import Cancellation, FirstByteTimer
from meshlight.gateway.inference.upstream_errors import last_headers
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
"""Reasons for which a request under way stays where it is: they speak of other requests."""
_STAYS_AT_PLACE = _STAYS | {"token-refused", "service-refused", "no-access"}
"""And those of a place: what waits there for its first byte was let in."""
_ANSWERS = frozenset({"failing-requests", "loading"})
"""Reasons of a backend that is down and yet answers: better than none, once those that are up have failed."""

SOLE_KEPT = 256


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
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._traffic = traffic
        self._clock = clock
        self._node_id = node_id
        self._is_paused = is_paused
        self._budget = RetryBudget()
        self._turn = 0
        self._sole: dict[tuple[str, Operation], tuple[Snapshot, RouteScore]] = {}
        """Models with one healthy route: nothing but a new snapshot can change what is said of them."""
        self._waiting: dict[tuple[str, str], set[Cancellation]] = {}
        """The requests that wait for a first byte and may leave, by backend and place behind it."""
        registry.listen(self._on_change)

    async def run(self, inbound: InferenceRequest, sink: Sink, leave: DisconnectListeners) -> None:
        """Answer one request through `sink`.

        Raises NoSuchModel, NotFound or a RouteError when nothing was sent to the client yet and nothing will be.
        """
        self._admit(inbound)
        self._traffic.start()
        self._budget.record_request(self._clock())
        outcome: Outcome = "failed"
        interrupt = Cancellation()
        leave.add(interrupt.left)
        try:
            outcome = await self._walk(inbound, sink, interrupt)
        except asyncio.CancelledError:
            outcome = "cancelled"
            if interrupt.cause != "left" or interrupt.settle() is None:
                raise
        finally:
            leave.discard(interrupt.left)
            self._traffic.end(outcome)

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

    def suspect(self, backend: Backend) -> None:
        """Have a backend probed soon."""
        self._prober.probe_soon(backend.id)

    def is_lost(self, backend: Backend) -> bool:
        """Whether a request that waits on this backend waits in vain."""
        node = self._registry.snapshot.nodes.get(backend.id)
        if node is None or node.health.state != "unhealthy" or node.health.good:
            return False
        return node.health.reason.code not in _STAYS

    async def _walk(self, inbound: InferenceRequest, sink: Sink, interrupt: Cancellation) -> Outcome:
        self._turn += 1
        misses: list[FailedAttempt] = []
        tried: list[RouteScore] = []
        score: RouteScore | None = self._first(inbound)
        while score is not None:
            tried.append(score)
            result = await self._try(score, inbound, sink, interrupt, len(tried))
            if not isinstance(result, FailedAttempt):
                for miss in misses:
                    if result == "ok" and _may_be_the_requests_fault(miss):
                        self._learn(miss)  # another backend could do it: so it was not the request
                return result
            misses.append(result)
            if not _may_be_the_requests_fault(result):
                self._learn(result)
            elif result.wants_probe:
                self._suspect_of(result)
            score = self._next(inbound, misses, tried)
        refusal = final_refusal(misses)
        is_guest = inbound.guest is not None
        if refusal is None:
            word = final_guest_error if is_guest else final_error
            raise word(inbound.head.model, misses)
        if is_guest:
            refusal = for_guest(refusal, inbound.operation)
        last = misses[-1]
        headers = last_headers(refusal, is_loading=last.reason.code == "loading")
        await sink.start(
            refusal.status, to_client(headers, _budgeted(headers, last.backend.id, len(misses), inbound))
        )
        await sink.end(refusal.body)
        return "failed"

    def _rank(self, inbound: InferenceRequest) -> Ranking:
        snapshot = self._registry.snapshot
        name, terms = inbound.head.model, None
        if inbound.guest is not None:
            name, terms = own_id(snapshot, inbound.guest, name), partial(may_use, inbound.guest)
        return rank(snapshot, name, self._traffic.load, self._clock(), self._turn, terms)

    def _first(self, inbound: InferenceRequest) -> RouteScore:
        snapshot = self._registry.snapshot
        asked = (inbound.head.model, inbound.operation)
        sole = self._sole.get(asked)
        if sole is not None and sole[0] is snapshot and inbound.guest is None:
            return sole[1]
        known = self._rank(inbound)
        ranking = with_operation(known, inbound.operation, snapshot.nodes)
        candidates = ranking.candidates
        if not ranking.scores and inbound.guest is not None:
            raise nothing_shared()
        if not candidates and inbound.guest is not None:
            raise no_guest_route(inbound.head.model, lacks_face=bool(known.candidates))
        if not candidates:
            raise no_route(snapshot, ranking, lacks=inbound.operation if known.candidates else None)
        if len(ranking.scores) == 1 and candidates[0].tier == "ready" and inbound.guest is None:
            if len(self._sole) >= SOLE_KEPT:
                self._sole.clear()
            self._sole[asked] = (snapshot, candidates[0])
        return candidates[0]

    def _next(
        self, inbound: InferenceRequest, misses: list[FailedAttempt], tried: list[RouteScore]
    ) -> RouteScore | None:
        """Return the route to try after the last miss: judged anew, for the mesh may have changed meanwhile."""
        last = misses[-1]
        if len(misses) > EXTRA_ATTEMPTS or tried[-1].tier == "last-resort" or last.is_final:
            return None
        if last.was_sent and (
            (inbound.is_dear and not last.was_free) or (last.backend.is_metered and not last.was_answered)
        ):
            return None
        known = {(score.backend, score.place) for score in tried}
        scores = with_operation(self._rank(inbound), inbound.operation, self._registry.snapshot.nodes).scores
        following = next(
            (v for v in scores if (v.backend, v.place) not in known and self._is_worth_it(v)), None
        )
        is_free = len(misses) == 1 and tried[-1].tier == "ready"
        return following if following is None or is_free or self._budget.take(self._clock()) else None

    def _is_worth_it(self, score: RouteScore) -> bool:
        if score.tier == "last-resort":
            node = self._registry.node(score.backend)
            health = node.parts.get(score.place or score.model, node.health)
            return health.reason.code in _ANSWERS
        return score.tier != "excluded"

    async def _try(
        self, score: RouteScore, inbound: InferenceRequest, sink: Sink, interrupt: Cancellation, number: int
    ) -> Outcome | FailedAttempt:
        link = self._links.put(self._registry.node(score.backend).backend)
        backend = link.backend
        # What can't be sent twice stays where it is, even when the backend's probes fail meanwhile.
        can_leave = not (inbound.is_dear or backend.is_metered)
        place = score.place
        waiting = self._waiting.setdefault((backend.id, place), set())
        started = self._clock()
        ticket = self._traffic.reserve(backend.id, score.model, place)
        outcome: Outcome = "failed"
        try:
            watcher = _PlaceWatcher(self._registry, link, place) if place else self
            patience = FirstByteTimer(
                backend, interrupt, watcher, asyncio.get_running_loop(), can_leave=can_leave
            )
            if can_leave:
                waiting.add(interrupt)
            try:
                opened = await open_route(inbound, score, link, self._node_id, interrupt, patience)
            finally:
                waiting.discard(interrupt)
                if place and not waiting:  # services come and go
                    self._waiting.pop((backend.id, place), None)
            if isinstance(opened, FailedAttempt):
                return replace(opened, place=place) if place else opened
            ticket.first_byte(self._clock() - started)
            response = opened.response
            said = link.kind.about_from_headers(response.headers) if backend.is_metered else None
            if said or opened.learnt:
                self._registry.note(backend.id, {**(said or {}), **(opened.learnt or {})})
            extra = _budgeted(response.headers, backend.id, number, inbound)
            if opened.dropped:
                extra.append(dropped(opened.dropped))
            if inbound.stored is not None and opened.back is None and link.kind.group == "engine":
                sink = await _recording(sink, inbound) if response.status == 200 else sink
            asked = inbound.head.model if inbound.named is None else inbound.named
            if opened.back is None and asked and asked != score.model:
                sink = NamedSink(sink, score.model, asked)
            tap = await stream_response(
                opened,
                inbound.operation,
                sink,
                extra,
                interrupt,
                backend.idle_s,
                is_guest=inbound.guest is not None,
            )
            if response.status < 400:
                outcome = "ok"
                link.is_proven = True
            self._credit(backend.id, score)
            _count_tokens(ticket, tap, inbound.operation)
        except StreamAborted as cut:
            self._broke_off(link, score, cut.why)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            ticket.close(outcome)
        return outcome

    def _broke_off(self, link: BackendConnection, score: RouteScore, why: str) -> None:
        """Hold it against a route that its answer ended before it was whole."""
        backend, place = link.backend, score.place
        log.info("%s broke off: %s", load_key(backend.id, place), why)
        part = place or (score.model if link.kind.group == "peer" else "")
        self._hold(backend.id, part, Broke(Reason("connection-lost", why)))
        self._look(backend, place)

    def _learn(self, miss: FailedAttempt) -> None:
        """Traffic is evidence: hold a miss against its backend or a part of it, and have that probed at once."""
        log.info("attempt on %s failed: %s", miss.backend.id, miss.reason.code)
        if miss.fact is not None:
            self._hold(miss.backend.id, miss.part, miss.fact)
        if not miss.is_final:
            self._suspect_of(miss)

    def _hold(self, backend_id: str, part: str, fact: Fact) -> None:
        if part:
            self._registry.apply_to(backend_id, part, fact)
        else:
            self._registry.apply(backend_id, fact)

    def _suspect_of(self, miss: FailedAttempt) -> None:
        if miss.wants_probe:
            self._prober.probe_soon(miss.backend.id, for_key=True)
        else:
            self._look(miss.backend, miss.place)

    def _look(self, backend: Backend, place: str) -> None:
        """Have a backend probed soon, or what is at a place behind it: the one says nothing of the other."""
        link = self._links.get(backend.id)
        if place and link is not None and link.places is not None:
            link.places.check_soon(place)
        else:
            self.suspect(backend)

    def _credit(self, backend_id: str, score: RouteScore) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is None:
            return
        if node.parts and (part := score.place or score.model) in node.parts:
            self._registry.apply_to(backend_id, part, Served())
        if not score.place and (
            node.health.failures or node.health.ejections or node.health.state == "unhealthy"
        ):
            self._registry.apply(backend_id, Served())

    def _on_change(self, change: Change) -> None:
        """A backend fell, or a place behind one: what waits there for a first byte moves on."""
        for key in [key for key in self._waiting if key[0] in change.removed] if change.removed else ():
            del self._waiting[key]
        if change.fell is not None and is_lost_part(
            self._registry.snapshot.nodes.get(change.fell[0]), change.fell[1]
        ):
            self._let_go(change.fell)
        if change.incident is None or change.incident[2] != "unhealthy":
            return
        backend_id = change.incident[0]
        if self.is_lost(self._registry.node(backend_id).backend):
            self._let_go((backend_id, ""))

    def _let_go(self, where: tuple[str, str]) -> None:
        for interrupt in tuple(self._waiting.get(where, ())):
            interrupt.fire("fell")


class _PlaceWatcher:
    """Knows how one place behind a backend is; what the backend's own probes say is nothing to what waits there."""

    def __init__(self, registry: Registry, link: BackendConnection, place: str) -> None:
        self._registry = registry
        self._link = link
        self._place = place

    def suspect(self, backend: Backend) -> None:  # noqa: ARG002 - a Watcher
        """Have it looked at."""
        if self._link.places is not None:
            self._link.places.check_soon(self._place)

    def is_lost(self, backend: Backend) -> bool:
        """Whether looks at it fail now."""
        return is_lost_part(self._registry.snapshot.nodes.get(backend.id), self._place)


def is_lost_part(node: Node | None, place: str) -> bool:
    """Whether a request that waits at a place behind a backend waits in vain."""
    part = node.parts.get(place) if node is not None else None
    return part is not None and part.state == "unhealthy" and part.reason.code not in _STAYS_AT_PLACE


def _may_be_the_requests_fault(miss: FailedAttempt) -> bool:
    """Whether a backend answered 500: engines say so too when they can't take what the client asked for.

    llama-server does it for a picture sent to a model without eyes. It is held against the backend only when
    another one then answers the same request.
    """
    return miss.refusal is not None and (miss.refusal.status == 500 or miss.wants_probe)


async def _recording(sink: Sink, inbound: InferenceRequest) -> Sink:
    """Return a sink that keeps the response that passes through it, where the request wants it kept."""
    if inbound.stored is None:
        return sink
    kept = await in_thread_if_large(len(inbound.body), asked_to_keep, inbound.body, inbound.stored)
    return sink if kept is None else RecordingSink(sink, kept)


def _count_tokens(ticket: Ticket, tap: UsageTap, operation: Operation) -> None:
    """Count the tokens that the answer's `usage` says; without, estimate those of a stream."""
    if (counts := tap.read()) is not None:
        ticket.tokens(*counts)
    elif operation in _TEXT_STREAMS:
        ticket.estimated_tokens(tap.estimate())


def _budgeted(
    headers: Headers, backend_id: str, attempts: int, inbound: InferenceRequest
) -> list[tuple[bytes, bytes]]:
    """Return the headers that Meshlight adds to a backend's answer; which backend it was is none of a guest's."""
    extra: list[tuple[bytes, bytes]] = []
    if inbound.guest is None:
        extra += [(b"x-meshlight-backend", backend_id.encode()), (b"x-meshlight-attempts", b"%d" % attempts)]
    given = dict(headers)
    known = given.get(b"x-request-id")
    if known is None:
        extra.append(request_id())
    if (
        inbound.operation.startswith("messages") and b"request-id" not in given
    ):  # what Anthropic's clients call it
        extra.append((b"request-id", known or extra[-1][1]))
    return extra


def with_operation(ranking: Ranking, operation: Operation, nodes: Mapping[str, Node]) -> Ranking:
    """Return the ranking with every route excluded, with the reason, whose kind of backend lacks this face."""
    deaf = {
        v.backend for v in ranking.scores if not is_reachable(operation, KINDS[nodes[v.backend].backend.kind])
    }
    if not deaf:
        return ranking
    scores = tuple(_exclude(v, operation, nodes) if v.backend in deaf else v for v in ranking.scores)
    return replace(ranking, scores=scores)


def _exclude(score: RouteScore, operation: Operation, nodes: Mapping[str, Node]) -> RouteScore:
    if score.tier == "excluded":
        return score
    label = KINDS[nodes[score.backend].backend.kind].label
    return replace(score, tier="excluded", why=f"{label} has no {path_of(operation)}.")
