"""The inference path: takes a request, walks its routes, passes the first good answer on.

Another route may be tried as long as no body byte has gone to the client: always when the connection failed, and
when the request was sent and brought nothing unless that could cost or do something twice. Afterwards never.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from meshlight.backends.kind import Face
from meshlight.backends.upstream import Headers
from meshlight.domain.backend import Backend
from meshlight.domain.budget import EXTRA_ATTEMPTS, RetryBudget
from meshlight.domain.errors import LoopFound, Paused
from meshlight.domain.health import Broke, Served
from meshlight.domain.reason import Reason
from meshlight.domain.routing import Ranking, Verdict, rank
from meshlight.domain.sharing import may_use
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.able import able
from meshlight.gateway.attempt import Miss, open_route
from meshlight.gateway.guest_word import final_guest_error, for_guest, no_guest_route, nothing_shared
from meshlight.gateway.guests import PAUSED_RETRY_S
from meshlight.gateway.headers import request_id, to_client
from meshlight.gateway.inbound import HOPS, Inbound
from meshlight.gateway.interrupt import Interrupt
from meshlight.gateway.last_word import check_name, final_error, final_refusal, no_route
from meshlight.gateway.leave import Leave
from meshlight.gateway.passing import CutOff, pass_on
from meshlight.gateway.patience import Patience
from meshlight.gateway.refusal import last_headers
from meshlight.gateway.sink import Sink
from meshlight.mesh.links import Links
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Outcome, Traffic

log = logging.getLogger(__name__)

_STAYS = frozenset({"failing-requests", "rate-limited"})
"""Reasons for which a request under way stays where it is: they speak of other requests."""
_ANSWERS = frozenset({"failing-requests", "loading"})
"""Reasons of a backend that is down and yet answers: better than none, once those that are up have failed."""

SOLE_KEPT = 256


class Relay:
    """Carries requests to backends and answers back."""

    def __init__(
        self,
        registry: Registry,
        links: Links,
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
        self._sole: dict[tuple[str, Face], tuple[Snapshot, Verdict]] = {}
        """Models with one healthy route: nothing but a new snapshot can change what is said of them."""
        self._waiting: dict[str, set[Interrupt]] = {}
        """The requests that wait for a first byte and may leave, by backend."""
        registry.listen(self._on_change)

    async def run(self, inbound: Inbound, sink: Sink, leave: Leave) -> None:
        """Answer one request through `sink`.

        Raises NoSuchModel, NotFound or a RouteError when nothing was sent to the client yet and nothing will be.
        """
        self._admit(inbound)
        self._traffic.start()
        self._budget.note_request(self._clock())
        outcome: Outcome = "failed"
        interrupt = Interrupt()
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

    def _admit(self, inbound: Inbound) -> None:
        check_name(inbound.head.model)
        if self._is_paused():
            if inbound.guest is not None:
                raise Paused("The owner of that machine has paused its routing.", "", PAUSED_RETRY_S)
            raise Paused(
                "Routing is paused.",
                "Resume it in the tray's menu, or remove `paused` in the config.",
                PAUSED_RETRY_S,
            )
        if self._node_id in inbound.visited or len(inbound.visited) > HOPS:
            raise LoopFound(
                f"The request came round in a circle: {' → '.join(inbound.visited)}.",
                "Two nodes list each other as a backend: remove one of the two entries.",
            )

    def suspect(self, backend: Backend) -> None:
        """Have a backend probed soon."""
        self._prober.hurry(backend.id)

    def is_lost(self, backend: Backend) -> bool:
        """Whether a request that waits on this backend waits in vain."""
        node = self._registry.snapshot.nodes.get(backend.id)
        if node is None or node.health.state != "unhealthy" or node.health.good:
            return False
        return node.health.reason.code not in _STAYS

    async def _walk(self, inbound: Inbound, sink: Sink, interrupt: Interrupt) -> Outcome:
        self._turn += 1
        misses: list[Miss] = []
        verdict: Verdict | None = self._first(inbound)
        while verdict is not None:
            result = await self._try(verdict, inbound, sink, interrupt, len(misses) + 1)
            if not isinstance(result, Miss):
                for miss in misses:
                    if result == "ok" and _may_be_the_requests_fault(miss):
                        self._learn(miss)  # another backend could do it: so it was not the request
                return result
            misses.append(result)
            if not _may_be_the_requests_fault(result):
                self._learn(result)
            verdict = self._next(inbound, misses, verdict)
        refusal = final_refusal(misses)
        is_guest = inbound.guest is not None
        if refusal is None:
            word = final_guest_error if is_guest else final_error
            raise word(inbound.head.model, misses)
        if is_guest:
            refusal = for_guest(refusal)
        last = misses[-1]
        headers = last_headers(refusal, is_loading=last.reason.code == "loading")
        await sink.start(
            refusal.status, to_client(headers, _extra(headers, last.backend.id, len(misses), inbound))
        )
        await sink.end(refusal.body)
        return "failed"

    def _rank(self, inbound: Inbound) -> Ranking:
        snapshot = self._registry.snapshot
        terms = None if inbound.guest is None else partial(may_use, inbound.guest)
        return rank(snapshot, inbound.head.model, self._traffic.load, self._clock(), self._turn, terms)

    def _first(self, inbound: Inbound) -> Verdict:
        snapshot = self._registry.snapshot
        asked = (inbound.head.model, inbound.face)
        sole = self._sole.get(asked)
        if sole is not None and sole[0] is snapshot and inbound.guest is None:
            return sole[1]
        known = self._rank(inbound)
        ranking = able(known, inbound.face, snapshot.nodes)
        candidates = ranking.candidates
        if not ranking.verdicts and inbound.guest is not None:
            raise nothing_shared()
        if not candidates and inbound.guest is not None:
            raise no_guest_route(ranking.model, lacks_face=bool(known.candidates))
        if not candidates:
            raise no_route(snapshot, ranking, lacks=inbound.face if known.candidates else None)
        if len(ranking.verdicts) == 1 and candidates[0].tier == "ready" and inbound.guest is None:
            if len(self._sole) >= SOLE_KEPT:
                self._sole.clear()
            self._sole[asked] = (snapshot, candidates[0])
        return candidates[0]

    def _next(self, inbound: Inbound, misses: list[Miss], tried: Verdict) -> Verdict | None:
        """Return the route to try after the last miss: judged anew, for the mesh may have changed meanwhile."""
        last = misses[-1]
        if len(misses) > EXTRA_ATTEMPTS or tried.tier == "last-resort":
            return None
        if last.was_sent and (inbound.is_dear or (last.backend.is_metered and not last.was_answered)):
            return None
        known = {miss.backend.id for miss in misses}
        verdicts = able(self._rank(inbound), inbound.face, self._registry.snapshot.nodes).verdicts
        following = next((v for v in verdicts if v.backend not in known and self._is_worth_it(v)), None)
        is_free = len(misses) == 1 and tried.tier == "ready"
        return following if following is None or is_free or self._budget.take(self._clock()) else None

    def _is_worth_it(self, verdict: Verdict) -> bool:
        if verdict.tier == "last-resort":
            return self._registry.node(verdict.backend).health.reason.code in _ANSWERS
        return verdict.tier != "excluded"

    async def _try(
        self, verdict: Verdict, inbound: Inbound, sink: Sink, interrupt: Interrupt, number: int
    ) -> Outcome | Miss:
        link = self._links.put(self._registry.node(verdict.backend).backend)
        backend = link.backend
        # What can't be sent twice stays where it is, even when the backend's probes fail meanwhile.
        can_leave = not (inbound.is_dear or backend.is_metered)
        waiting = self._waiting.setdefault(backend.id, set())
        started = self._clock()
        ticket = self._traffic.reserve(backend.id, verdict.model)
        outcome: Outcome = "failed"
        try:
            patience = Patience(backend, interrupt, self, asyncio.get_running_loop(), can_leave=can_leave)
            if can_leave:
                waiting.add(interrupt)
            try:
                opened = await open_route(inbound, verdict.model, link, self._node_id, interrupt, patience)
            finally:
                waiting.discard(interrupt)
            if isinstance(opened, Miss):
                return opened
            ticket.first_byte(self._clock() - started)
            response = opened.response
            if backend.is_metered and (said := link.kind.headers_say(response.headers)):
                self._registry.note(backend.id, said)
            extra = _extra(response.headers, backend.id, number, inbound)
            is_guest = inbound.guest is not None
            tap = await pass_on(
                opened, inbound.face, sink, extra, interrupt, backend.idle_s, is_guest=is_guest
            )
            outcome = "ok" if response.status < 400 else "failed"
            self._credit(backend.id)
            if (counts := tap.read()) is not None:
                ticket.tokens(*counts)
        except CutOff as cut:
            log.info("%s broke off: %s", backend.id, cut.why)
            self._registry.apply(backend.id, Broke(Reason("connection-lost", cut.why)))
            self.suspect(backend)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            ticket.close(outcome)
        return outcome

    def _learn(self, miss: Miss) -> None:
        """Traffic is evidence: hold a miss against its backend, and have it probed at once."""
        log.info("attempt on %s failed: %s", miss.backend.id, miss.reason.code)
        if miss.fact is not None:
            self._registry.apply(miss.backend.id, miss.fact)
        self.suspect(miss.backend)

    def _credit(self, backend_id: str) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is not None and (
            node.health.failures or node.health.ejections or node.health.state == "unhealthy"
        ):
            self._registry.apply(backend_id, Served())

    def _on_change(self, change: Change) -> None:
        """A backend fell: what waits on it for a first byte moves on."""
        for backend_id in change.removed:
            self._waiting.pop(backend_id, None)
        if change.incident is None or change.incident[2] != "unhealthy":
            return
        backend_id = change.incident[0]
        if self.is_lost(self._registry.node(backend_id).backend):
            for interrupt in tuple(self._waiting.get(backend_id, ())):
                interrupt.fire("fell")


def _may_be_the_requests_fault(miss: Miss) -> bool:
    """Whether a backend answered 500: engines say so too when they can't take what the client asked for.

    llama-server does it for a picture sent to a model without eyes. It is held against the backend only when
    another one then answers the same request.
    """
    return miss.refusal is not None and miss.refusal.status == 500


def _extra(headers: Headers, backend_id: str, attempts: int, inbound: Inbound) -> list[tuple[bytes, bytes]]:
    """Return the headers that Meshlight adds to a backend's answer; which backend it was is none of a guest's."""
    extra: list[tuple[bytes, bytes]] = []
    if inbound.guest is None:
        extra += [(b"x-meshlight-backend", backend_id.encode()), (b"x-meshlight-attempts", b"%d" % attempts)]
    given = dict(headers)
    known = given.get(b"x-request-id")
    if known is None:
        extra.append(request_id())
    if inbound.face.startswith("messages") and b"request-id" not in given:  # what Anthropic's clients call it
        extra.append((b"request-id", known or extra[-1][1]))
    return extra
