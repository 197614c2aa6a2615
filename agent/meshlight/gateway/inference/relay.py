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
from meshlight.backends.large_work import LARGE, in_thread_if_large
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import Paused, RoutingLoop
from meshlight.domain.fallback import with_fallback
from meshlight.domain.health import Broke, Fact, Served
from meshlight.domain.operations import Operation
from meshlight.domain.peers import may_use, own_id, shared_id
from meshlight.domain.routing import Ranking, RouteScore, load_key, rank
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.gateway.inference.attempt import StartedResponse, open_route
from meshlight.gateway.inference.context_guard import CUT, LEARNED_FROM, ContextGuard, measured
from meshlight.gateway.inference.failures import FailedAttempt, is_of_backend, sends_of
from meshlight.gateway.inference.headers import dropped, header_text, request_id, to_client
from meshlight.gateway.inference.request import HOPS, InferenceRequest
from meshlight.gateway.inference.retry_policy import EXTRA_ATTEMPTS, RetryBudget, allows_next, policy_for
from meshlight.gateway.inference.route_errors import (
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
from meshlight.gateway.lan.app import PAUSED_RETRY_S
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.gateway.translation.responses.native import asked_to_keep
from meshlight.gateway.translation.table import is_reachable
from meshlight.http_client.client import Headers
from meshlight.mesh.backend_connections import BackendConnection, BackendConnections
from meshlight.mesh.prober import Prober
from meshlight.mesh.prompt_sizes import PromptSizes
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
MODEL_HEADER, FALLBACK_HEADER = b"x-meshlight-model", b"x-meshlight-fallback"


def _attempts(number: int) -> tuple[bytes, bytes]:
    return b"x-meshlight-attempts", b"%d" % number


_ATTEMPTS = tuple(_attempts(number) for number in range(EXTRA_ATTEMPTS + 2))


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
        self._guard = ContextGuard(PromptSizes())
        self._sole: dict[tuple[str, Operation], tuple[Snapshot, RouteScore, int]] = {}
        """Models with one healthy route: nothing but a new snapshot can change their ranking, or a body of more than
        so many bytes, which its context may not hold."""
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
        if len(inbound.body) > LARGE:
            inbound = await measured(inbound)
        failures: list[FailedAttempt] = []
        tried: list[RouteScore] = []
        score: RouteScore | None = self._first_route(inbound)
        while score is not None:
            tried.append(score)
            result = await self._try_route(score, inbound, sink, cancellation, sends_of(failures))
            if not isinstance(result, FailedAttempt):
                for failure in failures:
                    if result == "ok" and failure.may_be_the_requests_fault:
                        self._record_failure(
                            failure
                        )  # another backend could do it: so it was not the request
                return result
            failures.append(result)
            if inbound.operation == "other" and result.refusal and result.refusal.status in _PATH_LACKING:
                self._record_lacking(result.backend.id, score.model, inbound.path)
            if not result.may_be_the_requests_fault:
                self._record_failure(result)
            elif result.wants_probe:
                self._request_probe_after(result)
            score = self._next_route(inbound, failures, tried)
        await self._send_failure(inbound, failures, tried[-1], sink)
        return "failed"

    async def _send_failure(
        self, inbound: InferenceRequest, failures: list[FailedAttempt], last_tried: RouteScore, sink: Sink
    ) -> None:
        """Send the last backend's failing answer; raises the error if there is none to send."""
        nodes = self._registry.snapshot.nodes
        if (error := self._guard.refusal_error(failures, last_tried, nodes, inbound)) is not None:
            raise error
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
            refusal.status,
            to_client(headers, _own_headers(headers, last.backend.id, sends_of(failures), inbound)),
        )
        await sink.end(refusal.body)

    def _first_route(self, inbound: InferenceRequest) -> RouteScore:
        snapshot = self._registry.snapshot
        key = (inbound.head.model, inbound.operation)
        sole = self._sole.get(key)
        if (
            sole is not None
            and sole[0] is snapshot
            and inbound.guest is None
            and len(inbound.body) <= sole[2]
        ):
            return sole[1]
        all_routes = self._rank_usable(inbound)
        with_path = self._with_path(all_routes, inbound)
        ranking = self._guard.check(with_path, snapshot.nodes, inbound)
        candidates = ranking.candidates
        if not candidates and with_path.candidates:
            raise self._guard.error(with_path, snapshot.nodes, inbound)
        if not ranking.scores and inbound.guest is not None:
            raise nothing_shared()
        if not candidates and inbound.guest is not None:
            raise no_guest_route(inbound.head.model, lacks_path=bool(all_routes.candidates))
        if not candidates:
            raise no_route(snapshot, ranking, lacks=inbound.operation if all_routes.candidates else None)
        is_sole = len(ranking.scores) == 1 and not ranking.fallback
        if is_sole and candidates[0].tier == "ready" and inbound.guest is None:
            if len(self._sole) >= SOLE_ROUTES_MAX:
                self._sole.clear()
            node = snapshot.nodes[candidates[0].backend]
            self._sole[key] = (snapshot, candidates[0], self._guard.room(node, ranking.model))
        return candidates[0]

    def _next_route(
        self, inbound: InferenceRequest, failures: list[FailedAttempt], tried: list[RouteScore]
    ) -> RouteScore | None:
        """Return the route to try after the last failure; ranked anew, for the mesh may have changed meanwhile."""
        if not allows_next(inbound, failures, tried[-1].tier):
            return None
        done = frozenset((score.backend, score.place, score.model) for score in tried)
        ranking = self._with_path(self._rank_usable(inbound, failures, done), inbound)
        scores = self._guard.check(ranking, self._registry.snapshot.nodes, inbound, failures).scores
        following = next(
            (s for s in scores if (s.backend, s.place, s.model) not in done and self._is_worth_trying(s)),
            None,
        )
        if following is None or self._budget.allows(len(failures), tried[-1].tier, self._clock()):
            return following
        return None

    def _rank(self, inbound: InferenceRequest) -> Ranking:
        snapshot = self._registry.snapshot
        name, terms = inbound.head.model, None
        if inbound.guest is not None:
            name, terms = own_id(snapshot, inbound.guest, name), partial(may_use, inbound.guest)
        return rank(snapshot, name, self._traffic.load, self._clock(), self._turn, terms)

    def _rank_usable(
        self,
        inbound: InferenceRequest,
        failures: Sequence[FailedAttempt] = (),
        done: frozenset[tuple[str, str, str]] = frozenset(),
    ) -> Ranking:
        """Rank the routes of the requested model, or of its fallback while none of them is usable.

        After `failures`, only those count that are not `done`, and all failures must be those of backends.
        """
        ranking = self._rank(inbound)
        is_shared = inbound.guest is None or bool(ranking.scores)
        if not is_shared or (not failures and ranking.is_usable) or not all(map(is_of_backend, failures)):
            return ranking
        lost = {failure.backend.id for failure in failures if not failure.was_sent}

        def rank_one(name: str) -> Ranking:
            found = self._rank(replace(inbound, head=replace(inbound.head, model=name)))
            return replace(found, scores=tuple(s for s in found.scores if s.backend not in lost))

        def is_usable(found: Ranking) -> bool:
            left = (s for s in found.scores if (s.backend, s.place, s.model) not in done)
            return any(score.tier in {"ready", "untried"} for score in left)

        return with_fallback(self._registry.snapshot, ranking, rank_one, is_usable)

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
        sends: int,
    ) -> Outcome | FailedAttempt:
        """Try one route after `sends` attempts elsewhere; return how it ended, or why it gave no answer."""
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
            extra = _own_headers(response.headers, backend.id, sends + started.sends, inbound)
            if inbound.head.model != score.model or link.kind.group == "peer":
                extra += answering_model(score, response.headers, inbound, is_peer=link.kind.group == "peer")
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
            self._learn_size(inbound, link, score, _count_tokens(ticket, tap, inbound.operation))
        except StreamAborted as aborted:
            self._record_abort(link, score, aborted.why)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            ticket.close(outcome)
        return outcome

    def _learn_size(
        self, inbound: InferenceRequest, link: BackendConnection, score: RouteScore, counted: int
    ) -> None:
        """Learn how the model counts; a prompt that was cut is told on the backend's card."""
        if len(inbound.body) < LEARNED_FROM:
            return
        node = self._registry.snapshot.nodes.get(link.backend.id)
        if node is not None and (line := self._guard.learn(inbound, score.model, node, counted)):
            link.found[CUT] = line
            self._registry.record_about(link.backend.id, link.found)

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
        log.info("%s broke off: %s", load_key(backend.id, place), why)
        part = place or (score.model if link.kind.group == "peer" else "")
        self._apply(backend.id, part, Broke(Reason("connection-lost", why)))
        self._request_probe_at(backend, place)

    def _record_failure(self, failure: FailedAttempt) -> None:
        """Hold a failure against its backend or a part of it, and have that probed at once."""
        log.info("attempt on %s failed: %s", failure.backend.id, failure.reason.code)
        if failure.fact is not None:
            self._apply(failure.backend.id, failure.part, failure.fact)
        if not failure.is_final and failure.too_long is None:
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
        """Let the requests that wait for a first byte leave, when their backend or the place behind it fell."""
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


def _count_tokens(ticket: Ticket, tap: UsageTap, operation: Operation) -> int:
    """Count the tokens that the answer's `usage` says; without, estimate those of a stream.

    Returns the tokens of the prompt; 0 where nothing says them.
    """
    if (counts := tap.read()) is not None:
        ticket.tokens(*counts)
        return counts[0]
    if operation in _TEXT_STREAMS:
        ticket.estimated_tokens(tap.estimate())
    return 0


def answering_model(
    score: RouteScore, headers: Headers, inbound: InferenceRequest, *, is_peer: bool
) -> list[tuple[bytes, bytes]]:
    """Return the headers that say which model answered, where it is another than the one requested, and why.

    A peer says it of its own models; a guest reads it of ours, since a fallback is never silent.
    """
    model, why = score.model, score.fallback
    if is_peer and (said := dict(headers)).get(FALLBACK_HEADER):
        model = said.get(MODEL_HEADER, b"").decode("latin-1")
        theirs = said[FALLBACK_HEADER].decode("latin-1")
        why = f"{why}; {theirs}" if why else theirs
    if inbound.guest is not None:
        if not why:
            return []
        model = shared_id(model)
    if model == inbound.head.model:
        return []
    made = [(MODEL_HEADER, header_text(model))]
    return [*made, (FALLBACK_HEADER, header_text(why))] if why else made


def _own_headers(
    headers: Headers, backend_id: str, attempts: int, inbound: InferenceRequest
) -> list[tuple[bytes, bytes]]:
    """Return the headers that Meshlight adds to a backend's answer; a guest does not see which backend it was."""
    extra: list[tuple[bytes, bytes]] = []
    if inbound.guest is None:
        extra.append((b"x-meshlight-backend", backend_id.encode()))
        extra.append(_ATTEMPTS[attempts] if attempts < len(_ATTEMPTS) else _attempts(attempts))
    given = dict(headers)
    known = given.get(b"x-request-id")
    if known is None:
        extra.append(request_id())
    if inbound.operation.startswith("messages") and b"request-id" not in given:  # Anthropic's name for it
        extra.append((b"request-id", known or extra[-1][1]))
    return extra
