"""Carries a request to a backend: ranks its routes, tries them in order, and passes the first good answer on.

Routes to backends that lack the requested path are left out. When another route may be tried is `retry_policy`'s
decision. What each attempt shows of a backend is recorded in the registry, and the backend probed soon if it failed.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from meshlight.backends.base import ModelRoute
from meshlight.backends.large_work import LARGE
from meshlight.domain.account_limits import limit_lines
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.choice import NO_PROMPT, Prompt, worth_taking
from meshlight.domain.deadlines import Deadlines
from meshlight.domain.errors import MeshlightError, Paused, RoutingLoop
from meshlight.domain.fair_queue import Route
from meshlight.domain.health import Broke, Fact, Served
from meshlight.domain.peers import shared_id
from meshlight.domain.route_score import RouteScore
from meshlight.domain.routing import load_key
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.domain.text import sanitize_line
from meshlight.gateway.inference.attempt import (
    StartedResponse,
    UpstreamRequest,
    build_upstream_request,
    open_route,
)
from meshlight.gateway.inference.begun import Begun
from meshlight.gateway.inference.choice import Choice
from meshlight.gateway.inference.context_guard import CUT, LEARNED_FROM, SMALL, measured
from meshlight.gateway.inference.failures import FailedAttempt, sends_of
from meshlight.gateway.inference.headers import dropped, header_text, request_id, to_client
from meshlight.gateway.inference.queue import ModelQueue, Place
from meshlight.gateway.inference.request import HOPS, InferenceRequest, request_header
from meshlight.gateway.inference.retry_budget import RetryBudget
from meshlight.gateway.inference.retry_policy import (
    EXTRA_ATTEMPTS,
    RetryPolicy,
    allows_next,
    policy_for,
)
from meshlight.gateway.inference.route_choice import FREE_SLOT, RouteChooser, decision
from meshlight.gateway.inference.route_errors import (
    all_busy,
    final_error,
    final_guest_error,
    final_refusal,
    for_guest,
)
from meshlight.gateway.inference.route_trial import RouteTrial
from meshlight.gateway.inference.sinks import NamedSink, Renaming, Sink
from meshlight.gateway.inference.streaming import StreamAborted, UsageTap, stream_response
from meshlight.gateway.inference.timeouts import (
    Cancellation,
    FirstByteTimer,
    FirstByteTimers,
    Waiting,
)
from meshlight.gateway.inference.translated_response import ImmediateResponse, TranslatedResponse
from meshlight.gateway.inference.upstream_errors import last_headers
from meshlight.gateway.inference.waiting_stream import WaitingStream, takes_beats
from meshlight.gateway.lan.app import PAUSED_RETRY_S
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.gateway.translation.ollama.writer import Immediate
from meshlight.http_client.client import Headers, Response
from meshlight.mesh.app_calls import AppCalls
from meshlight.mesh.backend_connections import BackendConnection, BackendConnections
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.route_memory import RouteMemory
from meshlight.mesh.traffic import Outcome, Ticket, Traffic

log = logging.getLogger(__name__)

_TEXT_STREAMS: Final = frozenset({"chat/completions", "completions"})
"""Operations whose streams have an event for each token."""
_STAYS: Final = frozenset({"failing-requests", "rate-limited"})
"""Reasons for which a waiting request stays with its backend: they are about other requests."""
_STAYS_AT_PLACE: Final = _STAYS | {"token-refused", "service-refused", "no-access"}
"""The same for a place behind a backend: a request that waits there for its first byte was let in."""
_ANSWERS: Final = frozenset({"failing-requests", "loading"})
"""Reasons of a backend that is down and still answers: better than none, once the healthy ones have failed."""
RECORDED: Final = frozenset({"engine", "local"})
"""The groups whose servers do not keep responses themselves."""
_PATH_LACKING: Final = frozenset({404, 405})
"""Statuses by which a backend says that it lacks a path."""
NAME_MAX: Final = 40
"""Letters of the name of a program or peer that waits."""

MODEL_HEADER, FALLBACK_HEADER = b"x-meshlight-model", b"x-meshlight-fallback"


def _attempts(number: int) -> tuple[bytes, bytes]:
    return b"x-meshlight-attempts", b"%d" % number


_ATTEMPTS: Final = tuple(_attempts(number) for number in range(EXTRA_ATTEMPTS + 2))


class Relay:
    """Carries requests to backends and answers back."""

    def __init__(  # noqa: PLR0913 - it joins many parts, some given by name
        self,
        registry: Registry,
        links: BackendConnections,
        prober: Prober,
        traffic: Traffic,
        clock: Callable[[], float],
        node_id: str,
        *,
        is_paused: Callable[[], bool] = lambda: False,
        memory: RouteMemory | None = None,
        queue: ModelQueue | None = None,
        calls: AppCalls | None = None,
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._traffic = traffic
        self._clock = clock
        self._node_id = node_id
        self._is_paused = is_paused
        self._queue = queue
        self._calls = AppCalls(clock) if calls is None else calls
        self._budget = RetryBudget()
        self._looked_at: Snapshot | None = None
        """The snapshot by which something is known of the backends that answered."""
        self._spotless: set[str] = set()
        """Those of them against which nothing is held in it."""
        self._turn = 0
        self._chooser = RouteChooser(
            registry, traffic, RouteMemory(traffic, clock) if memory is None else memory, clock
        )
        self._waiting: dict[tuple[str, str], set[Waiting]] = {}
        """The requests that wait for a first byte and may leave, by backend and place behind it."""
        self.timers: FirstByteTimers | None = None
        """The waits for a first byte, since there was one."""
        self.silences = Deadlines()
        """Until when backends may be silent in the middle of an answer."""
        registry.listen(self._on_change)

    async def run(
        self,
        inbound: InferenceRequest,
        sink: Sink,
        disconnect: DisconnectListeners,
        begun: Begun | None = None,
    ) -> None:
        """Answer one request through `sink`; go on with it if it was `begun`.

        Raises ModelNotFound, NotFound or a RouteError when nothing was sent to the client yet and nothing will be.
        """
        if begun is None:
            self._admit(inbound)
            self._count(inbound, self._clock())
        outcome: Outcome = "failed"
        cancellation = Cancellation()
        disconnect.add(cancellation.client_left)
        if begun is not None and begun.cause is not None:
            cancellation.fire(begun.cause)
        try:
            outcome = await self._try_routes(inbound, sink, cancellation, begun)
        except asyncio.CancelledError:
            outcome = "cancelled"
            if cancellation.cause != "left" or cancellation.settle() is None:
                raise
        finally:
            disconnect.discard(cancellation.client_left)
            self._traffic.end(outcome)

    # What the lane does with a request that needs no task: the same as `run`, without waiting.

    def at_once(self, inbound: InferenceRequest) -> RouteScore | Choice | None:
        """Return the route of a request that may be sent now; None for one that has to wait, or to be explained.

        It does not come round in a circle, and doing it twice costs nothing.
        """
        if self._is_paused():
            return None
        found = self._chooser.at_once(inbound, self._turn + 1)
        if found is None:
            return None
        score = found.score if isinstance(found, Choice) else found
        if (
            score.facts.slots is not None
            and self._queue is not None
            and self._queue.is_full(score.backend, score.place, score.model)
        ):
            return None
        return found

    def link_of(self, score: RouteScore) -> BackendConnection:
        """Return the connection of a route."""
        return self._links.put(self._registry.node(score.backend).backend)

    def build(
        self,
        inbound: InferenceRequest,
        model: str,
        link: BackendConnection,
        model_route: ModelRoute | None,
        *,
        translated: bool = False,
    ) -> UpstreamRequest:
        """Return the request for a backend; raises TypeError where none is needed."""
        made = build_upstream_request(inbound, model, link, model_route, self._node_id, translated=translated)
        if isinstance(made, Immediate):
            raise TypeError("This has an answer of our own.")
        return made

    def begin(
        self, inbound: InferenceRequest, found: RouteScore | Choice, link: BackendConnection
    ) -> RouteTrial:
        """Count a request that was sent, and reserve its route."""
        now = self._clock()
        self._count(inbound, now)
        self._turn += 1
        if isinstance(found, Choice):
            return self._reserve(inbound, found.score, found, link, now)
        return self._reserve(inbound, found, None, link, now)

    def leaves(self, trial: RouteTrial) -> tuple[str, str] | None:
        """Return the backend and place that a trial may leave when they fall; None if it has to wait."""
        if not policy_for(is_costly=False, is_metered=trial.link.is_metered).may_leave:
            return None
        return trial.link.backend.id, trial.score.place

    def end(self, trial: RouteTrial, outcome: Outcome) -> None:
        """Count the end of a request, and of its only trial."""
        self.close(trial, outcome)
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
        if self.is_circle(inbound.visited):
            raise RoutingLoop(
                f"The request came round in a circle: {' → '.join(inbound.visited)}.",
                "Two nodes list each other as a backend: remove one of the two entries.",
            )

    def is_circle(self, visited: Sequence[str]) -> bool:
        """Whether a request that these nodes have passed on came round, or has gone too far."""
        return self._node_id in visited or len(visited) > HOPS

    async def _try_routes(
        self, inbound: InferenceRequest, sink: Sink, cancellation: Cancellation, begun: Begun | None
    ) -> Outcome:
        failures: list[FailedAttempt] = []
        tried: list[RouteScore] = []
        stream: WaitingStream | None = None
        choice: Choice | None = None
        waited_s = 0.0
        if begun is None:
            self._turn += 1
            inbound = inbound if len(inbound.body) <= LARGE else await measured(inbound)
            score = self._chooser.sole(inbound)
        else:
            score, choice = begun.trial.score, begun.trial.choice
        if score is None:
            first = await self._chooser.first(inbound, self._turn)
            choice = first if isinstance(first, Choice) else None
            score = first.score if isinstance(first, Choice) else first
        try:
            while score is not None:
                if (
                    begun is None
                    and self._queue is not None
                    and score.facts.slots is not None
                    and self._queue.is_full(score.backend, score.place, score.model)
                ):
                    if stream is None and takes_beats(inbound):
                        sink = stream = WaitingStream(sink, inbound)
                    began = self._clock()
                    score = await self._free_route(
                        self._queue, score, inbound, failures, tried, stream, choice
                    )
                    if score is None:
                        break
                    waited_s = self._clock() - began
                    if choice is not None and score is not choice.score:
                        choice = Choice(score, choice.reading, choice.prompt, FREE_SLOT)
                tried.append(score)
                result = await self._try_route(
                    score, inbound, sink, cancellation, failures, choice, waited_s, begun
                )
                begun = None
                if not isinstance(result, FailedAttempt):
                    if failures and result == "ok":
                        self._record_doubtful(failures)
                    return result
                failures.append(result)
                self._record_attempt(inbound, score, result)
                score = self._next_route(inbound, failures, tried, choice)
            await self._send_failure(inbound, failures, tried[-1], sink)
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
            self._chooser.record_lacking(failure.backend.id, score.model, inbound.path)
        if not failure.may_be_the_requests_fault:
            self._record_failure(failure)
        elif failure.wants_probe:
            self._request_probe_after(failure)

    def _record_doubtful(self, failures: Sequence[FailedAttempt]) -> None:
        """Record the failures that might have been the request's own fault: another backend could do it."""
        for failure in failures:
            if failure.may_be_the_requests_fault:
                self._record_failure(failure)

    async def _send_failure(
        self, inbound: InferenceRequest, failures: list[FailedAttempt], last_tried: RouteScore, sink: Sink
    ) -> None:
        """Send the last backend's failing answer; raises the error if there is none to send."""
        nodes = self._registry.snapshot.nodes
        if (error := self._chooser.guard.refusal_error(failures, last_tried, nodes, inbound)) is not None:
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

    def _next_route(
        self,
        inbound: InferenceRequest,
        failures: list[FailedAttempt],
        tried: list[RouteScore],
        choice: Choice | None,
    ) -> RouteScore | None:
        """Return the route to try after the last failure; ranked anew, for the mesh may have changed meanwhile."""
        if not allows_next(inbound, failures, tried[-1].tier):
            return None
        prompt = NO_PROMPT if choice is None else choice.prompt
        following = next(iter(self._usable(inbound, prompt, failures, _done(tried))), None)
        if following is None or self._budget.allows(len(failures), tried[-1].tier, self._clock()):
            return following
        return None

    def _usable(
        self,
        inbound: InferenceRequest,
        prompt: Prompt,
        failures: Sequence[FailedAttempt],
        done: frozenset[Route],
    ) -> Sequence[RouteScore]:
        """Return the routes that may be tried now, best first, without those that were tried."""
        ranking = self._chooser.ranking(inbound, self._turn, prompt, failures, done)
        if not done:
            return ranking.candidates
        return [s for s in ranking.scores if _route(s) not in done and self._is_worth_trying(s)]

    async def _free_route(
        self,
        queue: ModelQueue,
        score: RouteScore,
        inbound: InferenceRequest,
        failures: Sequence[FailedAttempt],
        tried: Sequence[RouteScore],
        stream: WaitingStream | None,
        choice: Choice | None,
    ) -> RouteScore | None:
        """Return the best route with a free slot, and wait for one if there is none: `score`, the best, is full.

        None when, after a failed attempt, no route is left or the wait was too long. Raises AllBusy for a first
        attempt that can't wait (longer), and what `RouteChooser.first` raises when the last route is gone.
        """
        routing = self._registry.snapshot.routing
        if not routing.queue:
            return score
        done = _done(tried)
        prompt = NO_PROMPT if choice is None else choice.prompt
        guest = inbound.guest
        deadline: float | None = None
        limit_s = 0.0
        has_waited = bool(tried)
        while True:
            usable = self._usable(inbound, prompt, failures, done)
            if not usable:
                if tried:
                    return None
                first = await self._chooser.first(inbound, self._turn)
                return first.score if isinstance(first, Choice) else first
            worth = self._worth_waiting_for(usable, prompt)
            if not worth:
                return usable[0]
            free = next((s for s in worth if not queue.is_full(s.backend, s.place, s.model)), None)
            if free is not None:
                return free
            if deadline is None:
                limit_s = routing.queue_s or max(self._first_byte_s(s) for s in worth)
                deadline = self._clock() + limit_s
            model = worth[0].model
            by_size = frozenset(map(_route, usable)) if len(inbound.body) > SMALL else None
            place = Place(
                model=model,
                kind=(inbound.head.model, inbound.operation, inbound.path, guest, done, by_size),
                routes=partial(self._routes_to_wait_for, model, inbound, prompt, failures, done),
                caller=_caller(inbound),
                name=self._name(inbound),
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
                routes = [_route(s) for s in worth]
                raise all_busy(
                    inbound.head.model,
                    queue.state(place.model, routes),
                    queue.retry_after_s(place.model),
                    limit_s if waited == "late" else None,
                )
            has_waited = True

    def _routes_to_wait_for(
        self,
        model: str,
        inbound: InferenceRequest,
        prompt: Prompt,
        failures: Sequence[FailedAttempt],
        done: frozenset[Route],
    ) -> Sequence[Route]:
        """Return the routes of the model that may be used now and are worth waiting for."""
        worth = self._worth_waiting_for(self._usable(inbound, prompt, failures, done), prompt)
        return [_route(s) for s in worth if s.model == model]

    def _worth_waiting_for(self, usable: Sequence[RouteScore], prompt: Prompt) -> Sequence[RouteScore]:
        """Return the routes without those where a request would wait in vain, or had better wait for another one."""
        found = [s for s in usable if not self._is_in_vain(s)]
        worth = worth_taking([s.facts for s in found], prompt)
        return [s for s, is_worth in zip(found, worth, strict=True) if is_worth]

    def _is_in_vain(self, score: RouteScore) -> bool:
        """Whether a route is tried only because there is no better one: its failure is to come soon."""
        if score.tier != "last-resort":
            return False
        node = self._registry.node(score.backend)
        return is_lost_part(node, score.place) if score.place else self.is_lost(node.backend)

    def _name(self, inbound: InferenceRequest) -> str:
        """Return what to call the sender of a request: a peer's name, or the app's."""
        if inbound.guest is not None:
            return sanitize_line(inbound.guest.name, NAME_MAX) or "a peer"
        from meshlight.domain.client_apps import caller_name  # noqa: PLC0415 - only for those that wait

        agent = request_header(inbound.headers, b"user-agent")
        return caller_name(agent, NAME_MAX) or "an app without a name"

    def _first_byte_s(self, score: RouteScore) -> float:
        return self._registry.node(score.backend).backend.first_byte_s

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
        failures: Sequence[FailedAttempt],
        choice: Choice | None,
        waited_s: float,
        begun: Begun | None,
    ) -> Outcome | FailedAttempt:
        """Try one route after `failures` elsewhere; return how it ended, or why it gave no answer."""
        if begun is None:
            trial = self._reserve(
                inbound,
                score,
                choice,
                self.link_of(score),
                self._clock(),
                is_first=not failures,
                waited_s=waited_s,
            )
        else:
            trial = begun.trial
        link, place = trial.link, score.place
        outcome: Outcome = "failed"
        try:
            if begun is None or begun.started is None:
                policy = policy_for(is_costly=inbound.is_costly, is_metered=link.is_metered)
                timer = self._first_byte_timer(
                    link, place, policy, cancellation, None if begun is None else begun.since
                )
                started = await open_route(
                    inbound,
                    score,
                    link,
                    self._node_id,
                    policy,
                    cancellation,
                    timer,
                    None if begun is None else begun.sent,
                )
                if isinstance(started, FailedAttempt):
                    return replace(started, place=place) if place else started
                extra, tap = self.record_start(trial, started, failures), None
                if started.translator is None:
                    sink = sink if inbound.stored is None else await _recorded(sink, inbound, link, started)
                    sink = self._watched(sink, inbound, score, link, started)
            else:
                started, extra, tap = begun.started, [], begun.tap
                sink = sink if begun.renaming is None else NamedSink(sink, begun.renaming)
            tap = await stream_response(
                started,
                inbound.operation,
                sink,
                extra,
                cancellation,
                link.backend.idle_s,
                is_guest=inbound.guest is not None,
                begun=tap,
                deadlines=self.silences,
            )
            outcome = self.record_end(trial, started.response.status, tap)
        except StreamAborted as aborted:
            self._record_abort(link, score, aborted.why)
        except asyncio.CancelledError:
            outcome = self._record_cancelled(trial.ticket, cancellation, trial.started_at)
            raise
        finally:
            self.close(trial, outcome)
        return outcome

    def _count(self, inbound: InferenceRequest, now: float) -> None:
        """Count a request that begins, and notice whose it is, while somebody wants to see that."""
        if self._calls.is_watching and inbound.guest is None:
            self._calls.notice(request_header(inbound.headers, b"user-agent"))
        self._traffic.start()
        self._budget.record_request(now)

    def _reserve(
        self,
        inbound: InferenceRequest,
        score: RouteScore,
        choice: Choice | None,
        link: BackendConnection,
        now: float,
        *,
        is_first: bool = True,
        waited_s: float = 0.0,
    ) -> RouteTrial:
        """Count a request in at the place it goes to, and keep why, where there was a choice."""
        is_cold = score.facts.loaded is False and self._chooser.is_cold(score)
        if choice is not None or is_cold or not is_first or waited_s or score.fallback:
            self._traffic.decisions.record(
                decision(score, choice, is_cold=is_cold, is_first=is_first, waited_s=waited_s)
            )
        if link.channel is not None:
            link.channel.was_used = True
        ticket = self._traffic.reserve(score.backend, score.model, score.place)
        return RouteTrial(inbound, score, choice, link, ticket, now, is_cold=is_cold)

    def record_start(
        self, trial: RouteTrial, started: StartedResponse, failures: Sequence[FailedAttempt] = ()
    ) -> list[tuple[bytes, bytes]]:
        """Note that a route answers, after `failures` elsewhere; return the headers that are added to its answer."""
        response = started.response
        self.note_start(trial, response, started.first, started.notes)
        return self._headers(started, trial.score, trial.link, trial.inbound, failures, trial.choice)

    def note_start(
        self,
        trial: RouteTrial,
        response: Response | TranslatedResponse | ImmediateResponse,
        first: bytes,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Note that a route answers, and what its headers and `notes` tell of its backend."""
        trial.ticket.first_byte(self._clock() - trial.started_at)
        choice, score = trial.choice, trial.score
        if (choice is not None or trial.is_cold) and response.status < 300 and first:
            self._chooser.record_first_byte(choice, score)
            if trial.is_cold:
                # What is in memory has changed there, and for ten seconds only those who ask are told.
                self._links.check_now(score.backend)
                self._prober.probe_soon(score.backend)
        if trial.link.is_metered or notes:
            self._record_notes(trial.link, response.headers, notes)

    def started_at(
        self, trial: RouteTrial, started: StartedResponse, model_route: ModelRoute
    ) -> StartedResponse:
        """Return an answer of a model's own engine with what is known of that."""
        on_demand = trial.link.on_demand
        if on_demand is None:
            return started
        return replace(
            started,
            why_lost=partial(on_demand.why_lost, trial.score.model, model_route),
            served_as=model_route.model,
        )

    def learn_kept(self, trial: RouteTrial, first: bytes) -> None:
        """Learn what a backend keeps from the beginning of its good answer."""
        self._chooser.kept.learn(trial.inbound, first, trial.score.backend, trial.score.place)

    def record_end(
        self, trial: RouteTrial, status: int, tap: UsageTap, total_s: float | None = None
    ) -> Outcome:
        """Note that an answer was passed on completely; return how that counts.

        `total_s` is how long it took, in seconds, if that is known already.
        """
        link, score, inbound = trial.link, trial.score, trial.inbound
        outcome: Outcome = "failed"
        if status < 400:
            outcome = "ok"
            link.is_proven = True
        snapshot = self._registry.snapshot
        if snapshot is not self._looked_at:
            self._looked_at, self._spotless = snapshot, set()
        if score.backend not in self._spotless:
            self._record_success(snapshot.nodes.get(score.backend), score)
        counts = tap.read(is_ollamas=inbound.operation.startswith("api/"))
        if counts is not None:
            trial.ticket.tokens(counts[0], counts[1])
        elif inbound.operation in _TEXT_STREAMS:
            counts = 0, tap.estimate()
            trial.ticket.estimated_tokens(counts[1])
        if counts is not None and len(inbound.body) >= LEARNED_FROM:
            self._traffic.symptoms.prompt(link.backend.id, score.model, inbound.body, counts[0])
            self._learn_size(inbound, link, score, counts)
        if status < 300:
            self._chooser.record_answer(
                trial.choice,
                trial.ticket,
                self._clock() - trial.started_at if total_s is None else total_s,
                trial.started_at,
                counts,
                tap,
                is_cold=trial.is_cold,
            )
            self._chooser.record_kept(inbound, link.kind.kind, score)
        return outcome

    def close(self, trial: RouteTrial, outcome: Outcome) -> None:
        """Free what a trial occupied."""
        score = trial.score
        trial.ticket.close(outcome)
        if self._queue is not None and score.model in self._queue.waiting_models:
            self._queue.freed(score.model)
        if score.place and not self._waiting.get((score.backend, score.place), True):  # places come and go
            del self._waiting[score.backend, score.place]

    def _first_byte_timer(
        self,
        link: BackendConnection,
        place: str,
        policy: RetryPolicy,
        cancellation: Cancellation,
        since: float | None,
    ) -> FirstByteTimer:
        """Return the timer that ends the wait for a first byte as soon as it is in vain."""
        return FirstByteTimer(
            link.backend,
            cancellation,
            _PlaceWatcher(self._registry, link, place) if place else self,
            self.timers or self.first_timers(),
            may_leave=policy.may_leave,
            waiting=self._waits_at(link.backend.id, place),
            since=since,
        )

    def _waits_at(self, backend_id: str, place: str) -> set[Waiting]:
        waiting = self._waiting.get((backend_id, place))
        if waiting is None:
            waiting = self._waiting[backend_id, place] = set()
        return waiting

    def first_timers(self) -> FirstByteTimers:
        """Return what looks after the waits for a first byte, made with the first one."""
        self.timers = FirstByteTimers(asyncio.get_running_loop())
        return self.timers

    def _headers(
        self,
        started: StartedResponse,
        score: RouteScore,
        link: BackendConnection,
        inbound: InferenceRequest,
        failures: Sequence[FailedAttempt],
        choice: Choice | None,
    ) -> list[tuple[bytes, bytes]]:
        """Return what Meshlight adds to the headers of a backend's answer."""
        headers, is_peer = started.response.headers, link.kind.group == "peer"
        sends = sends_of(failures) + started.sends if failures else started.sends
        extra = _own_headers(headers, link.backend.id, sends, inbound)
        if choice is not None and inbound.guest is None:
            extra.append(choice.header(is_first=not failures))
        if inbound.head.model != score.model or is_peer:
            extra += answering_model(score, headers, inbound, is_peer=is_peer)
        if started.dropped:
            extra.append(dropped(started.dropped))
        return extra

    def _watched(
        self,
        sink: Sink,
        inbound: InferenceRequest,
        score: RouteScore,
        link: BackendConnection,
        started: StartedResponse,
    ) -> Sink:
        """Return a sink that learns what the backend keeps itself, and names the model as it was asked for."""
        if link.kind.group not in RECORDED and started.response.status == 200:
            sink = self._chooser.kept.watch(inbound, sink, started.first, score.backend, score.place)
        asked = inbound.head.model if inbound.named is None else inbound.named
        served_as = started.served_as or score.model
        return NamedSink(sink, Renaming(served_as, asked)) if asked and asked != served_as else sink

    def _learn_size(
        self,
        inbound: InferenceRequest,
        link: BackendConnection,
        score: RouteScore,
        counts: tuple[int, int],
    ) -> None:
        """Learn from a larger prompt how the model counts; one that was cut is told on the backend's card."""
        if not counts[0]:
            return
        node = self._registry.snapshot.nodes.get(link.backend.id)
        if node is not None and (line := self._chooser.guard.learn(inbound, score.model, node, counts[0])):
            link.found[CUT] = line
            self._registry.record_about(link.backend.id, link.found)

    def _record_notes(
        self, link: BackendConnection, headers: Headers, notes: Mapping[str, str] | None
    ) -> None:
        """Show people what an answer tells about its backend, such as the limits of an account."""
        limits = link.kind.limits_from_headers(headers) if link.is_metered else None
        if limits:
            self._chooser.record_limits(link.backend.id, limits)
        if limits or notes:
            lines = limit_lines(limits) if limits else {}
            self._registry.record_about(link.backend.id, {**lines, **(notes or {})})

    def _record_success(self, node: Node | None, score: RouteScore) -> None:
        """Forgive what was held against a backend or a part of it; remember where nothing is, in this snapshot."""
        if node is None:
            return
        backend_id = node.backend.id
        if node.parts and (part := score.place or score.model) in node.parts:
            self._registry.record_part_fact(backend_id, part, Served())
        health = node.health
        is_doubted = health.failures or health.ejections or health.state == "unhealthy"
        if is_doubted and not score.place:
            self._registry.record_fact(backend_id, Served())
        if not (is_doubted or node.parts):
            self._spotless.add(backend_id)

    def _record_abort(self, link: BackendConnection, score: RouteScore, why: str) -> None:
        """Hold it against a route that its answer ended before it was complete."""
        backend, place = link.backend, score.place
        self._traffic.symptoms.failed(backend.id, score.model)
        log.info("%s broke off: %s", load_key(backend.id, place), why)
        is_one_models = link.kind.group == "peer" or link.on_demand is not None
        part = place or (score.model if is_one_models else "")
        self._apply(backend.id, part, Broke(Reason("connection-lost", why)))
        self._request_probe_at(backend, place)

    def _record_cancelled(self, ticket: Ticket, cancellation: Cancellation, started_at: float) -> Outcome:
        """Note it if the client left before the first byte; returns the outcome."""
        if cancellation.cause == "left" and not ticket.first_byte_s:
            self._traffic.symptoms.left(ticket.backend, ticket.model, self._clock() - started_at)
        return "cancelled"

    def _record_failure(self, failure: FailedAttempt) -> None:
        """Hold a failure against its backend or a part of it, and have that probed at once."""
        log.info("attempt on %s failed: %s", failure.backend.id, failure.reason.code)
        if failure.fact is not None:
            self._apply(failure.backend.id, failure.part, failure.fact)
        if not failure.is_final and failure.too_long is None:
            self._request_probe_after(failure)

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
        for backend_id in change.removed:
            self._chooser.forget(backend_id)
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
        self._chooser.forget_lacking(backend_id)
        if self.is_lost(self._registry.node(backend_id).backend):
            self._release_waiting((backend_id, ""))

    def _release_waiting(self, key: tuple[str, str]) -> None:
        if self.timers is not None:
            self.timers.fell(key)
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


def _route(score: RouteScore) -> Route:
    return score.backend, score.place, score.model


def _done(tried: Sequence[RouteScore]) -> frozenset[Route]:
    return frozenset(map(_route, tried))


def _caller(inbound: InferenceRequest) -> str:
    """Return who sent a request, for turns in a queue: a peer, or a program of this machine by its user agent."""
    if inbound.guest is not None:
        return inbound.guest.id
    return f"{hash(request_header(inbound.headers, b'user-agent')):x}"


def is_lost_part(node: Node | None, place: str) -> bool:
    """Whether a request that waits at a place behind a backend waits in vain."""
    part = node.parts.get(place) if node is not None else None
    return part is not None and part.state == "unhealthy" and part.reason.code not in _STAYS_AT_PLACE


async def _recorded(
    sink: Sink, inbound: InferenceRequest, link: BackendConnection, started: StartedResponse
) -> Sink:
    """Return a sink that stores the response that passes through it, if the request asks for that."""
    if inbound.stored is None or link.kind.group not in RECORDED or started.response.status != 200:
        return sink
    from meshlight.gateway.inference.recording import recording  # noqa: PLC0415 - not before there is one to store

    return await recording(sink, inbound.body, inbound.stored)


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
