"""What is known of each route beyond its health: whether the model is in memory, its slots, and how fast it answers.

Engines tell some of it beside their probes; the rest is learned from answers that flow anyway. `RouteMemory` brings
the facts of routes up to date for each choice; `Plan` keeps those of one model for as long as its backends stay what
they are. Among many routes that are plain, only those of which something has changed are looked at (`RouteOrder`).
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Final

from meshlight.domain.account_limits import AccountLimits, Limit, LimitKind
from meshlight.domain.backend import Kind, ModelDetail
from meshlight.domain.choice import NO_PROMPT, STEPS, Best, Prompt, RouteFacts, Step, as_told, best, needed
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.kept_speed import Kept
from meshlight.domain.route_order import RouteOrder
from meshlight.domain.route_score import RouteScore
from meshlight.domain.routing import load_key
from meshlight.domain.rules import Policy
from meshlight.domain.snapshot import Node, Snapshot
from meshlight.domain.speed import Speeds
from meshlight.mesh.kept_speeds import KeptRoute, SpeedStore, read, written
from meshlight.mesh.prompt_sizes import PromptSizes
from meshlight.mesh.slow_routes import SlowRoute
from meshlight.mesh.traffic import Ticket, Traffic

ROUTES_MAX: Final = 2_000
"""Routes whose speed is remembered; the oldest are dropped first."""
TICK_S: Final = 60.0
"""How often, at most, speeds are written and slow routes are told."""
CROWDED: Final = 3
"""A place with so many more requests than the least busy one is not preferred for its conversations."""
LOAD_GUESS_S: Final = 20.0
"""How long a model is expected to load where that was never seen."""
LEARN_EVERY_S: Final = 0.02
"""Of the answers that took less, one in so many seconds is enough to know how fast a route is."""
OWN_QUEUE_S: Final = 15.0
"""For how long it counts that requests were seen to wait in an engine's own queue."""
SLOW_FOR_S: Final = 300.0
"""A route that is slow for so long is worth telling."""
MANY: Final = 4
"""From so many routes on, they are kept in order."""
KINDS_MAX: Final = 8
"""Kinds of prompts for which the routes of a plan are kept in order; the oldest is dropped first."""

_KEEP_S: Final[Mapping[Kind, float]] = {"ollama": 300.0, "lmstudio": 3_600.0}
"""How long these keep a model in memory after its last answer, unless they are told otherwise."""
_ALWAYS_LOADED: Final[frozenset[Kind]] = frozenset({"vllm", "mlx"})
"""Servers that answer only once their model is in memory."""
_ENGINES: Final[frozenset[Kind]] = frozenset(
    {"llamacpp", "ollama", "vllm", "mlx", "lmstudio", "openai-compatible"}
)
"""The others limit by other means than slots, or have many engines behind them."""
_NEVER: Final = float("inf")
_NO_DETAIL: Final = ModelDetail()
_UNKNOWN: Final = Speeds()
"""Of a route that has not answered yet; never changed."""


class _Live:
    """One route with all that its facts are made of."""

    __slots__ = (
        "backend",
        "counts_model",
        "facts",
        "home",
        "keep_s",
        "key",
        "looked_at",
        "model",
        "speeds",
        "told_load_s",
        "told_loaded",
        "told_running",
        "told_slots",
        "told_waiting",
    )

    def __init__(self, facts: RouteFacts, node: Node, place: str, model: str, speeds: Speeds) -> None:
        backend = node.backend
        self.facts = facts
        self.backend = backend.id
        self.home = (backend.id, place)
        self.key = load_key(backend.id, place)
        self.model = model
        self.speeds = speeds
        detail = _detail(node, model)
        self.told_loaded = detail.loaded
        if detail.loaded is None and backend.kind in _ALWAYS_LOADED and len(node.models) == 1:
            self.told_loaded = True
        self.looked_at = node.details_at
        self.keep_s = _KEEP_S.get(backend.kind, _NEVER)
        self.told_load_s = detail.load_s
        self.told_waiting = detail.waiting or 0
        self.told_running = detail.running or 1
        self.told_slots = facts.slots = detail.slots if backend.slots is None else backend.slots
        if facts.slots is None and backend.kind not in _ENGINES:
            self.told_slots = 0  # there are none, and none are learned
        # Of an engine with several models, each has slots of its own; what the user sets is for all together.
        self.counts_model = not place and backend.slots is None and len(node.models) > 1

    @property
    def is_plain(self) -> bool:
        """Whether time alone can't make it cold or full, and the account has no limits; see `RouteOrder`."""
        return self.told_loaded is not False and self.speeds.keep_s is None and not self.told_waiting


class _KeptOrder:
    """The routes of a plan in order for one kind of prompt."""

    __slots__ = ("due", "dues", "order", "prompt", "seen")

    def __init__(self, plan: "Plan", prompt: Prompt) -> None:
        count = len(plan.routes)
        self.order = RouteOrder(plan.all_steps, count, prompt)
        self.prompt = prompt
        self.dues = [-_NEVER] * count
        """From when on each route has to be looked at, though nothing was told of it."""
        self.due = -_NEVER
        self.seen = -1
        """Up to where the news of the traffic are known."""


class Plan:
    """The routes of one model that are ready, brought up to date for each choice; see `RouteMemory.renew`."""

    def __init__(
        self, snapshot: Snapshot, policy: Policy, scores: Sequence[RouteScore], routes: list[_Live]
    ) -> None:
        self.snapshot = snapshot
        self.scores = scores
        self.routes = routes
        self.facts = [route.facts for route in routes]
        self.numbers = {route.key: number for number, route in enumerate(routes)}
        self.contexts = sorted({facts.context for facts in self.facts if facts.context is not None})
        self.reads = False
        """Whether it is known of a route how fast it reads a prompt."""
        self.is_plain = False
        """Whether all routes were plain at the last look, and their times known of all or of none."""
        self.orders: dict[tuple[int, int, int], _KeptOrder | None] = {}
        """By kind of prompt; none for one that came once."""
        steps = self.all_steps = needed(STEPS[policy], self.facts)
        self.steps = {
            what: _without_needless(steps, *what)
            for what in product((False, True), (False, True), (False, True))
        }
        """The steps in which the routes may differ, by whether one is the request's home, is cold, may be full."""
        self.takes_turns = policy == "round-robin" or any(score.place for score in scores)


class RouteMemory:
    """Remembers what was seen of routes; for the event loop's thread."""

    def __init__(
        self,
        traffic: Traffic,
        clock: Clock,
        store: SpeedStore | None = None,
        later: CallLater | None = None,
        on_slow: Callable[[Sequence[SlowRoute]], None] = lambda _: None,
    ) -> None:
        self._on_slow = on_slow
        self._is_dirty = False
        self._traffic = traffic
        self._clock = clock
        self._store = store
        self._later = later
        self._ticking: Timer | None = None
        self.sizes = PromptSizes()
        self._limits: dict[str, AccountLimits] = {}
        """Of the accounts whose answers told them."""
        self._speeds: dict[tuple[str, str, str], Speeds] = {}
        for known in self._read():
            self._speeds[known.backend, known.place, known.model] = Speeds(known.kept)

    def bring_up_to_date(
        self, routes: Sequence[tuple[RouteFacts, Node, str]], model: str, prompt: Prompt
    ) -> None:
        """Complete what is known of the routes of a model, each with its node and place, for a request."""
        now = self._clock()
        live = [
            _Live(facts, node, place, model, self._speeds.get((node.backend.id, place, model), _UNKNOWN))
            for facts, node, place in routes
        ]
        self._look(live, prompt, now)
        self._expect(live, prompt, now)

    def plan(self, snapshot: Snapshot, policy: Policy, scores: Sequence[RouteScore]) -> Plan:
        """Return a plan for routes that are all ready; their order among themselves is the one they are listed in."""
        scores = sorted(scores, key=lambda score: score.facts.index)
        routes = []
        for score in scores:
            node, speeds = snapshot.nodes[score.backend], self._of(score)
            speeds.is_one_engine = not score.place and node.backend.kind in _ENGINES
            routes.append(_Live(score.facts, node, score.place, score.model, speeds))
        return Plan(snapshot, policy, scores, routes)

    def renew(self, plan: Plan, snapshot: Snapshot) -> bool:
        """Take over what a new snapshot tells of the routes of a plan; False if it needs another plan.

        It is for the caller to see that the name still stands for the same backends.
        """
        nodes, olds = snapshot.nodes, plan.snapshot.nodes
        changed = []
        for number, route in enumerate(plan.routes):
            node, old = nodes.get(route.backend), olds[route.backend]
            if node is not old:
                if node is None or not is_like(node, old):
                    return False
                changed.append((number, node))
        for number, node in changed:
            score = plan.scores[number]
            facts, speeds = score.facts, self._of(score)
            facts.latency_s = node.health.latency_s
            speeds.is_one_engine = not score.place and node.backend.kind in _ENGINES
            route = plan.routes[number] = _Live(facts, node, score.place, score.model, speeds)
            self._traffic.touch(route.key)
        plan.snapshot = snapshot
        return True

    def choose(self, plan: Plan, prompt: Prompt, turn: int) -> Best:
        """Return the best route of a plan for a request; `turn` counts requests."""
        now = self._clock()
        if (
            plan.is_plain
            and not self._traffic.waiting()
            and (known := self._kept_order(plan, prompt)) is not None
            and self._bring_in_order(plan, known, now)
            and (found := self._best_in_order(plan, known, prompt, now)) is not None
        ):
            return found
        return self.choose_among_all(plan, prompt, turn)

    def choose_among_all(self, plan: Plan, prompt: Prompt, turn: int) -> Best:
        """Return the same with a look at every route."""
        now = self._clock()
        what = self._look(plan.routes, prompt, now)
        plan.is_plain = not plan.takes_turns and len(plan.routes) >= MANY and self._are_plain(plan)
        if plan.takes_turns:
            count = len(plan.facts)
            for index, facts in enumerate(plan.facts):
                facts.turn = (index - turn) % count

        def expect() -> None:
            self._expect(plan.routes, prompt, now)

        found = best(plan.steps[what], plan.facts, prompt, expect)
        may_be_full = what[2]
        return as_told(found, plan.steps[what], plan.facts, prompt, expect) if may_be_full else found

    def _are_plain(self, plan: Plan) -> bool:
        """Whether the routes of a plan can be kept in order."""
        limits = self._limits
        if limits and any(route.backend in limits for route in plan.routes):
            return False
        return all(route.is_plain for route in plan.routes)

    def _kept_order(self, plan: Plan, prompt: Prompt) -> _KeptOrder | None:
        """Return the order for prompts like this one; None for the first one of its kind."""
        orders = plan.orders
        kind = (
            prompt.tokens if plan.reads else 0,
            prompt.answer_tokens,
            bisect_left(plan.contexts, prompt.need),
        )
        known = orders.get(kind)
        if known is None:
            if kind in orders:
                known = orders[kind] = _KeptOrder(plan, prompt)
            else:
                if len(orders) >= KINDS_MAX:
                    del orders[next(iter(orders))]
                orders[kind] = None
        return known

    def _bring_in_order(self, plan: Plan, known: _KeptOrder, now: float) -> bool:
        """Put those routes in their places of which something has changed; False if they are not plain any more."""
        news = self._traffic.news(known.seen)
        if news is not None and not news and now < known.due:
            return True
        numbers, dues = plan.numbers, known.dues
        changed = set(range(len(dues))) if news is None else {numbers[key] for key in news if key in numbers}
        if now >= known.due:
            changed.update(number for number, due in enumerate(dues) if now >= due)
        is_plain, due_s, limits = True, known.due, self._limits
        for number in changed:
            route = plan.routes[number]
            self._look((route,), NO_PROMPT, now)
            facts, speeds = route.facts, route.speeds
            finish_s = facts.finish_s() if self._expect_of(route, known.prompt, now, 0.0) else None
            # What the look before saw of the slots may just have been given up.
            is_old = route.told_slots is None and facts.slots != speeds.learned_slots
            dues[number] = due_at = now if is_old else speeds.due
            due_s = min(due_s, due_at)
            known.order.put(number, facts, finish_s, speeds.usual_s(known.prompt))
            if speeds.read_s is not None and not plan.reads:
                plan.reads = True
                is_plain = False
            if not route.is_plain or (limits and route.backend in limits):
                is_plain = False
        known.due = min(dues) if now >= known.due else due_s
        known.seen = self._traffic.touches
        plan.is_plain = is_plain
        return is_plain

    def _best_in_order(self, plan: Plan, known: _KeptOrder, prompt: Prompt, now: float) -> Best | None:
        """Return the best route; None if all of them have to be looked at for that."""
        home = plan.numbers.get(load_key(*prompt.home)) if prompt.home[0] else None
        facts = None if home is None else plan.routes[home].facts
        finish_s = None
        if home is not None and facts is not None:
            speeds = plan.routes[home].speeds
            if now >= speeds.due:
                speeds.refresh(now)
            if speeds.slow_since is not None or (
                facts.slots is None
                and facts.in_flight >= CROWDED
                and facts.in_flight >= known.order.fewest + CROWDED
            ):
                home = facts = None
            elif (found := known.order.home_first(home)) is not None:
                return found
            else:
                facts.is_home = True
                if self._expect_of(plan.routes[home], known.prompt, now, 0.0):
                    finish_s = facts.finish_s()
        found = known.order.best(home, facts, finish_s)
        if found is not None and found.step == "time":
            first = plan.routes[found.first]
            if not self._expect_of(first, known.prompt, now, 0.0):
                first.facts.work_s = first.facts.wait_s = known.order.untried_s
        if facts is not None:
            facts.is_home = False
        return found

    def is_cold(self, score: RouteScore) -> bool:
        """Whether the model of a route that was cold when it was ranked has not answered since."""
        speeds = self._speeds.get((score.backend, score.place, score.model))
        return speeds is None or not score.facts.known_at < speeds.warm_since

    def answered(self, score: RouteScore) -> None:
        """Note that an answer has content, at its first byte: the model is in memory now."""
        speeds = self._of(score)
        now = self._clock()
        if score.facts.loaded is False and speeds.warm_since < score.facts.known_at:
            speeds.warm_since = now
            speeds.keep_s = None
            self._traffic.touch(load_key(score.backend, score.place))
        speeds.seen_at = now

    def may_learn(self, ticket: Ticket, total_s: float, now: float) -> bool:
        """Whether an answer that took so long is to be learned from: of many quick ones, a few are enough."""
        return total_s >= LEARN_EVERY_S or ticket.may_learn(now, LEARN_EVERY_S)

    def learn(
        self,
        ticket: Ticket,
        total_s: float,
        counts: tuple[int, int] | None,
        *,
        is_cold: bool = False,
        is_cached: bool = False,
        is_timed: bool = False,
    ) -> None:
        """Take in the times and token counts of a complete answer."""
        key = (ticket.backend, ticket.place, ticket.model)
        speeds = self._speeds.get(key) or self._add(key)
        now = self._clock()
        first_s = ticket.first_byte_s
        speeds.seen_at = now
        prompt, answer = counts or (0, 0)
        slower = 1.0 if is_cold else speeds.slower_by(ticket.running)
        first_s, total_s = first_s / slower, total_s / slower
        speeds.learn(
            now,
            first_s,
            total_s,
            prompt,
            answer,
            is_cold=is_cold,
            is_cached=is_cached,
            is_timed=is_timed,
        )
        if ticket.running > 1 and not is_cold and total_s - first_s > total_s / 20:
            speeds.learn_slots(now, ticket.running - 1, first_s, prompt)
        self._traffic.touch(load_key(ticket.backend, ticket.place))
        self._is_dirty = True
        if self._ticking is None and self._later is not None:
            self._ticking = self._later(TICK_S, self._tick)

    def learn_timings(self, ticket: Ticket, read: tuple[int, float], wrote: tuple[int, float]) -> None:
        """Take in what the engine measured itself: tokens and seconds of the prompt, and of the answer."""
        key = (ticket.backend, ticket.place, ticket.model)
        speeds = self._speeds.get(key) or self._add(key)
        slower = speeds.slower_by(ticket.running)
        speeds.learn_timings(self._clock(), (read[0], read[1] / slower), (wrote[0], wrote[1] / slower))
        self._traffic.touch(load_key(ticket.backend, ticket.place))

    def learn_limits(self, backend: str, limits: Mapping[LimitKind, Limit]) -> None:
        """Take in what an answer told of the limits of a backend's account."""
        known = self._limits.get(backend)
        if known is None:
            known = self._limits[backend] = AccountLimits()
        known.record(limits, self._traffic.load.get(backend, 0), self._clock())
        self._traffic.touch(backend)

    def keeps(self, score: RouteScore, keep_s: float) -> None:
        """Note for how long a request wanted the model in memory after its answer, which is complete now.

        Negative for as long as the engine runs. It counts for the answers after it too, until the model is unloaded.
        """
        speeds = self._of(score)
        speeds.seen_at = self._clock()
        speeds.keep_s = keep_s if keep_s >= 0 else _NEVER
        self._traffic.touch(load_key(score.backend, score.place))

    def slow(self) -> list[SlowRoute]:
        """Return the routes that have been slower than half their usual speed for five minutes."""
        now = self._clock()
        found = []
        for (backend, place, model), speeds in self._speeds.items():
            speeds.refresh(now)
            if speeds.slow_since is not None and now - speeds.slow_since >= SLOW_FOR_S:
                found.append(SlowRoute(backend, place, model, speeds.slow_since))
        return found

    def forget(self, backend: str) -> None:
        """Forget the routes of a removed backend."""
        self._limits.pop(backend, None)
        for key in [key for key in self._speeds if key[0] == backend]:
            del self._speeds[key]

    def __len__(self) -> int:
        return len(self._speeds)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._is_dirty and self._store is not None:
            self._is_dirty = False
            self._store.write_now(self._kept())

    def _look(self, routes: Sequence[_Live], prompt: Prompt, now: float) -> tuple[bool, bool, bool]:
        """Bring up to date what runs at the routes of a model, and where it is in memory.

        Returns whether one of them is the request's home, is cold, may be full.
        """
        load, home = self._traffic.load, prompt.home
        has_home = home[0] != ""
        is_any_home = is_any_cold = may_be_full = False
        for route in routes:
            facts, speeds = route.facts, route.speeds
            facts.in_flight = load.get(route.key, 0)
            loaded = route.told_loaded
            if (
                loaded is not True
                and speeds.seen_at > route.looked_at
                and now - speeds.seen_at < (route.keep_s if speeds.keep_s is None else speeds.keep_s)
            ):
                loaded = True
            if speeds.keep_s is not None and self._has_ended(route, now):
                loaded = False
            facts.loaded = loaded
            if loaded is False:
                facts.known_at = now
                facts.is_home = False
                is_any_cold = True
            elif has_home and route.home == home:
                if now >= speeds.due:
                    speeds.refresh(now)
                # A place that has become slow is left: reading the prompt elsewhere takes less.
                facts.is_home = is_any_home = speeds.slow_since is None
            else:
                facts.is_home = False
            if route.told_slots is None:
                facts.slots = speeds.learned_slots
            if facts.slots is not None or facts.in_flight:
                may_be_full = True
            if route.counts_model:
                facts.taken = self._traffic.running(route.backend, route.model)
            if (route.told_waiting or self._limits) and self._counts_others(route, prompt, now):
                may_be_full = True
        if is_any_home and _is_crowded(routes):
            is_any_home = False
        return is_any_home, is_any_cold, may_be_full

    def _counts_others(self, route: _Live, prompt: Prompt, now: float) -> bool:
        """Count what all clients together have sent, also past us: it may be more than there is room for."""
        is_full = False
        if route.told_waiting and not route.told_slots:
            is_full = _count_own_queue(route, now)
        if (limits := self._limits.get(route.backend)) is not None:
            route.facts.held_s = limits.wait_s(route.facts.in_flight, prompt.tokens, now)
            is_full = is_full or route.facts.held_s > 0.0
        return is_full

    def _has_ended(self, route: _Live, now: float) -> bool:
        """Whether the time is up for which a request wanted the model in memory, and nothing newer was seen."""
        keep_s = route.speeds.keep_s
        ends_at = route.speeds.seen_at + (_NEVER if keep_s is None else keep_s)
        return route.looked_at < ends_at <= now and not self._traffic.running(route.backend, route.model)

    def _expect(self, routes: Sequence[_Live], prompt: Prompt, now: float) -> None:
        """Bring up to date how long an answer is expected to take at the routes of a model."""
        unknown = known = False
        turns = self._turns_to_wait(routes)
        for route in routes:
            if self._expect_of(route, prompt, now, turns):
                known = True
            else:
                unknown = True
        if unknown and known:
            self._expect_as_usual(routes, prompt)

    def _expect_of(self, route: _Live, prompt: Prompt, now: float, turns: float) -> bool:
        """Do it for one route by what it has shown itself; False if that is nothing."""
        facts, speeds = route.facts, route.speeds
        if now >= speeds.due:
            speeds.refresh(now)
        # Places of one backend are equals: they take turns, and none is preferred for being a moment faster.
        work_s = speeds.work_s(prompt, is_home=facts.is_home) if speeds.is_one_engine else None
        if work_s is None:
            facts.work_s = None
            return False
        slots = facts.slots
        taken = facts.in_flight if facts.taken is None else facts.taken
        beside = taken if slots is None else min(taken, slots - 1)
        if beside:
            work_s *= speeds.slower_by(beside + 1)
        facts.work_s = work_s
        if facts.loaded is False:
            facts.load_s = route.told_load_s or speeds.load_s or LOAD_GUESS_S
        if slots is not None:
            facts.wait_s = work_s * ((taken - slots + 1) / slots + turns) if taken >= slots else 0.0
        return True

    def _turns_to_wait(self, routes: Sequence[_Live]) -> float:
        """Return how often all slots of a model become free before the requests that wait for it have theirs."""
        waiting = self._traffic.waiting().get(routes[0].model, 0) if routes else 0
        if not waiting:
            return 0.0
        slots = sum(r.facts.slots or 0 for r in routes if r.facts.loaded is not False)
        return waiting / slots if slots else 0.0

    def _expect_as_usual(self, routes: Sequence[_Live], prompt: Prompt) -> None:
        """Expect of routes that have not answered yet what is usual at the best of the others.

        So they are tried when those get slower.
        """
        usual = [speeds.usual_s(prompt) for speeds in (route.speeds for route in routes)]
        best_s = min((value for value in usual if value is not None), default=None)
        for route, value in zip(routes, usual, strict=True):
            facts = route.facts
            if facts.work_s is not None or value is not None or best_s is None:
                continue
            facts.work_s, facts.wait_s = best_s, best_s
            facts.load_s = route.told_load_s or LOAD_GUESS_S

    def _of(self, score: RouteScore) -> Speeds:
        key = (score.backend, score.place, score.model)
        return self._speeds.get(key) or self._add(key)

    def _add(self, key: tuple[str, str, str]) -> Speeds:
        if len(self._speeds) >= ROUTES_MAX:
            del self._speeds[next(iter(self._speeds))]
        speeds = self._speeds[key] = Speeds()
        speeds.is_one_engine = not key[1]
        return speeds

    def _read(self) -> list[KeptRoute]:
        return [] if self._store is None else read(self._store.read())[:ROUTES_MAX]

    def _tick(self) -> None:
        """Write what was learned, and tell which routes are slow; again in a minute while there are any."""
        self._ticking = None
        slow = self.slow()
        if self._is_dirty and self._store is not None:
            self._store.write(self._kept())
        self._is_dirty = False
        self._on_slow(slow)
        if slow and self._later is not None:
            self._ticking = self._later(TICK_S, self._tick)

    def _kept(self) -> bytes:
        return written(
            [
                KeptRoute(*key, values)
                for key, speeds in self._speeds.items()
                if (values := speeds.kept()) != Kept()
            ]
        )


def _is_crowded(routes: Sequence[_Live]) -> bool:
    """Whether the request's home has no known slots and too many requests; then it is no home any more.

    Else clients that all begin with the same words would be one conversation, at one place.
    """
    home = next(route.facts for route in routes if route.facts.is_home)
    if home.slots is not None:
        return False
    home.is_home = home.in_flight < min(route.facts.in_flight for route in routes) + CROWDED
    return not home.is_home


def _count_own_queue(route: _Live, now: float) -> bool:
    """Count those that wait in the engine's own queue, whoever sent them; return whether they still count.

    As many as run then are its slots. It puts the engine last, and no request is held back for it: it takes them all.
    """
    facts, waiting = route.facts, route.told_waiting
    if now - route.looked_at >= OWN_QUEUE_S:
        waiting = 0
        route.told_waiting = 0
    if not waiting:
        if route.told_slots is not None:
            facts.slots = None
        if not route.counts_model:
            facts.taken = None
        return False
    facts.slots = route.told_running
    facts.taken = max(facts.in_flight, route.told_running + waiting)
    return True


def is_like(node: Node, old: Node) -> bool:
    """Whether two states of a backend that is healthy differ in nothing but what a plan takes over."""
    return (
        node.health.state == old.health.state == "healthy"
        and node.backend is old.backend
        and node.models is old.models
        and node.names is old.names
        and node.places is old.places
        and node.parts is old.parts
        and node.details is old.details
    )


def _detail(node: Node, model: str) -> ModelDetail:
    return node.details.get(model) or node.details.get(node.names.get(model, ""), _NO_DETAIL)


def _without_needless(
    steps: Sequence[Step],
    is_any_home: bool,
    is_any_cold: bool,
    may_be_full: bool,
) -> tuple[Step, ...]:
    needless: set[Step] = set()
    if not is_any_home:
        needless.add("conversation")
    if not is_any_cold:
        needless.add("loaded")
        if not may_be_full:
            needless.add("slot")
    return tuple(step for step in steps if step not in needless)
