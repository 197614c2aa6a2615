"""How time passes between tokens: really, or as a test lets it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from msgspec import Struct

Pace = Callable[[float], Awaitable[None]]
"""Waits for so many seconds; `asyncio.sleep` is the real one."""


class Gate:
    """A pace for tests: each wait lasts until `step` lets it pass, or `open` lets all pass for good.

    An engine with `speed=1, pace=gate` then gives exactly one more token per `step`.
    """

    def __init__(self) -> None:
        self._free = 0
        self._is_open = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, seconds: float) -> None:  # noqa: ARG002  # a Pace takes the wait's length
        """Wait to be let pass."""
        if self._is_open:
            await asyncio.sleep(0)
            return
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    @property
    def waiting(self) -> int:
        """How many waits are held back now."""
        return len(self._waiting)

    def step(self, count: int = 1) -> None:
        """Let `count` waits pass, those to come included."""
        for _ in range(count):
            if self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._free += 1

    def open(self) -> None:
        """Let every wait pass from now on."""
        self._is_open = True
        while self._waiting:
            self._waiting.popleft().set_result(None)


class Speech(Struct, frozen=True, kw_only=True):
    """How fast an engine talks, and how long."""

    speed: float | None = None
    """Tokens per second; None puts no wait between two tokens."""
    first_token_s: float = 0.0
    """Seconds before the first token."""
    length: int | None = None
    """Tokens of an answer that no `max_tokens` cuts shorter; None says the text once."""
    pace: Pace = asyncio.sleep

    async def beat(self, index: int) -> None:
        """Wait for the token of that index (from 0) to be ready."""
        if index == 0:
            if self.first_token_s > 0:
                await self.pace(self.first_token_s)
        elif self.speed is not None:
            await self.pace(1 / self.speed)
        else:
            # Without a pause an endless answer would never let the loop see that its reader has gone.
            await asyncio.sleep(0)
