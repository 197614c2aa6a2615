"""Announces this machine by multicast DNS while that is wanted, with pauses between changes."""

import asyncio
import logging
from collections.abc import Callable

from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.peers.mdns.multicast_dns import MdnsAdapter
from meshlight.peers.mdns.records import Announcement

log = logging.getLogger(__name__)

GAP_S = 1.0
"""The shortest time between two changes of the announcement: model lists may change many times a second."""
RETRY_S = 10.0
LONGEST_STEP_S = 3.0
"""How long `leave` waits for a step under way: probing for a free name takes 1.5 s, a goodbye 0.25 s."""
_NOT_ANNOUNCED = (
    "This machine could not be announced on the network, so others don't see it. "
    "It is tried again every few seconds; others can also add it by its address."
)


class Announcer:
    """Brings the announcement to what is wanted, one step at a time.

    `on_change` is called when `problem` or the announcement has changed.
    """

    def __init__(self, clock: Clock, later: CallLater, on_change: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._later = later
        self._wanted: Announcement | None = None
        self._announced: Announcement | None = None
        self._adapter: MdnsAdapter | None = None
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._free_at = float("-inf")
        self._on_change = on_change
        self.problem = ""
        """Why this machine can't be seen though it should be; empty while all is well."""

    @property
    def wanted(self) -> Announcement | None:
        """What is to be announced; None while nothing is."""
        return self._wanted

    def announce(self, announcement: Announcement | None) -> None:
        """Announce this from now on; None: stop announcing."""
        self._wanted = announcement
        self._go()

    def use(self, adapter: MdnsAdapter) -> None:
        """Announce on this network."""
        self._adapter = adapter
        self._announced = None
        self._go()

    async def leave(self) -> None:
        """Stop using the network, which the caller closes with a goodbye or without. What is wanted stays wanted."""
        self._adapter = None
        self._announced = None
        self._cancel_timer()
        if self._task is not None:  # cancelled at once, it might leave without a goodbye
            _, late = await asyncio.wait((self._task,), timeout=LONGEST_STEP_S)
            for task in late:
                task.cancel()
            self._task = None

    def _go(self) -> None:
        if self._adapter is None or self._task is not None or self._announced == self._wanted:
            return
        self._cancel_timer()
        wait = self._free_at - self._clock()
        if wait > 0 and self._wanted is not None:
            self._timer = self._later(wait, self._go)
        else:
            self._task = asyncio.get_running_loop().create_task(self._step(self._adapter, self._wanted))

    async def _step(self, adapter: MdnsAdapter, wanted: Announcement | None) -> None:
        gap = RETRY_S
        try:
            if wanted is None:
                await adapter.withdraw()
            else:
                await adapter.announce(wanted)
        except OSError as error:
            log.info("announcing failed: %s", type(error).__name__)
            self._report(_NOT_ANNOUNCED)
        else:
            gap = GAP_S
            if adapter is self._adapter:
                self._announced = wanted
            self._report("")
        finally:
            self._free_at = self._clock() + gap
            self._task = None
            self._go()

    def _report(self, problem: str) -> None:
        self.problem = problem
        self._on_change()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
