"""The inference path: takes a request, walks its routes, passes the first good answer on.

Another route may be tried as long as no body byte has gone to the client: always when the connection failed, and
when the request was sent and brought nothing unless that could cost or do something twice. Afterwards never.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from itertools import count

from meshlight.backends.upstream import Headers
from meshlight.domain.budget import EXTRA_ATTEMPTS, RetryBudget
from meshlight.domain.errors import LoopFound
from meshlight.domain.health import Broke, Served
from meshlight.domain.reason import Reason
from meshlight.domain.routing import Verdict, rank
from meshlight.gateway.attempt import Miss, open_route
from meshlight.gateway.headers import to_client
from meshlight.gateway.inbound import HOPS, Inbound
from meshlight.gateway.interrupt import Interrupt
from meshlight.gateway.last_word import final_error, final_refusal, no_route
from meshlight.gateway.leave import Leave
from meshlight.gateway.passing import CutOff, pass_on
from meshlight.gateway.sink import Sink
from meshlight.gateway.usage import UsageTap
from meshlight.mesh.links import Links
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Outcome, Traffic

log = logging.getLogger(__name__)

_STAYS = frozenset({"failing-requests", "rate-limited"})
"""Reasons for which a request under way stays where it is: they speak of other requests."""

_RUN = secrets.token_hex(4).encode()
_numbers = count(1)
"""A request's id is this run's name and its number in it."""


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
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._traffic = traffic
        self._clock = clock
        self._node_id = node_id
        self._budget = RetryBudget()
        self._turn = 0
        self._waiting: dict[str, set[Interrupt]] = {}
        registry.listen(self._on_change)

    async def run(self, inbound: Inbound, sink: Sink, leave: Leave) -> None:
        """Answer one request through `sink`.

        Raises NoSuchModel or a RouteError when nothing was sent to the client yet and nothing will be.
        """
        if self._node_id in inbound.visited or len(inbound.visited) > HOPS:
            raise LoopFound(
                f"The request came round in a circle: {' → '.join(inbound.visited)}.",
                "Two nodes list each other as a backend: remove one of the two entries.",
            )
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

    async def _walk(self, inbound: Inbound, sink: Sink, interrupt: Interrupt) -> Outcome:
        misses: list[Miss] = []
        self._turn += 1
        while (verdict := self._next(inbound, misses)) is not None:
            result = await self._try(verdict, inbound, sink, interrupt, len(misses) + 1)
            if not isinstance(result, Miss):
                return result
            misses.append(result)
            self._learn(result)
            if not self._may_go_on(inbound, misses, was_trusted=verdict.tier == "ready"):
                break
        refusal = final_refusal(misses)
        if refusal is None:
            raise final_error(inbound.head.model, misses)
        last = misses[-1].backend.id
        await sink.start(
            refusal.status, to_client(refusal.headers, _extra(refusal.headers, last, len(misses)))
        )
        await sink.write(refusal.body)
        await sink.end()
        return "failed"

    def _next(self, inbound: Inbound, misses: list[Miss]) -> Verdict | None:
        """Return the next route to try: judged anew each time, for the mesh may have changed meanwhile."""
        snapshot = self._registry.snapshot
        ranking = rank(snapshot, inbound.head.model, self._traffic.load, self._clock(), self._turn)
        if not misses:
            if not ranking.candidates:
                raise no_route(snapshot, ranking)
            return ranking.candidates[0]
        tried = {miss.backend.id for miss in misses}
        fresh = (v for v in ranking.verdicts if v.tier in {"ready", "untried"} and v.backend not in tried)
        return next(fresh, None)

    async def _try(
        self, verdict: Verdict, inbound: Inbound, sink: Sink, interrupt: Interrupt, number: int
    ) -> Outcome | Miss:
        backend_id = verdict.backend
        link = self._links.get(backend_id)
        if link is None:
            backend = self._registry.node(backend_id).backend
            return Miss(
                backend=backend, reason=Reason("gone", f"{backend.name} was removed."), was_sent=False
            )
        started = self._clock()
        ticket = self._traffic.reserve(backend_id, verdict.model)
        outcome: Outcome = "failed"
        # What can't be sent twice stays where it is, even when the backend's probes fail meanwhile.
        waiting = (
            None
            if inbound.is_dear or link.backend.is_metered
            else self._waiting.setdefault(backend_id, set())
        )
        try:
            if waiting is not None:
                waiting.add(interrupt)
            try:
                opened = await open_route(
                    inbound,
                    verdict.model,
                    link,
                    self._node_id,
                    interrupt,
                    lambda: self._prober.hurry(backend_id),
                )
            finally:
                if waiting is not None:
                    waiting.discard(interrupt)
            if isinstance(opened, Miss):
                return opened
            ticket.first_byte(self._clock() - started)
            response, tap = opened.response, UsageTap()
            await pass_on(
                response,
                opened.first,
                sink,
                _extra(response.headers, backend_id, number),
                tap,
                interrupt,
                link.backend.idle_s,
                self._clock,
            )
            outcome = "ok" if response.status < 400 else "failed"
            self._credit(backend_id)
            if (counts := tap.read()) is not None:
                ticket.tokens(*counts)
        except CutOff as cut:
            log.info("%s broke off: %s", backend_id, cut.why)
            self._registry.apply(backend_id, Broke(Reason("connection-lost", cut.why)))
            self._prober.hurry(backend_id)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            ticket.close(outcome)
        return outcome

    def _may_go_on(self, inbound: Inbound, misses: list[Miss], *, was_trusted: bool) -> bool:
        """Whether another route may be tried after the last miss."""
        last = misses[-1]
        if len(misses) > EXTRA_ATTEMPTS:
            return False
        if last.was_sent and (inbound.is_dear or (last.backend.is_metered and last.refusal is None)):
            return False
        return (len(misses) == 1 and was_trusted) or self._budget.take(self._clock())

    def _learn(self, miss: Miss) -> None:
        """Traffic is evidence: hold a miss against its backend, and have it probed at once."""
        log.info("attempt on %s failed: %s", miss.backend.id, miss.reason.code)
        if miss.fact is not None:
            self._registry.apply(miss.backend.id, miss.fact)
        self._prober.hurry(miss.backend.id)

    def _credit(self, backend_id: str) -> None:
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is not None and (
            node.health.failures or node.health.ejections or node.health.state == "unhealthy"
        ):
            self._registry.apply(backend_id, Served())

    def _on_change(self, change: Change) -> None:
        """A backend fell: what waits on it for a first byte moves on."""
        if change.incident is None or change.incident[2] != "unhealthy":
            return
        backend_id = change.incident[0]
        node = self._registry.snapshot.nodes.get(backend_id)
        if node is not None and node.health.reason.code not in _STAYS:
            for interrupt in tuple(self._waiting.get(backend_id, ())):
                interrupt.fire("fell")


def _extra(headers: Headers, backend_id: str, attempts: int) -> list[tuple[bytes, bytes]]:
    """Return the headers that Meshlight adds to a backend's answer."""
    extra = [(b"x-meshlight-backend", backend_id.encode()), (b"x-meshlight-attempts", b"%d" % attempts)]
    if b"x-request-id" not in dict(headers):
        extra.append((b"x-request-id", b"req_%s_%d" % (_RUN, next(_numbers))))
    return extra
