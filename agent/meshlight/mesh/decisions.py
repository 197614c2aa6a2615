"""Where the last requests went and why, for people who look on: a few records, and no history.

Only requests that had a choice are recorded, waited or failed elsewhere; of the others, which cost nothing here, the
counts of `Traffic` tell enough when an event is made.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from meshlight.domain.api_types import DecisionView
from meshlight.domain.choice_words import ONLY_ONE
from meshlight.domain.clock import Clock
from meshlight.domain.events import RouteTraffic

KEPT = 10
"""The latest decisions, which are told to whoever begins to look on."""


class Decision(Struct, frozen=True, kw_only=True):
    """One record; the fields are those of `DecisionView`."""

    model: str
    backend: str
    why: str
    loaded: bool | None = None
    kept: bool | None = None
    waited_s: float = 0.0
    count: int = 1


class Decisions:
    """The last decisions, on the service's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: deque[tuple[float, Decision]] = deque(maxlen=KEPT)
        self._new: deque[tuple[float, Decision]] = deque(maxlen=KEPT)
        self._routes: set[tuple[str, str]] = set()
        """Backends and models of the new ones."""

    def record(self, decision: Decision) -> None:
        """Keep a decision until the next event."""
        self._new.append((self._clock(), decision))
        self._routes.add((decision.backend, decision.model))

    def drain(self, routes: Iterable[RouteTraffic]) -> tuple[DecisionView, ...]:
        """Return the decisions since the last call, the latest last, with those of `routes` that had no choice."""
        now = self._clock()
        alone = [
            (now, Decision(model=route.model, backend=route.backend, why=ONLY_ONE, count=route.started))
            for route in routes
            if route.started and (route.backend, route.model) not in self._routes
        ]
        new = [*alone, *self._new][-KEPT:]
        self._new.clear()
        self._routes.clear()
        self._told.extend(new)
        return _views(new, now)

    def latest(self) -> tuple[DecisionView, ...]:
        """Return the last decisions that were drained, the latest last."""
        return _views(self._told, self._clock())


def _views(kept: Iterable[tuple[float, Decision]], now: float) -> tuple[DecisionView, ...]:
    return tuple(
        DecisionView(
            model=decision.model,
            backend=decision.backend,
            why=decision.why,
            age_s=round(now - at, 1),
            loaded=decision.loaded,
            kept=decision.kept,
            waited_s=round(decision.waited_s, 1),
            count=decision.count,
        )
        for at, decision in kept
    )
