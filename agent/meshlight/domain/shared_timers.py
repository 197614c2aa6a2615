"""Timers that share their wake-ups, so that a machine with nothing to do rests in between."""

from collections.abc import Callable
from typing import Final

from meshlight.domain.clock import CallLater, Clock, Timer

EXACT_BELOW_S: Final = 1.0
"""Shorter delays of `regular` are kept as they are."""


class SharedTimers:
    """Calls what is due in the same millisecond by one timer of the loop.

    `clock` is monotonic seconds; `phase_s` is when in their period regular calls are due.
    """

    def __init__(self, clock: Clock, later: CallLater, phase_s: float = 0.0) -> None:
        self._clock = clock
        self._later = later
        self._phase_s = phase_s
        self._calls: dict[int, list[_Call]] = {}
        """By the millisecond of the clock."""

    def exact(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` in `delay` seconds, as a `CallLater` does."""
        return self._at(self._clock() + delay, callback)

    def regular(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` at the multiple of `delay` that is nearest: all with the same period are due together.

        For what is repeated as long as the service runs, and may come up to half a period earlier or later.
        """
        due = self._clock() + delay
        if delay >= EXACT_BELOW_S:
            due = self._phase_s + round((due - self._phase_s) / delay) * delay
        return self._at(due, callback)

    def _at(self, due: float, callback: Callable[[], None]) -> Timer:
        key = round(due * 1000)
        call = _Call(callback)
        calls = self._calls.get(key)
        if calls is None:
            self._calls[key] = [call]
            self._later(max(due - self._clock(), 0.0), lambda: self._fire(key))
        else:
            calls.append(call)
        return call

    def _fire(self, key: int) -> None:
        first, *others = self._calls.pop(key)
        for call in others:
            self._later(
                0.0, call.run
            )  # on its own, in this turn of the loop, so that an error in one ends no other
        first.run()


class _Call:
    """One call; cancelled, it is forgotten when its time comes."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def run(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
