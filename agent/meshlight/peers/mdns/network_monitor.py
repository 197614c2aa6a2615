"""Keeps multicast DNS open while it is wanted, on the interfaces that this machine has now."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.peers.mdns.interfaces import Interface, InterfaceNews, NetlinkNews
from meshlight.peers.mdns.multicast_dns import MdnsAdapter

log = logging.getLogger(__name__)

PERIOD_S = 5.0
"""How often the interfaces are polled."""
SETTLE_S = 1.0
"""How soon interfaces that have just changed are polled again; they are used once two polls agree."""
SETTLING_MAX = 5
RETRY_S = 60.0
JUMP_S = 10.0
"""A poll that comes so much later than it should, by either clock, means that the machine slept. The monotonic clock
of Linux and macOS stands still meanwhile, the wall clock does not; on Windows both go on."""


class NetworkMonitor:
    """Reopens multicast DNS when interfaces come or go and after a sleep, since zeroconf does not watch for that.

    `on_open` is called with each new adapter, `on_keep` every five seconds with one that still works, `on_closing`
    before one is closed, `on_problem` when `problem` has changed. Without `want(True)` no socket is open and nothing
    polls.
    """

    def __init__(  # noqa: PLR0913 - it is given its clocks, its system calls and its callbacks
        self,
        clock: Clock,
        wall: Clock,
        later: CallLater,
        find: Callable[[], tuple[Interface, ...]],
        open_adapter: Callable[[Sequence[Interface]], Awaitable[MdnsAdapter | str]],
        *,
        on_open: Callable[[MdnsAdapter], Awaitable[None]],
        on_keep: Callable[[MdnsAdapter], Awaitable[None]],
        on_closing: Callable[[], Awaitable[None]],
        on_problem: Callable[[], None],
        news: InterfaceNews | None = None,
    ) -> None:
        self.adapter: MdnsAdapter | None = None
        self.problem = ""
        """Why there is no network, and what to do; empty while there is one, and while none is wanted."""
        self._on_open = on_open
        self._on_keep = on_keep
        self._on_closing = on_closing
        self._on_problem = on_problem
        self._clock = clock
        self._wall = wall
        self._later = later
        self._find = find
        self._news = NetlinkNews() if news is None else news
        self._listed: tuple[Interface, ...] | None = None
        self._open_adapter = open_adapter
        self._is_wanted = False
        self._used: tuple[Interface, ...] | None = None
        self._found: tuple[Interface, ...] | None = None
        self._settling = 0
        self._tried_at = float("-inf")
        self._clocks: tuple[float, float] | None = None
        self._timer: Timer | None = None
        self._poll: asyncio.Task[None] | None = None
        self._is_poll_requested = False

    @property
    def addresses(self) -> frozenset[str]:
        """This machine's own addresses on the networks in use."""
        return frozenset(address for one in self._used or () for address in (*one.v4, *one.v6))

    def want(self, is_wanted: bool) -> None:
        """Have a network open from now on, or have it closed with a goodbye."""
        if is_wanted != self._is_wanted:
            self._is_wanted = is_wanted
            self.poll_soon()

    def poll_soon(self) -> None:
        """Poll now; this also retries what could not be opened a moment ago."""
        self._tried_at = float("-inf")
        if self._poll is not None:
            self._is_poll_requested = True
        else:
            self._go()

    async def close(self) -> None:
        """Close it; returns when the goodbye was sent."""
        self.want(False)
        while self._poll is not None:
            await asyncio.wait((self._poll,))

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_poll_requested = False
        self._poll = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._step()
        except OSError as error:  # from the system's list of interfaces
            self._report(f"The network can't be examined ({error.strerror}). Trying again in a few seconds.")
        finally:
            self._poll = None
            if self._is_poll_requested:
                self._go()
            elif self._is_wanted:
                self._timer = self._later(SETTLE_S if self._settling else PERIOD_S, self._go)

    async def _step(self) -> None:
        if not self._is_wanted:
            await self._close_adapter(goodbye=True)
            self._news.close()
            self._report("")
            self._clocks = None
            return
        if self._news.may_differ():
            self._listed = None
        if self._listed is None:
            self._listed = await asyncio.to_thread(self._find)
        found = self._listed
        slept = self._has_slept()
        if self.adapter is None:
            if slept or found != self._used or self._clock() - self._tried_at >= RETRY_S:
                await self._open(found)
        elif slept or self._has_settled(found):
            await self._close_adapter(goodbye=False)
            await self._open(found)
        else:
            await self._on_keep(self.adapter)

    def _has_slept(self) -> bool:
        was, self._clocks = self._clocks, (self._clock(), self._wall())
        if was is None:
            return False
        return any(now - before > PERIOD_S + JUMP_S for now, before in zip(self._clocks, was, strict=True))

    def _has_settled(self, found: tuple[Interface, ...]) -> bool:
        """Whether the interfaces differ from those in use, and have stopped changing."""
        was, self._found = self._found, found
        if found == self._used:
            self._settling = 0
            return False
        self._settling += 1
        return found == was or self._settling > SETTLING_MAX

    async def _open(self, found: tuple[Interface, ...]) -> None:
        self._settling = 0
        self._used = self._found = found
        self._tried_at = self._clock()
        adapter = await self._open_adapter(found)
        if isinstance(adapter, str):
            self._report(adapter)
            return
        self.adapter = adapter
        self._report("")
        await self._on_open(adapter)

    async def _close_adapter(self, *, goodbye: bool) -> None:
        adapter, self.adapter = self.adapter, None
        self._used = None
        if adapter is not None:
            await self._on_closing()
            with contextlib.suppress(OSError):  # from a network that is gone
                await adapter.close(goodbye=goodbye)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            if problem:
                log.warning("%s", problem)
            self._on_problem()
