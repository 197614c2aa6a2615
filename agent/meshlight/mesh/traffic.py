"""Counts requests per backend, model and route, and those in flight, by which routing spreads a burst."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Literal

from meshlight.domain.api_types import Requests, Workload
from meshlight.domain.clock import Clock
from meshlight.domain.events import RouteTraffic
from meshlight.domain.median import median
from meshlight.domain.routing import load_key
from meshlight.mesh.decisions import Decisions
from meshlight.mesh.symptoms import Symptoms

Outcome = Literal["ok", "failed", "cancelled"]

FIRST_BYTES_KEPT: Final = 20
NEWS_KEPT: Final = 256
"""Changes of routes after which those who want to know look at all of them again."""


class _LastTimes:
    """The last seconds that something took."""

    __slots__ = ("_next", "values")

    def __init__(self) -> None:
        self.values: list[float] = []
        """In no order."""
        self._next = 0

    def add(self, seconds: float) -> None:
        """Take one in, in the place of the oldest one."""
        values = self.values
        if len(values) < FIRST_BYTES_KEPT:
            values.append(seconds)
        else:
            values[self._next] = seconds
            self._next = self._next + 1 if self._next + 1 < FIRST_BYTES_KEPT else 0


class Tally:
    """The counts of one backend or model."""

    __slots__ = (
        "cancelled",
        "failed",
        "first_bytes",
        "in_flight",
        "successful",
        "tokens_in",
        "tokens_out",
        "tokens_out_estimated",
    )

    def __init__(self) -> None:
        self.successful = self.failed = self.cancelled = self.in_flight = 0
        self.tokens_in = self.tokens_out = self.tokens_out_estimated = 0
        self.first_bytes = _LastTimes()

    @property
    def total(self) -> int:
        """All that have begun."""
        return self.successful + self.failed + self.cancelled + self.in_flight

    def end(self, outcome: Outcome) -> None:
        """Count its end."""
        self.in_flight -= 1
        if outcome == "ok":
            self.successful += 1
        elif outcome == "failed":
            self.failed += 1
        else:
            self.cancelled += 1

    def requests(self) -> Requests:
        """Return the counts alone."""
        return Requests(
            total=self.total,
            successful=self.successful,
            failed=self.failed,
            cancelled=self.cancelled,
            in_flight=self.in_flight,
        )

    def work(self) -> Workload:
        """Return the counts with times and tokens."""
        return Workload(
            total=self.total,
            successful=self.successful,
            failed=self.failed,
            cancelled=self.cancelled,
            in_flight=self.in_flight,
            first_byte_ms=round(median(times) * 1000, 1) if (times := self.first_bytes.values) else None,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            tokens_out_estimated=self.tokens_out_estimated,
        )


class _TrafficWindow:
    """The counts of one route since the last traffic event; `before` is how many had started until then.

    It has the tallies of its backend and its model at hand, so that a request finds all three at once.
    """

    __slots__ = (
        "before",
        "by_backend",
        "by_model",
        "failed",
        "has_changed",
        "in_flight",
        "learned_at",
        "ok",
        "on_end",
        "route",
        "started",
    )

    def __init__(
        self,
        route: tuple[str, str],
        by_backend: Tally,
        by_model: Tally,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.route = route
        self.has_changed = False
        """Since the last traffic event."""
        self.learned_at = -math.inf
        """When one of its quick answers was learned from, by the clock of who learns."""
        self.started = self.ok = self.failed = self.in_flight = self.before = 0
        self.by_backend = by_backend
        self.by_model = by_model
        self.on_end = on_end


class Ticket:
    """One attempt on one route: counts as in flight until `close`."""

    __slots__ = (
        "_closed",
        "_traffic",
        "_window",
        "backend",
        "first_byte_s",
        "model",
        "place",
        "running",
    )

    def __init__(
        self,
        traffic: "Traffic",
        backend: str,
        model: str,
        window: _TrafficWindow,
        place: str = "",
    ) -> None:
        self.backend = backend
        self.model = model
        self.place = place
        self._traffic = traffic
        self._window = window
        self._closed = False
        window.by_backend.in_flight += 1
        window.by_model.in_flight += 1
        window.started += 1
        self.running = window.in_flight = window.in_flight + 1
        """The attempts on this model of this backend that ran when it began, with itself."""
        self.first_byte_s = 0.0
        """How long the first body byte took."""

    def first_byte(self, seconds: float) -> None:
        """Record how long the first body byte took."""
        self.first_byte_s = seconds
        window = self._window
        window.by_backend.first_bytes.add(seconds)
        window.by_model.first_bytes.add(seconds)

    def may_learn(self, now: float, every_s: float) -> bool:
        """Whether nothing was learned from an answer of this route for so many seconds; from this one it is then."""
        window = self._window
        if now - window.learned_at < every_s:
            return False
        window.learned_at = now
        return True

    def tokens(self, prompt: int, completion: int) -> None:
        """Record the token counts of the response's `usage`."""
        window = self._window
        window.by_backend.tokens_in += prompt
        window.by_backend.tokens_out += completion
        window.by_model.tokens_in += prompt
        window.by_model.tokens_out += completion

    def estimated_tokens(self, completion: int) -> None:
        """Count the completion tokens of an answer without `usage`."""
        for tally in (self._window.by_backend, self._window.by_model):
            tally.tokens_out_estimated += completion

    def close(self, outcome: Outcome) -> None:
        """Count the end of the attempt; closing twice counts once."""
        if self._closed:
            return
        self._closed = True
        window = self._window
        window.in_flight -= 1
        if outcome == "ok":  # nearly always
            window.ok += 1
            window.by_backend.in_flight -= 1
            window.by_backend.successful += 1
            window.by_model.in_flight -= 1
            window.by_model.successful += 1
        else:
            window.by_backend.end(outcome)
            window.by_model.end(outcome)
            if outcome == "failed":
                window.failed += 1
        self._traffic.release(window, self.place)
        if window.on_end is not None:
            window.on_end()


class Traffic:
    """All counts. `on_activity` is called at the first change after `drain`, to schedule the next one.

    `on_end` has, by backend id, what is called with the model whenever an attempt there has ended.
    """

    def __init__(
        self,
        on_activity: Callable[[], None] = lambda: None,
        on_end: Mapping[str, Callable[[str], None]] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.router = Tally()
        self.load: dict[str, int] = {}
        """Requests in flight per backend id, and per `load_key` of a place behind one."""
        self.touches = 0
        """How often something of a route has changed on which the choice depends."""
        self._touched = [""] * NEWS_KEPT
        """The last ones, each in the place of its number."""
        self.symptoms = Symptoms()
        self.decisions = Decisions(clock)
        self._on_activity = on_activity
        self._on_end = on_end or {}
        self._backends: dict[str, Tally] = {}
        self._models: dict[str, Tally] = {}
        self._routes: dict[tuple[str, str], _TrafficWindow] = {}
        self._changed_routes: set[tuple[str, str]] = set()
        self._has_changed = False
        self._waiting: dict[str, int] = {}
        self._changed_waiting: dict[str, int] = {}
        self._leaving: set[str] = set()
        """Removed backends on which requests still run."""

    def start(self) -> None:
        """Count a client's request that begins."""
        self.router.in_flight += 1
        if not self._has_changed:
            self._on_change()

    def end(self, outcome: Outcome) -> None:
        """Count its end."""
        self.router.end(outcome)
        if not self._has_changed:
            self._on_change()

    def touch(self, key: str) -> None:
        """Note that something of the route with this `load_key` has changed."""
        self._touched[self.touches % NEWS_KEPT] = key
        self.touches += 1

    def news(self, since: int) -> Sequence[str] | None:
        """Return the keys of the routes that were touched since there were so many touches; None for too many."""
        touches, touched = self.touches, self._touched
        if touches - since > NEWS_KEPT or since < 0:
            return None
        return [touched[number % NEWS_KEPT] for number in range(touches - 1, since - 1, -1)]

    def reserve(self, backend: str, model: str, place: str = "") -> Ticket:
        """Count an attempt as in flight, before anything is awaited; `place` is one behind the backend."""
        if self._leaving:
            self._leaving.discard(backend)
        self.load[backend] = self.load.get(backend, 0) + 1
        self.touch(backend)
        if place:
            key = load_key(backend, place)
            self.load[key] = self.load.get(key, 0) + 1
        route = (backend, model)
        window = self._routes.get(route)
        if window is None:
            window = self._add_window(route)
        self._note_change(window)
        return Ticket(self, backend, model, window, place)

    def in_flight(self, backend: str, place: str, model: str) -> int:
        """Return the requests in flight on one route; a place is counted as a whole."""
        if place:
            return self.load.get(load_key(backend, place), 0)
        window = self._routes.get((backend, model))
        return 0 if window is None else window.in_flight

    def wait(self, model: str, count: int) -> None:
        """Record how many requests wait for a model."""
        if self._waiting.get(model, 0) == count:
            return
        if count:
            self._waiting[model] = count
        else:
            self._waiting.pop(model, None)
        self._changed_waiting[model] = count
        if not self._has_changed:
            self._on_change()

    def waiting(self) -> Mapping[str, int]:
        """Return how many requests wait, by model, of the models for which some do."""
        return self._waiting

    def release(self, window: _TrafficWindow, place: str = "") -> None:
        """Count an attempt as ended; for its ticket alone."""
        backend = window.route[0]
        self.load[backend] -= 1
        self.touch(backend)
        if place:
            key = load_key(backend, place)
            self.load[key] -= 1
            if not self.load[key]:
                del self.load[key]
        self._note_change(window)
        if self._leaving and backend in self._leaving:
            self.forget(backend)

    def running(self, backend: str, model: str) -> int:
        """Return the attempts that run on a model of a backend."""
        window = self._routes.get((backend, model))
        return 0 if window is None else window.in_flight

    def forget(self, backend: str) -> None:
        """Drop the counts of a removed backend, once nothing is in flight there."""
        if self.load.get(backend):
            self._leaving.add(backend)
            return
        self._leaving.discard(backend)
        self._backends.pop(backend, None)
        self.load.pop(backend, None)
        for route in [route for route in self._routes if route[0] == backend]:
            del self._routes[route]
            self._changed_routes.discard(route)

    def by_backend(self) -> Mapping[str, Workload]:
        """Return the counts per backend id."""
        return {key: tally.work() for key, tally in self._backends.items()}

    def by_model(self) -> Mapping[str, Workload]:
        """Return the counts per model id, of the models that were requested."""
        return {key: tally.work() for key, tally in self._models.items()}

    def by_route(self) -> Iterator[tuple[str, str, int, int]]:
        """Return of each route the backend, the model, how many attempts began there, and how many run now."""
        for (backend, model), window in self._routes.items():
            yield backend, model, window.before + window.started, window.in_flight

    def drain(self) -> tuple[RouteTraffic, ...] | None:
        """Return the counts per route since the last call; None when nothing has changed."""
        if not self._changed_routes and not self._has_changed:
            return None
        drained = []
        for key in self._changed_routes:
            window = self._routes[key]
            drained.append(
                RouteTraffic(
                    backend=key[0],
                    model=key[1],
                    started=window.started,
                    ok=window.ok,
                    failed=window.failed,
                    in_flight=window.in_flight,
                )
            )
            window.has_changed = False
            window.before += window.started
            window.started = window.ok = window.failed = 0
        self._changed_routes.clear()
        self._has_changed = False
        return tuple(drained)

    def drain_waiting(self) -> Mapping[str, int]:
        """Return how many requests wait now, by model, where that has changed since the last call."""
        changed, self._changed_waiting = self._changed_waiting, {}
        return changed

    def _add_window(self, route: tuple[str, str]) -> _TrafficWindow:
        backend, model = route
        on_end = self._on_end.get(backend)
        window = self._routes[route] = _TrafficWindow(
            route,
            self._tally(self._backends, backend),
            self._tally(self._models, model),
            None if on_end is None else partial(on_end, model),
        )
        return window

    def _note_change(self, window: _TrafficWindow) -> None:
        """Have the next `drain` tell of a route."""
        if not window.has_changed:
            window.has_changed = True
            self._changed_routes.add(window.route)
        if not self._has_changed:
            self._on_change()

    def _on_change(self) -> None:
        """Tell of the first change after `drain`; callers look at `_has_changed` first, which spares most calls."""
        self._has_changed = True
        self._on_activity()

    @staticmethod
    def _tally(tallies: dict[str, Tally], key: str) -> Tally:
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = Tally()
        return tally
