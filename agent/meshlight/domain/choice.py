"""The order of the routes for one request, step by step, so that it can be said aloud.

The first step in which two routes differ decides between them:

1. `rule`: the backends that the model's rule prefers come first.
2. `context`: one whose context holds the prompt and the answer comes before one that is too small.
3. `slot`: one that can begin at once comes before one that is full. A model that would have to be loaded first counts
   as full while it is sooner to wait for one that is in memory.
4. `ring`: the nearer one. (A full place takes nothing, so a free slot farther away comes before it, as far as the
   rule lets requests go.)
5. `conversation`: where the conversation was before, its prompt is in the cache.
6. `loaded`: a model that is in memory comes before one that has to be loaded.
7. `waiting`: the one with the fewest requests.
8. `time`: the one that is expected to finish first; without such knowledge, the one that answers probes first.

`least-busy`, `fastest`, `priority` and `round-robin` leave steps out or order them otherwise (`STEPS`). There is no
sum of points: each step is a plain comparison, so the order is total and the same for the same facts.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from meshlight.domain.rules import Policy

Step = Literal[
    "rule", "context", "slot", "ring", "conversation", "loaded", "priority", "waiting", "time", "turn"
]

STEPS: Mapping[Policy, tuple[Step, ...]] = {
    "local-first": ("rule", "context", "slot", "ring", "conversation", "loaded", "waiting", "time", "turn"),
    "priority": (
        "rule",
        "context",
        "slot",
        "priority",
        "ring",
        "conversation",
        "loaded",
        "waiting",
        "time",
        "turn",
    ),
    "least-busy": ("rule", "context", "slot", "waiting", "conversation", "loaded", "ring", "time", "turn"),
    "fastest": ("rule", "context", "slot", "time", "waiting", "turn"),
    "round-robin": ("rule", "context", "slot", "turn"),
}
"""The steps of each policy, in order."""

_NEVER = float("inf")


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


NO_PROMPT = Prompt()


class RouteFacts(Struct, frozen=True, kw_only=True):
    """What is known of one route now, beside its health; what is not known decides nothing."""

    preference: int = 0
    """The place in the rule's `prefer`."""
    ring: int = 0
    priority: int = 0
    turn: int = 0
    """Where in the round it is; makes the order complete."""
    in_flight: int = 0
    slots: int | None = None
    """Requests that it answers at the same time; None for no known limit."""
    loaded: bool | None = None
    """Whether the model is in memory."""
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
    work_s: float | None = None
    """Seconds from the first byte of the prompt to the last of the answer, once it has a slot."""

    @property
    def is_full(self) -> bool:
        """Whether it can't begin at once."""
        return self.slots is not None and self.in_flight >= self.slots

    @property
    def must_load(self) -> bool:
        """Whether the model has to be loaded first."""
        return self.loaded is False

    def finish_s(self) -> float | None:
        """Return the seconds until an answer would be complete; None if not everything is known."""
        if self.work_s is None:
            return None
        wait_s = (self.wait_s if self.is_full else 0.0) or 0.0
        load_s = self.load_s if self.must_load else 0.0
        return None if load_s is None else wait_s + load_s + self.work_s


class Place(Struct, frozen=True, kw_only=True):
    """The values of one route, step by step; the smaller one goes first."""

    key: tuple[float, ...]
    facts: RouteFacts

    def __lt__(self, other: "Place") -> bool:
        return self.key < other.key


def places(policy: Policy, routes: list[RouteFacts], prompt: Prompt = NO_PROMPT) -> list[Place]:
    """Return the place of each route, in the same order; sort them to get the order of the routes."""
    steps = STEPS[policy]
    finishes = [route.finish_s() for route in routes]
    soonest_warm_s = min(
        (
            finish_s
            for route, finish_s in zip(routes, finishes, strict=True)
            if finish_s is not None and not route.must_load and fits(route, prompt)
        ),
        default=_NEVER,
    )
    # Expectations are compared among themselves only: a place that tells nothing is neither faster nor slower.
    times = finishes if None not in finishes else [route.latency_s for route in routes]
    return [
        Place(
            key=tuple(
                _VALUES[step](route, prompt)
                if step in _VALUES
                else _slot(route, finish_s, soonest_warm_s)
                if step == "slot"
                else _NEVER
                if time_s is None
                else time_s
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


def _slot(route: RouteFacts, finish_s: float | None, soonest_warm_s: float) -> float:
    """Return 0 for a route that can begin, and where that is not later than waiting for a model in memory."""
    if route.is_full:
        return 1.0
    return 1.0 if route.must_load and finish_s is not None and finish_s > soonest_warm_s else 0.0


_VALUES: Mapping[Step, Callable[[RouteFacts, Prompt], float]] = {
    "rule": lambda route, _: route.preference,
    "context": lambda route, prompt: 0.0 if fits(route, prompt) else 1.0,
    "ring": lambda route, _: route.ring,
    "conversation": lambda route, _: 0.0 if route.is_home else 1.0,
    "loaded": lambda route, _: 1.0 if route.must_load else 0.0,
    "priority": lambda route, _: route.priority,
    "waiting": lambda route, _: route.in_flight,
    "turn": lambda route, _: route.turn,
}
"""The values of the steps that look at one route alone."""
