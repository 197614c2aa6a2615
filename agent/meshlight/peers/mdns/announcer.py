"""Lets this machine be seen on the network, for as long as that is wanted, and no more often than is polite."""

import asyncio
import logging
from collections.abc import Callable

from meshlight.domain.clock import CallLater, Timer
from meshlight.peers.mdns.adapter import MdnsAdapter
from meshlight.peers.mdns.records import Announcement

log = logging.getLogger(__name__)

GAP_S = 1.0
"""Between two changes of what is announced: model lists may change many times a second."""
RETRY_S = 10.0
LONGEST_STEP_S = 3.0
"""A name is tried for 1.5 s before it is taken, a goodbye takes 0.25 s."""
_NOT_ANNOUNCED = (
    "This machine could not be announced on the network, so others don't see it. "
    "It is tried again every few seconds; others can also add it by its address."
)


class Announcer:
    """Keeps what the network hears in step with what is wanted, one step at a time."""

    def __init__(self, clock: Callable[[], float], later: CallLater) -> None:
        self._clock = clock
        self._later = later
        self._wanted: Announcement | None = None
        self._said: Announcement | None = None
        self._air: MdnsAdapter | None = None
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._free_at = float("-inf")
        self.changed: Callable[[], None] = lambda: None
        """Called when `problem` or what the network hears has changed."""
        self.problem = ""
        """Why this machine can't be seen though it should be; empty while all is well."""

    @property
    def wanted(self) -> Announcement | None:
        """What others should hear."""
        return self._wanted

    def say(self, told: Announcement | None) -> None:
        """Announce this from now on; None: be seen no more."""
        self._wanted = told
        self._go()

    def use(self, air: MdnsAdapter) -> None:
        """Announce on this network."""
        self._air = air
        self._said = None
        self._go()

    async def leave(self) -> None:
        """Use the network no more: whoever closes it says goodbye or not. What is wanted stays wanted."""
        self._air = None
        self._said = None
        self._cancel_timer()
        if self._task is not None:  # cut short, it might leave without a goodbye
            _, late = await asyncio.wait((self._task,), timeout=LONGEST_STEP_S)
            for task in late:
                task.cancel()
            self._task = None

    def _go(self) -> None:
        if self._air is None or self._task is not None or self._said == self._wanted:
            return
        self._cancel_timer()
        wait = self._free_at - self._clock()
        if wait > 0 and self._wanted is not None:
            self._timer = self._later(wait, self._go)
        else:
            self._task = asyncio.get_running_loop().create_task(self._step(self._air, self._wanted))

    async def _step(self, air: MdnsAdapter, wanted: Announcement | None) -> None:
        gap = RETRY_S
        try:
            if wanted is None:
                await air.withdraw()
            else:
                await air.announce(wanted)
        except OSError as error:
            log.info("announcing failed: %s", type(error).__name__)
            self._tell(_NOT_ANNOUNCED)
        else:
            gap = GAP_S
            if air is self._air:
                self._said = wanted
            self._tell("")
        finally:
            self._free_at = self._clock() + gap
            self._task = None
            self._go()

    def _tell(self, problem: str) -> None:
        self.problem = problem
        self.changed()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
