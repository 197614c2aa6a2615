"""Counts what goes through the mesh, and what is in flight now, by which routing spreads a burst."""

from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Literal

from meshlight.domain.api_types import Requests, Workload
from meshlight.domain.events import RouteTraffic
from meshlight.domain.routing import load_key

Outcome = Literal["ok", "failed", "cancelled"]

FIRST_BYTES_KEPT = 20


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
        "total",
    )

    def __init__(self) -> None:
        self.total = self.successful = self.failed = self.cancelled = self.in_flight = 0
        self.tokens_in = self.tokens_out = 0
        self.first_bytes: deque[float] = deque(maxlen=FIRST_BYTES_KEPT)

    def start(self) -> None:
        """Count a request in."""
        self.total += 1
        self.in_flight += 1

    def end(self, outcome: Outcome) -> None:
        """Count it out."""
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
            first_byte_ms=round(median(self.first_bytes) * 1000, 1) if self.first_bytes else None,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
        )


class _TrafficWindow:
    """What happened on one route since the last traffic event."""

    __slots__ = ("failed", "in_flight", "ok", "started")

    def __init__(self) -> None:
        self.started = self.ok = self.failed = self.in_flight = 0


class Ticket:
    """One attempt on one route: a place reserved on a backend, given back by `close`."""

    __slots__ = ("_by_backend", "_by_model", "_closed", "_traffic", "_window", "backend", "model", "place")

    def __init__(
        self,
        traffic: "Traffic",
        backend: str,
        model: str,
        by_backend: Tally,
        by_model: Tally,
        window: _TrafficWindow,
        place: str = "",
    ) -> None:
        self.backend = backend
        self.model = model
        self.place = place
        self._traffic = traffic
        self._by_backend = by_backend
        self._by_model = by_model
        self._window = window
        self._closed = False
        by_backend.start()
        by_model.start()
        window.started += 1
        window.in_flight += 1

    def first_byte(self, seconds: float) -> None:
        """Note how long the first body byte took."""
        self._by_backend.first_bytes.append(seconds)
        self._by_model.first_bytes.append(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """Note what the answer's `usage` said."""
        for tally in (self._by_backend, self._by_model):
            tally.tokens_in += prompt
            tally.tokens_out += completion

    def close(self, outcome: Outcome) -> None:
        """Give the place back; closing twice counts once."""
        if self._closed:
            return
        self._closed = True
        self._by_backend.end(outcome)
        self._by_model.end(outcome)
        self._window.in_flight -= 1
        if outcome == "ok":
            self._window.ok += 1
        elif outcome == "failed":
            self._window.failed += 1
        self._traffic.give_back(self.backend, self.model, self.place)


class Traffic:
    """All counts. `on_activity` is called when the first thing happens after `drain`, to arm a flush."""

    def __init__(self, on_activity: Callable[[], None] = lambda: None) -> None:
        self.router = Tally()
        self.load: dict[str, int] = {}
        """Requests in flight per backend id, and per `load_key` of a place behind one."""
        self._on_activity = on_activity
        self._backends: dict[str, Tally] = {}
        self._models: dict[str, Tally] = {}
        self._routes: dict[tuple[str, str], _TrafficWindow] = {}
        self._fresh: set[tuple[str, str]] = set()
        self._router_moved = False
        self._leaving: set[str] = set()
        """Backends that are gone while requests still run on them."""

    def start(self) -> None:
        """A client's request came in."""
        self.router.start()
        self._stir()

    def end(self, outcome: Outcome) -> None:
        """A client's request is over."""
        self.router.end(outcome)
        self._stir()

    def reserve(self, backend: str, model: str, place: str = "") -> Ticket:
        """Take a place on a backend for one attempt, before anything is awaited."""
        self._leaving.discard(backend)
        self.load[backend] = self.load.get(backend, 0) + 1
        if place:
            key = load_key(backend, place)
            self.load[key] = self.load.get(key, 0) + 1
        by_backend, by_model = self._tally(self._backends, backend), self._tally(self._models, model)
        return Ticket(self, backend, model, by_backend, by_model, self._window(backend, model), place)

    def give_back(self, backend: str, model: str, place: str = "") -> None:
        """One place on a backend is free again; for the ticket that held it."""
        self.load[backend] -= 1
        if place:
            key = load_key(backend, place)
            self.load[key] -= 1
            if not self.load[key]:
                del self.load[key]
        self._fresh.add((backend, model))
        self._stir()
        if backend in self._leaving:
            self.forget(backend)

    def forget(self, backend: str) -> None:
        """Drop the counts of a backend that is gone, once nothing is in flight there."""
        if self.load.get(backend):
            self._leaving.add(backend)
            return
        self._leaving.discard(backend)
        self._backends.pop(backend, None)
        self.load.pop(backend, None)
        for route in [route for route in self._routes if route[0] == backend]:
            del self._routes[route]
            self._fresh.discard(route)

    def by_backend(self) -> Mapping[str, Workload]:
        """Counts per backend id."""
        return {key: tally.work() for key, tally in self._backends.items()}

    def by_model(self) -> Mapping[str, Workload]:
        """Counts per model id, of the models that were asked for."""
        return {key: tally.work() for key, tally in self._models.items()}

    def drain(self) -> tuple[RouteTraffic, ...] | None:
        """Return what happened per route since the last call; None when nothing did at all."""
        if not self._fresh and not self._router_moved:
            return None
        said = []
        for key in self._fresh:
            window = self._routes[key]
            said.append(
                RouteTraffic(
                    backend=key[0],
                    model=key[1],
                    started=window.started,
                    ok=window.ok,
                    failed=window.failed,
                    in_flight=window.in_flight,
                )
            )
            window.started = window.ok = window.failed = 0
        self._fresh.clear()
        self._router_moved = False
        return tuple(said)

    def _window(self, backend: str, model: str) -> _TrafficWindow:
        key = (backend, model)
        window = self._routes.get(key)
        if window is None:
            window = self._routes[key] = _TrafficWindow()
        self._stir()
        self._fresh.add(key)
        return window

    def _stir(self) -> None:
        if not self._router_moved:
            self._router_moved = True
            self._on_activity()

    @staticmethod
    def _tally(tallies: dict[str, Tally], key: str) -> Tally:
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = Tally()
        return tally
