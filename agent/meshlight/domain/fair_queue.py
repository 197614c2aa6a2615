"""Who goes next among the requests that wait for a slot of a model: nothing here waits or keeps time.

The next free slot of any route takes the request whose turn it is among those that may use that route. Callers (the
programs of this machine, the peers) take turns, each with its oldest request; this machine's own programs go before
peers, of whom one goes after every `OWNERS_PER_GUEST` at the latest. A request that waited already, and failed at a
route, goes before all others.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

Route = tuple[str, str, str]
"""The backend, the place behind it, the model."""
Slots = Callable[[str, str, str], int | None]
"""Returns how many requests a route (backend, place, model) answers at the same time; None for no known limit."""

LONGEST = 500
"""Requests that may wait for one model."""
OWNERS_PER_GUEST = 8
"""Requests of this machine that may go, one after another, while a peer's request waits."""


class Waiter:
    """One request that waits; those of one `kind` may use the same routes."""

    __slots__ = ("caller", "is_guest", "kind")

    def __init__(self, caller: str, kind: Hashable, *, is_guest: bool = False) -> None:
        self.caller = caller
        self.kind = kind
        self.is_guest = is_guest


W = TypeVar("W", bound=Waiter)


class _Lane(Generic[W]):
    """The callers in their turn, each with its requests, oldest first."""

    __slots__ = ("callers",)

    def __init__(self) -> None:
        self.callers: OrderedDict[str, OrderedDict[W, None]] = OrderedDict()

    def add(self, waiter: W) -> None:
        self.callers.setdefault(waiter.caller, OrderedDict())[waiter] = None

    def remove(self, waiter: W) -> bool:
        line = self.callers.get(waiter.caller)
        if line is None or waiter not in line:
            return False
        del line[waiter]
        if not line:
            del self.callers[waiter.caller]
        return True

    def next(self, may_go: Callable[[W], bool]) -> W | None:
        return next((w for line in self.callers.values() for w in line if may_go(w)), None)

    def take(self, waiter: W) -> None:
        self.remove(waiter)
        if waiter.caller in self.callers:
            self.callers.move_to_end(waiter.caller)

    def __iter__(self) -> Iterator[W]:
        return (waiter for line in self.callers.values() for waiter in line)


class FairQueue(Generic[W]):
    """The requests that wait for one model."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._first: OrderedDict[W, None] = OrderedDict()
        self._owners: _Lane[W] = _Lane()
        self._guests: _Lane[W] = _Lane()
        self._size = 0
        self._owners_since_guest = 0

    def add(self, waiter: W, *, first: bool = False) -> bool:
        """Put a request in its place, before all others if `first`; False if too many wait already.

        One that waited before is always accepted.
        """
        if first:
            self._first[waiter] = None
        elif self._size >= self._longest:
            return False
        else:
            self._lane(waiter).add(waiter)
        self._size += 1
        return True

    def remove(self, waiter: W) -> bool:
        """Take a request out; False if it is not there."""
        if waiter in self._first:
            del self._first[waiter]
        elif not self._lane(waiter).remove(waiter):
            return False
        self._size -= 1
        return True

    def take(self, may_go: Callable[[W], bool]) -> W | None:
        """Take out the request whose turn it is among those that may go; None if none may."""
        found = next(filter(may_go, self._first), None)
        if found is not None:
            del self._first[found]
        else:
            lanes = (self._owners, self._guests)
            if self._owners_since_guest >= OWNERS_PER_GUEST:
                lanes = (self._guests, self._owners)
            for lane in lanes:
                if (found := lane.next(may_go)) is not None:
                    self._count_turn(found)
                    lane.take(found)
                    break
            else:
                return None
        self._size -= 1
        return found

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[W]:
        yield from self._first
        yield from self._owners
        yield from self._guests

    def _count_turn(self, taken: W) -> None:
        waits = bool(self._guests.callers)
        self._owners_since_guest = self._owners_since_guest + 1 if waits and not taken.is_guest else 0

    def _lane(self, waiter: W) -> _Lane[W]:
        return self._guests if waiter.is_guest else self._owners


class SlotQueues(Generic[W]):
    """The queues of all models, and the slots that are held for those whose turn has come.

    `in_flight` returns the requests that a route has now. A slot that `grants` gives away counts as busy until
    `release`: the request begins in the same turn of the event loop in which it releases it.
    """

    def __init__(
        self,
        slots: Slots,
        in_flight: Callable[[str, str, str], int],
        routes: Callable[[W], Sequence[Route]],
        longest: int = LONGEST,
    ) -> None:
        self._slots = slots
        self._in_flight = in_flight
        self._routes = routes
        self._longest = longest
        self.queues: dict[str, FairQueue[W]] = {}
        """By model; only of models for which requests wait."""
        self._held: dict[Route, int] = {}

    def slots(self, route: Route) -> int | None:
        """Return the slots of a route; None for no known limit."""
        return self._slots(*route)

    def busy(self, route: Route) -> int:
        """Return how many slots of a route are taken or held."""
        return self._in_flight(*route) + self._held.get(route, 0)

    def is_full(self, route: Route) -> bool:
        """Whether a route has no free slot."""
        slots = self._slots(*route)
        return slots is not None and self.busy(route) >= slots

    def waiting(self, model: str) -> int:
        """Return how many requests wait for a model."""
        queue = self.queues.get(model)
        return 0 if queue is None else len(queue)

    def add(self, model: str, waiter: W, *, first: bool = False) -> bool:
        """Put a request into a model's queue; False if that is as long as it may be."""
        queue = self.queues.get(model)
        if queue is None:
            queue = self.queues[model] = FairQueue(self._longest)
        return queue.add(waiter, first=first)

    def remove(self, model: str, waiter: W) -> bool:
        """Take a request out of a model's queue; False if it is not there."""
        queue = self.queues.get(model)
        if queue is None or not queue.remove(waiter):
            return False
        self._drop_empty(model, queue)
        return True

    def grants(self, model: str) -> list[tuple[W, Route | None]]:
        """Give every free slot to the request whose turn it is; return those requests with their routes.

        One without any route left (the last was removed, say) goes too, with None: there is nothing to wait for.
        """
        queue = self.queues.get(model)
        if queue is None:
            return []
        routes: dict[Hashable, Sequence[Route]] = {}
        full: set[Hashable] = set()
        found: Route | None = None

        def may_go(waiter: W) -> bool:
            nonlocal found
            kind = waiter.kind
            if kind in full:
                return False
            if kind not in routes:
                routes[kind] = self._routes(waiter)
            usable = routes[kind]
            found = next((route for route in usable if not self.is_full(route)), None)
            if found is None and usable:
                full.add(kind)
                return False
            return True

        granted: list[tuple[W, Route | None]] = []
        while (waiter := queue.take(may_go)) is not None:
            if found is not None:
                self._held[found] = self._held.get(found, 0) + 1
            granted.append((waiter, found))
        self._drop_empty(model, queue)
        return granted

    def release(self, route: Route) -> None:
        """Stop holding a slot."""
        held = self._held[route] - 1
        if held:
            self._held[route] = held
        else:
            del self._held[route]

    def _drop_empty(self, model: str, queue: FairQueue[W]) -> None:
        if not len(queue):
            del self.queues[model]
