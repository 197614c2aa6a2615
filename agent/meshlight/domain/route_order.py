"""The routes of one model, kept in order for one kind of request, so that a choice looks only at the first of them.

It is the order of `choice.best` for routes that are plain: in memory as far as known, with no limit of an account. A
route is put in its place again when something of it has changed; nothing else is worked out for a request.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import merge
from typing import Final, NamedTuple

from meshlight.domain.backend import RING_ORDER
from meshlight.domain.choice import TOO_LONG, Best, Prompt, RouteFacts, Step, fits

_NEVER: Final = float("inf")
_CLOUD: Final = RING_ORDER["cloud"]
_LATE: Final = 1.0
"""The value in the step `slot` of a route that can't begin, or takes too long."""

_Key = tuple[float, ...]
"""The values of a route, step by step, and its number."""

_FIXED: Final[Mapping[Step, Callable[[RouteFacts, Prompt], float]]] = {
    "rule": lambda route, _: route.preference,
    "context": lambda route, prompt: 0.0 if fits(route, prompt) else 1.0,
    "ring": lambda route, _: route.ring,
    "conversation": lambda *_: 1.0,
    "priority": lambda route, _: route.priority,
    "turn": lambda route, _: route.turn,
}
"""The values that stay while there is a plan."""


class RouteOrder:
    """Keeps plain routes in order for prompts that are alike; each has to be `put` before the first `best`."""

    def __init__(self, steps: Sequence[Step], count: int, prompt: Prompt) -> None:
        self._steps = tuple(step for step in steps if step != "loaded")
        self._slot = self._steps.index("slot")
        self._home, self._time = _index(self._steps, "conversation"), _index(self._steps, "time")
        self._waiting, self._count = _index(self._steps, "waiting"), _index(self._steps, "busy")
        self._latency = _index(self._steps, "latency")
        self._fixed: list[list[float]] = [[]] * count
        self._prompt = prompt
        self._keys: list[_Key] = [()] * count
        self._tried: list[_Key] = []
        """The keys of the routes that have answered, in order."""
        self._untried: list[_Key] = []
        """Those of the others, which are expected to be as fast as the best of these: so that is no part of them."""
        self._finishes: list[float | None] = [None] * count
        self._near: list[float] = [_NEVER] * count
        """When those are done for which another one is left: not clouds, and not where the prompt doesn't fit."""
        self._usual: list[float] = [_NEVER] * count
        self._in_flight = [0] * count
        self._busy = [False] * count
        """Whether no slots are known of one and it is busy, so that it may take too long."""
        self._full: set[int] = set()
        self._untimed: set[int] = set()
        """Those that have answered, and of which no time is expected."""
        self._has_times = True

    def put(self, number: int, route: RouteFacts, finish_s: float | None, usual_s: float | None) -> None:
        """Put a route in its place, with the time until its answer as expected and as usual, in seconds."""
        is_untried = finish_s is None and usual_s is None
        key = self._key(number, route, finish_s if self._has_times else None)
        usual = _NEVER if usual_s is None else usual_s
        is_busy = route.slots is None and route.in_flight > 0
        if (
            key == self._keys[number]
            and finish_s == self._finishes[number]
            and usual == self._usual[number]
            and is_busy == self._busy[number]
        ):
            return  # the rest follows from these, and from what stays
        self._remove(number)
        self._finishes[number] = finish_s
        self._usual[number] = usual
        self._in_flight[number] = route.in_flight
        self._busy[number] = is_busy
        is_full = route.is_full
        is_near = route.ring < _CLOUD and fits(route, self._prompt)
        if is_untried:
            # As many times as long as usual; see `_soonest`.
            self._near[number] = (2.0 if is_full else 1.0) if is_near else _NEVER
        else:
            self._near[number] = finish_s if is_near and finish_s is not None else _NEVER
        _set_in(self._full, number, is_in=is_full)
        _set_in(self._untimed, number, is_in=finish_s is None and not is_untried)
        self._keys[number] = key
        insort(self._untried if is_untried else self._tried, key)

    @property
    def fewest(self) -> int:
        """The requests at the route with the fewest."""
        return min(self._in_flight)

    @property
    def untried_s(self) -> float | None:
        """What is expected of a route that has not answered yet, in seconds."""
        usual_s = min(self._usual)
        return usual_s if usual_s < _NEVER and len(self._untimed) < len(self._tried) else None

    def home_first(self, home: int) -> Best | None:
        """Return the same if the conversation is kept and no step after that decides; None if that is not sure."""
        at, key = self._home, self._keys[home]
        if at is None or self._busy[home] or key[self._slot] or self._full:
            return None
        before, second = key[:at], None
        for order in (self._tried, self._untried):
            other = next((other for other in order[:2] if other is not key), None)
            if other is not None and (second is None or other[:at] < second[:at]):
                second = other
        if second is None or second[:at] < before or self._busy[int(second[-1])]:
            return None
        if second[:at] == before:
            return Best(home, int(second[-1]), "conversation")
        return self._between(key, second, ())

    def best(self, home: int | None, route: RouteFacts | None, finish_s: float | None) -> Best | None:
        """Return what `choice.best` and `choice.as_told` do; None if a full route might have to be told.

        `home` is the number of the route where the conversation was, if it is to be kept, with its facts and time.
        """
        untried_s = self.untried_s if self._untried else None
        has_times = not self._untimed and not (self._untried and untried_s is None)
        if has_times != self._has_times:
            self._has_times = has_times
            self._set_times()
        home_key: _Key | None = None
        if home is not None and route is not None:
            home_key = self._key(home, route, finish_s if has_times else None)
            if (at := self._home) is not None:
                home_key = (*home_key[:at], 0.0, *home_key[at + 1 :])
            if finish_s is None and has_times:
                home_key = self._timed(home_key, untried_s)
        timed_s = untried_s if has_times else None
        takes = _Takes(home, finish_s, untried_s)
        found = self._first_free(takes, home_key, timed_s)
        if found is None:
            order = merge(*self._sources(home, home_key, timed_s))
            found = self._first_two(order, takes)
        if self._full and found.first not in self._full and self._steps.index(found.step) > self._slot:
            return None
        return found

    def _key(self, number: int, route: RouteFacts, time_s: float | None) -> _Key:
        fixed = self._fixed[number]
        if not fixed:
            prompt = self._prompt
            fixed = [_FIXED[step](route, prompt) if step in _FIXED else 0.0 for step in self._steps]
            self._fixed[number] = fixed
        key = fixed.copy()
        if route.is_full:
            key[self._slot] = _LATE
        if self._time is not None and time_s is not None:
            key[self._time] = time_s
        if self._waiting is not None:
            key[self._waiting] = route.waiting
        if self._count is not None:
            key[self._count] = route.in_flight
        if self._latency is not None:
            key[self._latency] = _NEVER if route.latency_s is None else route.latency_s
        key.append(number)
        return tuple(key)

    def _remove(self, number: int) -> None:
        key = self._keys[number]
        if key:
            order = self._tried
            at = bisect_left(order, key)
            if at == len(order) or order[at] is not key:
                order = self._untried
                at = bisect_left(order, key)
            del order[at]

    def _set_times(self) -> None:
        """Take the times into all keys, or out of them."""
        at = self._time
        if at is None:
            return
        for where, key in enumerate(self._tried):
            number = int(key[-1])
            time_s = (self._finishes[number] or 0.0) if self._has_times else 0.0
            self._keys[number] = self._tried[where] = (*key[:at], time_s, *key[at + 1 :])
        self._tried.sort()

    def _first_free(self, takes: "_Takes", home_key: _Key | None, timed_s: float | None) -> Best | None:
        """Return the first two if both can begin at once, and neither takes too long, as nearly always."""
        home = takes.home
        if home_key is None and not self._untried:
            first, second = self._tried[0], self._tried[1]
        else:
            few = [key for key in self._tried[:3] if key[-1] != home]
            few += [self._timed(key, timed_s) for key in self._untried[:3] if key[-1] != home]
            if home_key is not None:
                few.append(home_key)
            few.sort()
            first, second = few[0], few[1]
        slot, busy = self._slot, self._busy
        if first[slot] or first[: slot + 1] != second[: slot + 1]:
            return None
        numbers = int(first[-1]), int(second[-1])
        if busy[numbers[0]] or busy[numbers[1]]:
            limit_s = TOO_LONG * self._soonest(takes)
            if any(busy[number] and self._takes_s(number, takes) > limit_s for number in numbers):
                return None
        return self._between(first, second, ())

    def _takes_s(self, number: int, takes: "_Takes") -> float:
        """Return the seconds until an answer of a route; 0 for one of which nothing is expected."""
        takes_s = takes.home_s if number == takes.home else self._finishes[number]
        if takes_s is None and number not in self._untimed:
            takes_s = takes.untried_s
        return takes_s or 0.0

    def _sources(
        self, home: int | None, home_key: _Key | None, timed_s: float | None
    ) -> list[Iterable[_Key]]:
        """Return all keys, in several orders."""
        tried = (key for key in self._tried if key[-1] != home)
        untried = (self._timed(key, timed_s) for key in self._untried if key[-1] != home)
        return [tried, untried] if home_key is None else [tried, untried, (home_key,)]

    def _timed(self, key: _Key, timed_s: float | None) -> _Key:
        """Return the key of a route that has not answered, with the time that is expected."""
        at = self._time
        return (*key[:at], timed_s * (1.0 + key[self._slot]), *key[at + 1 :]) if at and timed_s else key

    def _soonest(self, takes: "_Takes") -> float:
        """Return when the first of those would be done for which another one is left."""
        near, home, home_s, untried_s = self._near, takes.home, takes.home_s, takes.untried_s
        found = min((near[int(key[-1])] for key in self._untried), default=_NEVER) if untried_s else _NEVER
        soonest_s = found * (untried_s or 0.0) if found < _NEVER else _NEVER
        if self._untried:
            soonest_s = min(soonest_s, min((near[int(key[-1])] for key in self._tried), default=_NEVER))
        else:
            soonest_s = min(near)
        is_near = home is not None and home_s is not None and near[home] < _NEVER
        return min(soonest_s, home_s) if is_near and home_s is not None else soonest_s

    def _first_two(self, order: Iterable[_Key], takes: "_Takes") -> Best:
        """Return the first two of all and the step between them; `order` takes none for late."""
        slot, limit_s = self._slot, -1.0
        group: _Key | None = None
        begins: list[_Key] = []
        late: list[_Key] = []
        following: _Key | None = None
        for key in order:
            number = int(key[-1])
            if group is None:
                group = key[:slot]
            elif key[:slot] != group:
                following = key
                break
            if self._busy[number]:
                if limit_s < 0.0:
                    limit_s = TOO_LONG * self._soonest(takes)
                if self._takes_s(number, takes) > limit_s:
                    late.append((*key[:slot], _LATE, *key[slot + 1 :]))
                    continue
            elif key[slot]:
                late.append(key)
                continue
            begins.append(key)
            if len(begins) == 2:
                return self._between(begins[0], begins[1], ())
        late.sort()
        first, *others = [*begins, *late] if following is None else [*begins, *late, following]
        return self._between(first, others[0] if others else first, late if begins else ())

    def _between(self, first: _Key, second: _Key, others: Sequence[_Key]) -> Best:
        for at, step in enumerate(self._steps):
            if first[at] != second[at]:
                alike = [int(key[-1]) for key in others if key[: at + 1] == second[: at + 1]]
                return Best(int(first[-1]), min(alike, default=int(second[-1])), step)
        return Best(int(first[-1]), int(second[-1]), "turn")


class _Takes(NamedTuple):
    """The times of one request that are not in the order."""

    home: int | None
    home_s: float | None
    """Seconds until an answer of the home, where the prompt is in the cache."""
    untried_s: float | None


def _index(steps: Sequence[Step], step: Step) -> int | None:
    return steps.index(step) if step in steps else None


def _set_in(numbers: set[int], number: int, *, is_in: bool) -> None:
    if is_in:
        numbers.add(number)
    else:
        numbers.discard(number)
