"""Keeps multicast DNS open while it is wanted, on the interfaces that this machine has at the moment."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from meshlight.domain.clock import CallLater, Timer
from meshlight.peers.mdns.adapter import MdnsAdapter
from meshlight.peers.mdns.interfaces import Interface

log = logging.getLogger(__name__)

PERIOD_S = 5.0
"""Between two looks at the interfaces."""
SETTLE_S = 1.0
"""Interfaces that have just changed are looked at again so soon; they are used once they stand still."""
MOST_SETTLING = 5
RETRY_S = 60.0
JUMP_S = 10.0
"""A round so much later than it should be, by either clock: the machine slept (the monotonic clock of Linux and
macOS stands still meanwhile, the wall clock does not; on Windows both run on)."""


class NetworkMonitor:
    """Opens the network anew whenever interfaces come or go and after a sleep, as zeroconf does not look itself.

    `opened` is called with each new network, `kept` with a good one every five seconds, `closing` before one is
    closed; `changed` when `problem` is another sentence. Without `want(True)` no socket is open and nothing polls.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        wall: Callable[[], float],
        later: CallLater,
        find: Callable[[], tuple[Interface, ...]],
        open_air: Callable[[Sequence[Interface]], Awaitable[MdnsAdapter | str]],
    ) -> None:
        self.air: MdnsAdapter | None = None
        self.problem = ""
        """Why there is no network, and what to do; empty while there is one, and while none is wanted."""
        self.opened: Callable[[MdnsAdapter], Awaitable[None]] = _ignore
        self.kept: Callable[[MdnsAdapter], Awaitable[None]] = _ignore
        self.closing: Callable[[], Awaitable[None]] = _ignore
        self.changed: Callable[[], None] = lambda: None
        self._clock = clock
        self._wall = wall
        self._later = later
        self._find = find
        self._open_air = open_air
        self._is_wanted = False
        self._used: tuple[Interface, ...] | None = None
        self._found: tuple[Interface, ...] | None = None
        self._settling = 0
        self._tried_at = float("-inf")
        self._clocks: tuple[float, float] | None = None
        self._timer: Timer | None = None
        self._round: asyncio.Task[None] | None = None
        self._is_hurried = False

    @property
    def addresses(self) -> frozenset[str]:
        """This machine's own addresses on the networks in use."""
        return frozenset(address for one in self._used or () for address in (*one.v4, *one.v6))

    def want(self, is_wanted: bool) -> None:
        """Have a network open from now on, or have it closed with a goodbye."""
        if is_wanted != self._is_wanted:
            self._is_wanted = is_wanted
            self.probe_soon()

    def probe_soon(self) -> None:
        """Do the next round now; it tries to open what could not be opened a moment ago."""
        self._tried_at = float("-inf")
        if self._round is not None:
            self._is_hurried = True
        else:
            self._go()

    async def close(self) -> None:
        """Want it no more; returns when the goodbye is said."""
        self.want(False)
        while self._round is not None:
            await asyncio.wait((self._round,))

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_hurried = False
        self._round = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._step()
        except OSError as error:  # of the system's list of interfaces
            self._say(f"The network can't be looked at ({error.strerror}). Trying again in a few seconds.")
        finally:
            self._round = None
            if self._is_hurried:
                self._go()
            elif self._is_wanted:
                self._timer = self._later(SETTLE_S if self._settling else PERIOD_S, self._go)

    async def _step(self) -> None:
        if not self._is_wanted:
            await self._leave(goodbye=True)
            self._say("")
            self._clocks = None
            return
        found = await asyncio.to_thread(self._find)
        slept = self._has_slept()
        if self.air is None:
            if slept or found != self._used or self._clock() - self._tried_at >= RETRY_S:
                await self._open(found)
        elif slept or self._has_settled(found):
            await self._leave(goodbye=False)
            await self._open(found)
        else:
            await self.kept(self.air)

    def _has_slept(self) -> bool:
        was, self._clocks = self._clocks, (self._clock(), self._wall())
        if was is None:
            return False
        return any(now - before > PERIOD_S + JUMP_S for now, before in zip(self._clocks, was, strict=True))

    def _has_settled(self, found: tuple[Interface, ...]) -> bool:
        """Whether the interfaces are other than those in use, and have stopped changing."""
        was, self._found = self._found, found
        if found == self._used:
            self._settling = 0
            return False
        self._settling += 1
        return found == was or self._settling > MOST_SETTLING

    async def _open(self, found: tuple[Interface, ...]) -> None:
        self._settling = 0
        self._used = self._found = found
        self._tried_at = self._clock()
        air = await self._open_air(found)
        if isinstance(air, str):
            self._say(air)
            return
        self.air = air
        self._say("")
        await self.opened(air)

    async def _leave(self, *, goodbye: bool) -> None:
        air, self.air = self.air, None
        self._used = None
        if air is not None:
            await self.closing()
            with contextlib.suppress(OSError):  # of a network that is gone
                await air.close(goodbye=goodbye)

    def _say(self, words: str) -> None:
        if words != self.problem:
            self.problem = words
            if words:
                log.warning("%s", words)
            self.changed()


async def _ignore(*_: object) -> None:
    """What a callback does before it is set."""
