"""Chooses a route for each request: the only one at once, and the best of several by what is known of them.

A model with one healthy route needs no choice, and of several that are ready, the best is chosen by a plan. Both hold
until a new snapshot tells something of one of the model's own backends. Everything else is ranked anew.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

from msgspec.structs import replace

from meshlight.backends.kinds import KINDS
from meshlight.backends.large_work import LARGE
from meshlight.domain.account_limits import Limit, LimitKind
from meshlight.domain.backend import Kind
from meshlight.domain.choice import NO_PROMPT, Prompt
from meshlight.domain.choice_words import ONLY_ONE, why_first, why_only
from meshlight.domain.clock import Clock
from meshlight.domain.errors import BadRequest
from meshlight.domain.fair_queue import Route
from meshlight.domain.fallback import with_fallback
from meshlight.domain.operations import Operation
from meshlight.domain.peers import SharingTerms, may_use, own_id
from meshlight.domain.route_score import RouteScore, Tier
from meshlight.domain.routing import Ranking, explained, rank, resolve, route_name, why_best
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.domain.text import sanitize_line
from meshlight.gateway.inference.choice import AFTER_FAILURE, Choice
from meshlight.gateway.inference.context_guard import SMALL, ContextGuard
from meshlight.gateway.inference.failures import FailedAttempt, is_of_backend
from meshlight.gateway.inference.kept_state import KeptBy, KeptState
from meshlight.gateway.inference.prompt import Reading, keep_s_of, read_prompt, read_small_prompt
from meshlight.gateway.inference.request import InferenceRequest
from meshlight.gateway.inference.route_errors import no_guest_route, no_route, nothing_shared
from meshlight.gateway.inference.streaming import UsageTap, read_timings
from meshlight.gateway.translation.table import is_reachable
from meshlight.mesh.conversations import Conversations
from meshlight.mesh.decisions import Decision
from meshlight.mesh.registry import Registry
from meshlight.mesh.route_memory import Plan, RouteMemory, is_like
from meshlight.mesh.traffic import Ticket, Traffic

MODELS_MAX: Final = 1_024
"""Names of models whose only route, or whose plan, is remembered for one kind of requests; the oldest goes first."""
KINDS_MAX: Final = 64
"""Kinds of requests (an operation, of own programs or of one peer) for which models are remembered."""
LACKING_MAX: Final = 1_000
"""Paths that are remembered as lacking."""
_UNPLANNED: Final = frozenset[Operation]({"other"})
"""Operations where some backends lack a path."""
_INSTEAD: Final[Mapping[str, str]] = {
    "response": "Send the whole conversation instead of `previous_response_id`.",
    "conversation": "Send the whole conversation instead of its id, or use a model of that backend.",
    "container": "Start a new container, or use a model of that backend.",
    "file": "Send the content of the file, upload it there too, or use a model of that backend.",
}
"""What to do about something that only a backend has that can't be used."""
_WHY_MAX: Final = 120
_WHYS_MAX: Final = 256
FREE_SLOT: Final = "a slot is free there"
"""Why a route was taken that is not the best one."""


def decision(
    score: RouteScore, choice: Choice | None, *, is_cold: bool, is_first: bool, waited_s: float
) -> Decision:
    """Return what is told of an attempt: where it goes and why, as `x-meshlight-why` says it."""
    why = _plain(score.fallback) or (ONLY_ONE if choice is None else choice.why)
    home = ("", "") if choice is None else choice.prompt.home
    return Decision(
        model=score.model,
        backend=score.backend,
        why=why if is_first else AFTER_FAILURE,
        loaded=None if score.facts.loaded is None else not is_cold,
        kept=home == (score.backend, score.place) if home[0] else None,
        waited_s=waited_s,
    )


class _Found:
    """What was found for the requests for one name: the only route, or the plan for several."""

    __slots__ = ("backends", "is_models_id", "name", "node", "others", "room", "route", "snapshot", "terms")

    def __init__(
        self,
        snapshot: Snapshot,
        name: str,
        route: RouteScore | Plan,
        room: int,
        terms: SharingTerms | None,
    ) -> None:
        self.snapshot = snapshot
        """The last one that it was found to hold in."""
        self.name = name
        self.route = route
        self.room = room
        """It says nothing about a body of more than so many bytes, which a context may not hold."""
        self.terms = terms
        """What the peer may use that asks; None for own programs."""
        model, self.backends = resolve(snapshot, name)
        self.is_models_id = terms is None and model == name and not snapshot.routing.wishes(name)
        self.node = snapshot.nodes[route.backend] if isinstance(route, RouteScore) else None
        ready = {score.backend for score in route.scores} if isinstance(route, Plan) else set[str]()
        self.others = tuple(backend for backend in self.backends if backend not in ready)
        """Those backends of the model that are no part of the plan."""

    def holds(self, snapshot: Snapshot, memory: RouteMemory) -> bool:
        """Whether a ranking in this snapshot would come to the same."""
        old, route = self.snapshot, self.route
        if snapshot.routing is not old.routing or snapshot.uses is not old.uses:
            return False
        if snapshot.routes is not old.routes and not (
            self.is_models_id and snapshot.routes.get(self.name) == self.backends
        ):
            return False
        if isinstance(route, RouteScore):
            if snapshot.nodes.get(route.backend) is not self.node:
                return False
        else:
            for backend in self.others:
                node, before = snapshot.nodes.get(backend), old.nodes[backend]
                # One that may not be used stays that while it is healthy.
                if node is None or not (node is before or is_like(node, before)):
                    return False
            if not memory.renew(route, snapshot):
                return False
        self.snapshot = snapshot
        return True


class RouteChooser:
    """Chooses among the routes of the registry's snapshot."""

    def __init__(self, registry: Registry, traffic: Traffic, memory: RouteMemory, clock: Clock) -> None:
        self._registry = registry
        self._traffic = traffic
        self._memory = memory
        self._clock = clock
        self.guard = ContextGuard(memory.sizes)
        self._conversations = Conversations(clock)
        self.kept = KeptState(clock)
        self._known: dict[str, dict[str, _Found]] = {}
        """By the operation, with the id of the peer that asks, if one does; then by the name of the model."""
        self._lacking: set[tuple[str, str, str]] = set()
        """Backend, model and path of requests of no known operation that a backend answered by 404 or 405."""

    def sole(self, inbound: InferenceRequest) -> RouteScore | None:
        """Return the only route of a model, where that is known and healthy."""
        found = self._holding(inbound) if inbound.guest is None else None
        return found.route if found is not None and isinstance(found.route, RouteScore) else None

    def _holding(self, inbound: InferenceRequest) -> _Found | None:
        """Return what is known for a request and holds now; None for one that it says nothing about."""
        guest, head = inbound.guest, inbound.head
        known = self._known.get(_key(inbound))
        found = None if known is None else known.get(head.model)
        snapshot = self._registry.snapshot
        if (
            found is not None
            and found.terms is guest
            and len(inbound.body) <= found.room
            and (found.snapshot is snapshot or found.holds(snapshot, self._memory))
            and (self.kept.is_empty or not self.kept.owners(inbound))
        ):
            return found
        return None

    async def first(self, inbound: InferenceRequest, turn: int) -> RouteScore | Choice:
        """Return the route to try first; a Choice where there was one.

        Raises ModelNotFound, NotFound or a RouteError when there is none, ContextExceeded when none holds the
        prompt, BadRequest for a request that continues a response of a backend that can't be used.
        """
        kept = () if self.kept.is_empty else self.kept.owners(inbound)
        known = self._holding(inbound) if inbound.guest is None and not kept else None
        plan = None
        if known is not None:
            if isinstance(known.route, RouteScore):
                return known.route
            plan = known.route
        else:
            found = self._plan(inbound, turn)
            if isinstance(found, RouteScore):
                return _at_owner(found, kept)
            plan = found
        if plan is not None and len(plan.scores) == 1:
            return _at_owner(plan.scores[0], kept)
        reading = await read_prompt(inbound)
        snapshot = self._registry.snapshot
        if plan is None or plan.snapshot is not snapshot:  # perhaps it is another one since the reading
            known = self._holding(inbound) if plan is not None else None
            if known is None or known.route is not plan:
                return self._anew(inbound, turn, reading)
        return self._best_of(plan, reading, turn)

    def at_once(self, inbound: InferenceRequest, turn: int) -> RouteScore | Choice | None:
        """Return what `sole` or `first` would, where that takes no ranking and no thread; None elsewhere."""
        known = self._holding(inbound)
        if known is None:
            return None
        found = known.route
        if not isinstance(found, Plan):
            return found
        if len(found.scores) == 1:
            return found.scores[0]
        return self._best_of(found, read_small_prompt(inbound), turn) if len(inbound.body) <= LARGE else None

    def _best_of(self, plan: Plan, reading: Reading, turn: int) -> Choice:
        """Return the best route of a plan."""
        prompt = self._prompt(reading, plan.scores[0].model)
        best = self._memory.choose(plan, prompt, turn)
        score, other = plan.scores[best.first], plan.scores[best.second]
        why = why_first(best.step, score.facts, other.facts, route_name(plan.snapshot.nodes, other))
        return Choice(score, reading, prompt, _plain(why))

    def ranking(
        self,
        inbound: InferenceRequest,
        turn: int,
        prompt: Prompt = NO_PROMPT,
        failures: Sequence[FailedAttempt] = (),
        done: frozenset[Route] = frozenset(),
    ) -> Ranking:
        """Rank all routes anew, without those whose backend has no such path, or too small a context.

        `failures` are those of the attempts at the routes that are `done`.
        """
        if failures and prompt is NO_PROMPT and len(inbound.body) > SMALL:  # there was no choice before
            prompt = self.guard.prompt(inbound, self._model(inbound))
        ranking = self._with_path(
            self._rank_or_fall_back(inbound, turn, prompt, failures, done), inbound, prompt
        )
        return self._with_room(ranking, inbound, prompt, failures)

    def record_lacking(self, backend_id: str, model: str, path: str) -> None:
        """Remember that a backend has no such path."""
        if len(self._lacking) >= LACKING_MAX:
            self._lacking.clear()
        self._lacking.add((backend_id, model, path))

    def forget_lacking(self, backend_id: str) -> None:
        """Forget which paths a backend lacks: it may come back as another version, with others."""
        if self._lacking:
            self._lacking = {key for key in self._lacking if key[0] != backend_id}

    def forget(self, backend_id: str) -> None:
        """Forget a removed backend."""
        self._conversations.forget(backend_id)
        self.kept.forget(backend_id)
        self._memory.forget(backend_id)

    def is_cold(self, score: RouteScore) -> bool:
        """Whether the model of a route has to be loaded first."""
        return score.facts.loaded is False and self._memory.is_cold(score)

    def record_limits(self, backend_id: str, limits: Mapping[LimitKind, Limit]) -> None:
        """Note what an answer told of the limits of a backend's account."""
        self._memory.learn_limits(backend_id, limits)

    def record_kept(self, inbound: InferenceRequest, kind: Kind, score: RouteScore) -> None:
        """Note for how long a request that was answered wanted the model in memory."""
        if (keep_s := keep_s_of(inbound, kind)) is not None:
            self._memory.keeps(score, keep_s)

    def record_first_byte(self, choice: Choice | None, score: RouteScore) -> None:
        """Note that a route began a good answer: its model is in memory, and the conversation is there."""
        self._memory.answered(score)
        if choice is not None and choice.reading.conversation is not None:
            self._conversations.record(choice.reading.conversation, score.backend, score.place)

    def record_answer(
        self,
        choice: Choice | None,
        ticket: Ticket,
        total_s: float,
        started_at: float,
        counts: tuple[int, int] | None,
        tap: UsageTap,
        *,
        is_cold: bool,
    ) -> None:
        """Learn from the times and token counts of a complete answer; an engine's own where it gives them."""
        if not is_cold and not self._memory.may_learn(ticket, total_s, started_at + total_s):
            return
        if choice is None:
            self._memory.learn(ticket, total_s, counts, is_cold=is_cold)
            return
        if (timings := read_timings(tap.tail())) is not None:
            self._memory.learn_timings(ticket, *timings)
        home = choice.prompt.home
        if choice.prompt.tokens and not (counts and counts[0]):
            counts = choice.prompt.tokens, counts[1] if counts else 0
        self._memory.learn(
            ticket,
            total_s,
            counts,
            is_cold=is_cold,
            is_cached=home == (ticket.backend, ticket.place),
            is_timed=timings is not None,
        )

    def _plan(self, inbound: InferenceRequest, turn: int) -> RouteScore | Plan | None:
        """Return the only usable route, or the plan for several; None if they have to be ranked for each request."""
        snapshot = self._registry.snapshot
        ranking = self._usable(inbound, turn)
        candidates = ranking.candidates
        is_free = not self.kept.owners(inbound)
        ready = [score for score in candidates if score.tier == "ready"]
        if len(candidates) == 1:
            if len(ranking.scores) == 1 and ready and is_free and not ranking.fallback:
                self._remember(inbound, candidates[0], self._room(ranking))
            is_looked_at = len(ranking.scores) > 1 and len(inbound.body) > self._room(ranking)
            return None if is_looked_at else candidates[0]
        if not ready:
            return None
        # The other routes come after these, until a snapshot tells something else of them.
        plan = self._memory.plan(snapshot, ranking.policy, ready)
        room = self._room(ranking)
        if len(inbound.body) > room:
            return None
        if is_free and inbound.operation not in _UNPLANNED and not ranking.fallback:
            self._remember(inbound, plan, room)
        return plan

    def _remember(self, inbound: InferenceRequest, route: RouteScore | Plan, room: int) -> None:
        snapshot, guest, name = self._registry.snapshot, inbound.guest, inbound.head.model
        if guest is not None:
            name = own_id(snapshot, guest, name)
        key = _key(inbound)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KINDS_MAX:
                del self._known[next(iter(self._known))]
            known = self._known[key] = {}
        elif len(known) >= MODELS_MAX:
            del known[next(iter(known))]
        known[inbound.head.model] = _Found(snapshot, name, route, room, guest)

    def _anew(self, inbound: InferenceRequest, turn: int, reading: Reading) -> RouteScore | Choice:
        """Return the best route by a ranking for this request alone."""
        prompt = self._prompt(reading, self._model(inbound))
        with_path = self._with_path(self._rank_or_fall_back(inbound, turn, prompt), inbound, prompt)
        ranking = self._with_room(with_path, inbound, prompt)
        candidates = ranking.candidates or self._usable(inbound, turn).candidates
        score = candidates[0]
        why = why_best(ranking, self._registry.snapshot.nodes, prompt) or score.why
        if len(candidates) == 1:
            if ranking is with_path:
                return _at_owner(score, self.kept.owners(inbound))
            why = why_only(score.facts)
        return Choice(score, reading, prompt, _plain(why))

    def _model(self, inbound: InferenceRequest) -> str:
        return resolve(self._registry.snapshot, inbound.head.model)[0]

    def _usable(self, inbound: InferenceRequest, turn: int) -> Ranking:
        """Return the ranking; raises the error if no route of it may be tried."""
        all_routes = self._rank_or_fall_back(inbound, turn, NO_PROMPT)
        with_path = self._with_path(all_routes, inbound, NO_PROMPT)
        ranking = self._with_room(with_path, inbound, NO_PROMPT)
        if ranking.candidates:
            return ranking
        if with_path.candidates:
            raise self.guard.error(with_path, self._registry.snapshot.nodes, inbound)
        kept = self.kept.owners(inbound)
        if inbound.guest is not None:
            if not ranking.scores:
                raise nothing_shared()
            if kept and all_routes.candidates:
                raise BadRequest(
                    f"The {kept[0].what} that this request names can't be used now.", "", kept[0].field
                )
            raise no_guest_route(inbound.head.model, lacks_path=bool(all_routes.candidates))
        if kept and all_routes.candidates:
            raise self._kept_elsewhere(kept, ranking)
        lacks = inbound.operation if all_routes.candidates else None
        raise no_route(self._registry.snapshot, ranking, lacks=lacks)

    def _rank(self, inbound: InferenceRequest, turn: int, prompt: Prompt) -> Ranking:
        snapshot = self._registry.snapshot
        name, terms = inbound.head.model, None
        if inbound.guest is not None:
            name, terms = own_id(snapshot, inbound.guest, name), partial(may_use, inbound.guest)
        load, now = self._traffic.load, self._clock()
        return rank(snapshot, name, load, now, turn, terms, knowledge=self._memory, prompt=prompt)

    def _rank_or_fall_back(
        self,
        inbound: InferenceRequest,
        turn: int,
        prompt: Prompt,
        failures: Sequence[FailedAttempt] = (),
        done: frozenset[Route] = frozenset(),
    ) -> Ranking:
        """Rank the routes of the requested model, or of its fallback while none of them is usable.

        After `failures`, only those count that are not `done`, and all failures must be those of backends.
        """
        ranking = self._rank(inbound, turn, prompt)
        is_shared = inbound.guest is None or bool(ranking.scores)
        if not is_shared or (not failures and ranking.is_usable) or not all(map(is_of_backend, failures)):
            return ranking
        lost = {failure.backend.id for failure in failures if not failure.was_sent}

        def rank_one(name: str) -> Ranking:
            found = self._rank(inbound.changed(head=inbound.head.naming(name)), turn, prompt)
            return replace(found, scores=tuple(s for s in found.scores if s.backend not in lost))

        def is_usable(found: Ranking) -> bool:
            left = (s for s in found.scores if (s.backend, s.place, s.model) not in done)
            return any(score.tier in {"ready", "untried"} for score in left)

        return with_fallback(self._registry.snapshot, ranking, rank_one, is_usable)

    def _with_room(
        self,
        ranking: Ranking,
        inbound: InferenceRequest,
        prompt: Prompt,
        failures: Sequence[FailedAttempt] = (),
    ) -> Ranking:
        """Return the ranking without the routes whose context can't hold the request."""
        nodes = self._registry.snapshot.nodes
        checked = self.guard.check(ranking, nodes, inbound, failures)
        return ranking if checked is ranking else explained(checked, nodes, prompt)

    def _room(self, ranking: Ranking) -> int:
        """Return the bytes of body up to which no route of a ranking needs a look at its context."""
        nodes = self._registry.snapshot.nodes
        return min(self.guard.room(nodes[score.backend], score.model) for score in ranking.scores)

    def _prompt(self, reading: Reading, model: str) -> Prompt:
        mark = reading.conversation
        return Prompt(
            tokens=self._memory.sizes.tokens(model, reading.tokens),
            answer_tokens=reading.answer_tokens,
            home=("", "") if mark is None else self._conversations.home(mark),
        )

    def _kept_elsewhere(self, kept: Sequence[KeptBy], ranking: Ranking) -> BadRequest:
        """Return the error for a request that names what only backends have that can't be used for it."""
        nodes = self._registry.snapshot.nodes
        usable = {(score.backend, score.place) for score in ranking.scores}
        found = next((one for one in kept if one.owner not in usable), kept[0])
        node = nodes.get(found.owner[0])
        name = "a backend that is gone" if node is None else node.backend.name
        model = ranking.model[:200]
        other = next((one for one in kept if one.owner != found.owner), None)
        if other is not None and other.owner[0] in nodes:
            return BadRequest(
                f"The {found.what} that this request names is kept by {name}, and the {other.what} by"
                f" {nodes[other.owner[0]].backend.name}: no backend has both.",
                _INSTEAD[found.what],
                found.field,
            )
        return BadRequest(
            f"The {found.what} that this request names is kept by {name}, which can't be used for {model!r} now.",
            _INSTEAD[found.what],
            found.field,
        )

    def _with_path(self, ranking: Ranking, inbound: InferenceRequest, prompt: Prompt) -> Ranking:
        """Return the ranking without the routes whose backend has no such path, or not what the request names."""
        nodes = self._registry.snapshot.nodes
        ranking = without_lacking_kinds(ranking, inbound.operation, nodes, inbound.path, prompt)
        if kept := self.kept.owners(inbound):
            apart = {
                id(score): f"The {one.what} that the request names is kept elsewhere."
                for score in ranking.scores
                for one in kept
                if one.owner != (score.backend, score.place)
            }
            ranking = _set_apart(ranking, apart, "excluded", nodes, prompt)
        if inbound.operation != "other" or not self._lacking:
            return ranking
        apart = {
            id(score): f"It answered that it lacks {inbound.path}."
            for score in ranking.scores
            if (score.backend, score.model, inbound.path) in self._lacking
        }
        return _set_apart(ranking, apart, "last-resort", nodes, prompt)


def _key(inbound: InferenceRequest) -> str:
    """Return under what the routes of a request's models are remembered."""
    guest = inbound.guest
    return inbound.operation if guest is None else f"{inbound.operation} {guest.id}"


def _at_owner(score: RouteScore, kept: Sequence[KeptBy]) -> RouteScore | Choice:
    """Return the only route, with the reason where that is what the request names."""
    return Choice(score, Reading(), why=f"the {kept[0].what} is there") if kept else score


def without_lacking_kinds(
    ranking: Ranking,
    operation: Operation,
    nodes: Mapping[str, Node],
    path: str,
    prompt: Prompt = NO_PROMPT,
) -> Ranking:
    """Return the ranking with every route excluded, with the reason, whose kind of backend lacks the path."""
    apart = {
        id(score): f"{kind.label} has no {path}."
        for score in ranking.scores
        if not is_reachable(operation, kind := KINDS[nodes[score.backend].backend.kind])
    }
    return _set_apart(ranking, apart, "excluded", nodes, prompt)


def _set_apart(
    ranking: Ranking, apart: Mapping[int, str], tier: Tier, nodes: Mapping[str, Node], prompt: Prompt
) -> Ranking:
    """Return the ranking with some of its routes, given by identity with the reason, in another tier."""
    if not apart:
        return ranking
    scores = tuple(
        score.changed(tier=tier, why=apart[id(score)])
        if score.tier != "excluded" and id(score) in apart
        else score
        for score in ranking.scores
    )
    return explained(replace(ranking, scores=scores), nodes, prompt)


@lru_cache(_WHYS_MAX)
def _plain(why: str) -> str:
    """Return a reason as one short line for a header; nearly always one of the last few."""
    return sanitize_line(why, _WHY_MAX).rstrip(".")
