"""Where requests wait while every route to their model is full: one queue for each model, not for each machine.

A request waits as one future and one timer, and costs nothing meanwhile. Who goes next is `domain/fair_queue.py`'s
decision; here the requests are put to sleep and woken. A slot is held for the one that is woken until it runs.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Literal

from msgspec import Struct

from meshlight.domain.api_types import QueueView, WaitingCaller
from meshlight.domain.clock import CallLater, Clock
from meshlight.domain.fair_queue import LONGEST, Route, SlotQueues, Slots, Waiter
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic

Waited = Literal["go", "late", "too-many"]
"""How a wait ended: a slot is free (or there is no route left), the time is up, too many wait already."""

BEAT_S = 10.0
"""A request with a `beat` calls it this often (seconds) while it waits."""
CALLERS_TOLD = 5
"""Callers whose names are told of those who wait for a model."""
RETRY_AFTER_S = 5.0
"""When to try again, as long as no wait tells."""
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0


class Place(Struct, frozen=True, kw_only=True):
    """Where a request waits, and for how long."""

    model: str
    kind: Hashable
    """The same for requests that may use the same routes."""
    routes: Callable[[], Sequence[Route]]
    """Returns the routes that it may use now, best first."""
    caller: str
    """The program or peer that sent it: callers take turns."""
    limit_s: float
    name: str = ""
    """The caller's name for people."""
    is_guest: bool = False
    is_first: bool = False
    """Whether it waited before, so that it goes before the others."""
    beat: Callable[[], Awaitable[None]] | None = None
    """Called again and again (see `BEAT_S`), to show the client that it is not forgotten."""


class _Sleeper(Waiter):
    """One waiting request, and the future that wakes it."""

    __slots__ = ("future", "is_late", "is_over", "place", "route", "since")

    def __init__(self, place: Place, future: asyncio.Future[None], since: float) -> None:
        super().__init__(place.caller, place.kind, is_guest=place.is_guest)
        self.place = place
        self.future = future
        self.since = since
        self.is_over = self.is_late = False
        self.route: Route | None = None
        """The route whose slot is held for it."""

    def wake(self) -> None:
        """Wake it, if it sleeps."""
        if not self.future.done():
            self.future.set_result(None)

    def go(self, route: Route | None) -> None:
        """End its wait: a slot of this route is held for it, or there is none to wait for."""
        self.route = route
        self.is_over = True
        self.wake()

    def time_is_up(self) -> None:
        """End its wait without a slot."""
        self.is_over = self.is_late = True
        self.wake()


class ModelQueue:
    """The waiting requests of all models.

    `slots` tells the slots of a route; one without a known limit is never full. Call `freed` when a request to a
    model has ended, and `look_again` when routes or slots have changed.
    """

    def __init__(
        self,
        slots: Slots,
        traffic: Traffic,
        clock: Clock,
        later: CallLater,
        *,
        longest: int = LONGEST,
        beat_s: float = BEAT_S,
    ) -> None:
        self._slots = slots
        self._traffic = traffic
        self._clock = clock
        self._later = later
        self._beat_s = beat_s
        self._queues: SlotQueues[_Sleeper] = SlotQueues(
            slots, traffic.in_flight, lambda sleeper: sleeper.place.routes(), longest
        )
        self.waiting_models = self._queues.queues.keys()
        """The models for which requests wait: of others, nothing that is freed has to be told."""
        self._last_waits: dict[str, float] = {}
        """How long the last request waited that got a slot, by model, while others wait."""

    def is_full(self, backend: str, place: str, model: str) -> bool:
        """Whether a route has no free slot; one that is held for a waiting request is not free."""
        if self._slots(backend, place, model) is None:
            return False
        return self._queues.is_full((backend, place, model))

    async def wait(self, place: Place) -> Waited:
        """Wait for a slot; after "go" the caller ranks its routes again and begins without another wait between.

        If it is cancelled, its place and the slot held for it are free at once.
        """
        sleeper = _Sleeper(place, asyncio.get_running_loop().create_future(), self._clock())
        if not self._queues.add(place.model, sleeper, first=place.is_first):
            return "too-many"
        self._show(place.model)
        timer = self._later(max(place.limit_s, 0.0), sleeper.time_is_up)
        try:
            await self._sleep(sleeper)
        except BaseException:
            self._give_back(sleeper)
            raise
        finally:
            timer.cancel()
            if self._queues.remove(place.model, sleeper):
                self._show(place.model)
        if sleeper.route is not None:
            if self._queues.waiting(place.model):
                self._last_waits[place.model] = self._clock() - sleeper.since
            self._queues.release(sleeper.route)
            # It may begin on a better route than the one that was free first: then that one is for the next.
            asyncio.get_running_loop().call_soon(self.freed, place.model)
            return "go"
        return "late" if sleeper.is_late else "go"

    def freed(self, model: str) -> None:
        """Wake whoever may go now: a request to this model has ended."""
        if model not in self._queues.queues:
            return
        granted = self._queues.grants(model)
        for sleeper, route in granted:
            sleeper.go(route)
        if granted:
            self._show(model)

    def look_again(self) -> None:
        """Wake whoever may go now, of all models: routes or slots have changed."""
        for model in tuple(self._queues.queues):
            self.freed(model)

    def waiting(self, model: str) -> int:
        """Return how many requests wait for a model."""
        return self._queues.waiting(model)

    def look(self, model: str) -> QueueView | None:
        """Return who waits for a model and how long; None while none does."""
        queue = self._queues.queues.get(model)
        if queue is None:
            return None
        names = Counter(sleeper.place.name for sleeper in queue)
        return QueueView(
            waiting=len(queue),
            longest_s=round(self._clock() - min(sleeper.since for sleeper in queue), 1),
            expected_s=None if (last_s := self._last_waits.get(model)) is None else round(last_s, 1),
            callers=tuple(WaitingCaller(*pair) for pair in names.most_common(CALLERS_TOLD)),
        )

    def state(self, model: str, routes: Sequence[Route]) -> str:
        """Return how busy these routes are, for people: "4 of 4 slots busy, 12 requests wait"."""
        busy = sum(map(self._queues.busy, routes))
        slots = sum(self._queues.slots(route) or 0 for route in routes)
        waiting = self.waiting(model)
        return f"{busy} of {slots} slots busy, {waiting} request{' waits' if waiting == 1 else 's wait'}"

    def retry_after_s(self, model: str) -> float:
        """Return in how many seconds a request may find a slot: as long as the last one waited."""
        wait_s = self._last_waits.get(model, RETRY_AFTER_S)
        return float(min(max(math.ceil(wait_s), RETRY_MIN_S), RETRY_MAX_S))

    async def _sleep(self, sleeper: _Sleeper) -> None:
        beat = sleeper.place.beat
        if beat is None:
            await sleeper.future
            return
        while not sleeper.is_over:
            timer = self._later(self._beat_s, sleeper.wake)
            try:
                await sleeper.future
            finally:
                timer.cancel()
            if not sleeper.is_over:
                sleeper.future = (
                    asyncio.get_running_loop().create_future()
                )  # its turn may come during the beat
                await beat()

    def _give_back(self, sleeper: _Sleeper) -> None:
        if sleeper.route is not None:
            self._queues.release(sleeper.route)
            self.freed(sleeper.place.model)

    def _show(self, model: str) -> None:
        waiting = self._queues.waiting(model)
        if not waiting:
            self._last_waits.pop(model, None)
        self._traffic.wait(model, waiting)


def told_slots(registry: Registry) -> Slots:
    """Return the slots that the user has set, or else the engine tells; None where neither does.

    What was learned of an engine only moves it back in the order of the routes: no request is held back by a guess. A
    first byte that comes late may have other causes, and a queue in front of an engine that would have answered costs
    more than its own. So do the requests in an engine's own queue, and the limits of an account.
    """

    def slots(backend: str, place: str, model: str) -> int | None:  # noqa: ARG001 - the same for all places
        node = registry.snapshot.nodes.get(backend)
        if node is None:
            return None
        if node.backend.slots is not None:
            return node.backend.slots
        detail = node.details.get(model)
        return None if detail is None else detail.slots

    return slots
