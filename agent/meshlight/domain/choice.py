"""The order of the routes for one request, step by step, so that it can be said aloud.

The first step in which two routes differ decides between them:

1. `rule`: the backends that the model's rule prefers come first.
2. `context`: one whose context holds the prompt and the answer comes before one that is too small.
3. `slot`: one that can begin at once comes before one that is full. A model that would have to be loaded first counts
   as full while it is sooner to wait for one that is in memory; and a busy place of which no slots are known while it
   takes twice as long as another one, even if that one has to load the model. So does an account whose limits are
   used up.
4. `ring`: the nearer one. (A full place takes nothing, so a free slot farther away comes before it, as far as the
   rule lets requests go.)
5. `conversation`: where the conversation was before, its prompt is in the cache.
6. `loaded`: a model that is in memory comes before one that has to be loaded, unless that one is done sooner even so.
7. `waiting`: the one where the fewest requests wait. Those that run in a slot of their own don't: a fast machine with
   three of its twelve slots busy comes before a slow one without work.
8. `time`: the one that is expected to finish first.
9. `busy`: the one with the fewest requests.
10. `latency`: the one with the lower latency, that of health checks.

`least-busy`, `fastest`, `priority` and `round-robin` leave steps out or order them otherwise (`STEPS`). There is no
sum of points: each step is a plain comparison, so the order is total and the same for the same facts.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import RING_ORDER
from meshlight.domain.rules import Policy

Step = Literal[
    "rule",
    "context",
    "slot",
    "ring",
    "conversation",
    "loaded",
    "priority",
    "waiting",
    "time",
    "busy",
    "latency",
    "turn",
]

_COMMON: Final[tuple[Step, ...]] = ("conversation", "loaded", "waiting", "time", "busy", "latency", "turn")

STEPS: Final[Mapping[Policy, tuple[Step, ...]]] = {
    "local-first": ("rule", "context", "slot", "ring", *_COMMON),
    "priority": ("rule", "context", "slot", "priority", "ring", *_COMMON),
    "least-busy": (
        "rule",
        "context",
        "slot",
        "busy",
        "conversation",
        "loaded",
        "ring",
        "time",
        "latency",
        "turn",
    ),
    "fastest": ("rule", "context", "slot", "time", "latency", "busy", "turn"),
    "round-robin": ("rule", "context", "slot", "turn"),
}
"""The steps of each policy, in order."""

TOO_LONG: Final = 2.0
"""A busy place of which no slots are known counts as full if it takes so many times as long as another one."""
_NEVER: Final = float("inf")
_CLOUD: Final = RING_ORDER["cloud"]


class Prompt(Struct, frozen=True, kw_only=True):
    """What the choice of a route depends on in a request."""

    tokens: int = 0
    """Tokens of the prompt, as estimated; 0 if nothing is known."""
    answer_tokens: int = 0
    """Tokens that the answer may have; 0 if the request does not say."""
    home: tuple[str, str] = ("", "")
    """The backend and place where its conversation was before."""

    @property
    def need(self) -> int:
        """Tokens of context that it needs, as far as that is known."""
        return self.tokens + self.answer_tokens


NO_PROMPT: Final = Prompt()


class RouteFacts(Struct, kw_only=True):
    """What is known of one route now, beside its health; what is not known decides nothing.

    Not frozen: where a choice is made for every request, the same objects are brought up to date each time.
    """

    index: int = 0
    """Its place in the list of the model's routes."""
    preference: int = 0
    """The place in the rule's `prefer`."""
    ring: int = 0
    priority: int = 0
    turn: int = 0
    """Where in the round it is; makes the order complete."""
    in_flight: int = 0
    """Requests at its backend or place."""
    taken: int | None = None
    """Those of them that take a slot; None if all do."""
    slots: int | None = None
    """Requests that it answers at the same time; None for no known limit."""
    loaded: bool | None = None
    """Whether the model is in memory."""
    known_at: float = 0.0
    """When that was worked out, in monotonic seconds."""
    context: int | None = None
    """Tokens of its context as it is loaded."""
    is_home: bool = False
    """Whether the request's conversation was here before."""
    latency_s: float | None = None
    """Of its probes."""
    load_s: float | None = None
    """Seconds to load the model, if it has to be."""
    wait_s: float | None = None
    """Seconds until a slot is free, if it is full."""
    held_s: float = 0.0
    """Seconds until the limits of its account let a request through; 0 if they do now."""
    work_s: float | None = None
    """Seconds from the first byte of the prompt to the last of the answer, once it has a slot."""

    @property
    def is_full(self) -> bool:
        """Whether it can't begin at once."""
        if self.slots is None:
            return self.held_s > 0.0
        return self.held_s > 0.0 or (self.in_flight if self.taken is None else self.taken) >= self.slots

    @property
    def waiting(self) -> int:
        """The requests before this one that it can't begin at once; where no slots are known, any may be one."""
        taken = self.in_flight if self.taken is None else self.taken
        return taken if self.slots is None else max(taken - self.slots + 1, 0)

    @property
    def must_load(self) -> bool:
        """Whether the model has to be loaded first."""
        return self.loaded is False

    def finish_s(self) -> float | None:
        """Return the seconds until an answer would be complete; None if not everything is known."""
        finish_s = self.work_s
        if finish_s is None:
            return None
        if self.slots is not None and self.is_full:
            finish_s += self.wait_s or 0.0
        finish_s += self.held_s
        if self.loaded is False:
            return None if self.load_s is None else finish_s + self.load_s
        return finish_s


class Best(Struct, frozen=True):
    """The number of the best route, that of one that comes right after it, and the step that decided between them.

    With one route alone, it is the second one too.
    """

    first: int
    second: int
    step: Step


class Place(Struct, frozen=True, kw_only=True):
    """The values of one route, step by step; the smaller one goes first."""

    key: tuple[float, ...]
    facts: RouteFacts

    def __lt__(self, other: "Place") -> bool:
        return self.key < other.key


def best(
    steps: Sequence[Step],
    routes: Sequence[RouteFacts],
    prompt: Prompt = NO_PROMPT,
    expect: Callable[[], None] = lambda: None,
) -> Best:
    """Return the route that `places` puts first, without putting the others in order.

    Step by step, the routes are left out that are worse than the best one of those that are left. `expect` is called
    before the first step that looks at times, so that they need not be worked out where none does.
    """
    left: Sequence[RouteFacts] = routes
    numbers: Sequence[int] = range(len(routes))
    second, decided = 0, _LAST
    finishes: list[float | None] | None = None
    for step in steps:
        if step in _PLAIN:
            values: list[float] = list(map(_PLAIN[step], left))
        elif step == "conversation":
            values = [not route.is_home for route in left]
        elif step == "loaded" and not any(route.loaded is False for route in left):
            continue
        elif step == "context":
            need = prompt.tokens + prompt.answer_tokens
            values = [route.context is not None and need > route.context for route in left]
        elif step == "slot" and not any(
            route.loaded is False or (route.slots is None and route.in_flight) for route in left
        ):
            values = [(route.slots is not None or route.held_s > 0.0) and route.is_full for route in left]
        else:
            if finishes is None:
                expect()
                finishes = [route.finish_s() for route in routes]
            values = _timed(step, routes, finishes, numbers, prompt)
        lowest = min(values)
        if lowest == max(values):
            continue
        decided = step
        second = numbers[values.index(min(value for value in values if value > lowest))]
        kept = [at for at, value in enumerate(values) if value == lowest]
        numbers = [numbers[at] for at in kept]
        if len(kept) == 1:
            return Best(numbers[0], second, decided)
        left = [left[at] for at in kept]
    return Best(numbers[0], numbers[1] if len(numbers) > 1 else second, _LAST)


def as_told(
    found: Best,
    steps: Sequence[Step],
    routes: Sequence[RouteFacts],
    prompt: Prompt = NO_PROMPT,
    expect: Callable[[], None] = lambda: None,
) -> Best:
    """Return a choice with what decided it for people: a full place that would be first if it had a free slot.

    The step by which two others differ after that place was left out decided between those two only.
    """
    if not any(route.is_full for route in routes) or routes[found.first].is_full:
        return found
    if found.step in steps[: steps.index("slot") + 1]:
        return found
    expect()
    freed = [_with_free_slot(route) if route.is_full else route for route in routes]
    first = best(steps, freed, prompt).first
    return Best(found.first, first, "slot") if routes[first].is_full else found


def _with_free_slot(route: RouteFacts) -> RouteFacts:
    """Return the facts of a full route as they would be with one slot free."""
    taken = route.in_flight if route.taken is None else route.taken
    more = 0 if route.slots is None else max(taken - route.slots + 1, 0)
    return replace(
        route,
        in_flight=route.in_flight - more,
        taken=None if route.taken is None else route.taken - more,
        wait_s=0.0,
        held_s=0.0,
    )


def _timed(
    step: Step,
    routes: Sequence[RouteFacts],
    finishes: Sequence[float | None],
    numbers: Sequence[int],
    prompt: Prompt,
) -> list[float]:
    """Return the values of the routes of these numbers in a step that looks at times."""
    if step == "slot":
        soonest = _soonest(routes, finishes, prompt)
        return [_slot(routes[at], finishes[at], soonest) for at in numbers]
    if step == "loaded":
        near = _soonest_near(routes, finishes, prompt)
        return [_loads_late(routes[at], finishes[at], near) for at in numbers]
    if None in finishes:
        return [0.0] * len(numbers)
    return [finishes[at] or 0.0 for at in numbers]


_LAST: Final[Step] = "turn"
_PLAIN: Final[Mapping[Step, Callable[[RouteFacts], float]]] = {
    "rule": attrgetter("preference"),
    "ring": attrgetter("ring"),
    "priority": attrgetter("priority"),
    "waiting": attrgetter("waiting"),
    "busy": attrgetter("in_flight"),
    "latency": lambda route: _NEVER if route.latency_s is None else route.latency_s,
    "turn": attrgetter("turn"),
}


def needed(steps: Sequence[Step], routes: Sequence[RouteFacts]) -> tuple[Step, ...]:
    """Return the steps in which these routes may differ, by what does not change from request to request."""
    same = {
        step for step in ("rule", "ring", "priority") if len({_PLAIN[step](route) for route in routes}) == 1
    }
    if all(route.context is None for route in routes):
        same.add("context")
    return tuple(step for step in steps if step not in same)


class _Soonest(Struct, frozen=True):
    """When the first route would be done, in seconds; infinity if that is not known.

    A cloud does not count: no prompt goes there because that saves waiting or loading a model.
    """

    warm_s: float
    """Of those with the model in memory."""
    any_s: float


_UNKNOWN: Final = _Soonest(_NEVER, _NEVER)


def _soonest(routes: Sequence[RouteFacts], finishes: Sequence[float | None], prompt: Prompt) -> _Soonest:
    warm_s = any_s = _NEVER
    for route, finish_s in zip(routes, finishes, strict=True):
        if finish_s is None or finish_s >= warm_s or route.ring >= _CLOUD or not fits(route, prompt):
            continue
        any_s = min(any_s, finish_s)
        if not route.must_load:
            warm_s = finish_s
    return _Soonest(warm_s, any_s)


def _soonest_near(
    routes: Sequence[RouteFacts], finishes: Sequence[float | None], prompt: Prompt
) -> Mapping[int, _Soonest]:
    """Return the same of the routes of each ring alone."""
    found: dict[int, _Soonest] = {}
    for route, finish_s in zip(routes, finishes, strict=True):
        soonest = found.get(route.ring, _UNKNOWN)
        if finish_s is not None and finish_s < soonest.warm_s and fits(route, prompt):
            any_s = min(soonest.any_s, finish_s)
            soonest = _Soonest(soonest.warm_s if route.must_load else finish_s, any_s)
        elif finish_s is None and not (route.must_load or route.is_full) and fits(route, prompt):
            # Nobody can say that loading the model elsewhere is sooner.
            soonest = _Soonest(0.0, soonest.any_s)
        found[route.ring] = soonest
    return found


def places(policy: Policy, routes: Sequence[RouteFacts], prompt: Prompt = NO_PROMPT) -> list[Place]:
    """Return the place of each route, in the same order; sort them to get the order of the routes."""
    steps = STEPS[policy]
    finishes = [route.finish_s() for route in routes]
    soonest, near = _soonest(routes, finishes, prompt), _soonest_near(routes, finishes, prompt)
    # Expectations are compared among themselves only: a place that tells nothing is neither faster nor slower.
    times = [0.0] * len(routes) if None in finishes else finishes
    return [
        Place(
            key=tuple(
                _VALUES[step](route, prompt)
                if step in _VALUES
                else _slot(route, finish_s, soonest)
                if step == "slot"
                else _loads_late(route, finish_s, near)
                if step == "loaded"
                else time_s or 0.0
                for step in steps
            ),
            facts=route,
        )
        for route, finish_s, time_s in zip(routes, finishes, times, strict=True)
    ]


def deciding_step(policy: Policy, first: Place, second: Place) -> Step:
    """Return the step by which one route goes before another one."""
    for step, mine, other in zip(STEPS[policy], first.key, second.key, strict=True):
        if mine != other:
            return step
    return "turn"


def fits(route: RouteFacts, prompt: Prompt) -> bool:
    """Whether a route's context holds a request, as far as both are known."""
    return route.context is None or prompt.need <= route.context


def may_begin(routes: Sequence[RouteFacts], prompt: Prompt = NO_PROMPT) -> list[bool]:
    """Return which routes a request may take now, rather than wait for another one."""
    worth = worth_taking(routes, prompt)
    return [is_worth and not route.is_full for route, is_worth in zip(routes, worth, strict=True)]


def worth_taking(routes: Sequence[RouteFacts], prompt: Prompt = NO_PROMPT) -> list[bool]:
    """Return which routes a request may take now, or once they have a free slot.

    Not one that would have to load its model, or is busy for long, while it is sooner to wait for another one; nor
    one whose context is too small for the prompt while there is one that holds it. (The limit of the answer is seldom
    reached: where it alone does not fit, nobody waits for a larger context.) Nor an account whose limits are used up,
    while there is another route.
    """
    finishes = [route.finish_s() for route in routes]
    soonest = _soonest(routes, finishes, prompt)
    alone = Prompt(tokens=prompt.tokens)
    is_any_fit = any(fits(route, alone) for route in routes)
    is_any_open = any(not route.held_s for route in routes)
    return [
        (route.is_full or _slot(route, finish_s, soonest) == 0.0)
        and (fits(route, alone) or not is_any_fit)
        and not (route.held_s and is_any_open)
        for route, finish_s in zip(routes, finishes, strict=True)
    ]


def _slot(route: RouteFacts, finish_s: float | None, soonest: _Soonest) -> float:
    """Return 0 for a route that can begin, and where that is not later than waiting for another one."""
    if route.is_full:
        return 1.0
    if finish_s is None:
        return 0.0
    if route.must_load:
        return 1.0 if finish_s > soonest.warm_s else 0.0
    is_busy = route.slots is None and route.in_flight > 0
    return 1.0 if is_busy and finish_s > TOO_LONG * soonest.any_s else 0.0


def _loads_late(route: RouteFacts, finish_s: float | None, near: Mapping[int, _Soonest]) -> float:
    """Return 1 for a route that has to load the model and is not done sooner than one that has it in memory."""
    if not route.must_load:
        return 0.0
    return 0.0 if finish_s is not None and finish_s < near[route.ring].warm_s else 1.0


_VALUES: Final[Mapping[Step, Callable[[RouteFacts, Prompt], float]]] = {
    "rule": lambda route, _: route.preference,
    "context": lambda route, prompt: 0.0 if fits(route, prompt) else 1.0,
    "ring": lambda route, _: route.ring,
    "conversation": lambda route, _: 0.0 if route.is_home else 1.0,
    "priority": lambda route, _: route.priority,
    "waiting": lambda route, _: route.waiting,
    "busy": lambda route, _: route.in_flight,
    "latency": lambda route, _: _NEVER if route.latency_s is None else route.latency_s,
    "turn": lambda route, _: route.turn,
}
"""The values of the steps that look at one route alone."""
