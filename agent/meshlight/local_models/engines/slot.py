"""What the owner of the engines knows about one model: its engine, who waits for it, how often it failed."""

import asyncio
from collections import deque
from typing import Literal

from meshlight.backends.base import ModelRoute
from meshlight.domain.backend import Reason
from meshlight.domain.local_models import EngineState, LocalModel
from meshlight.http_client.client import Upstream
from meshlight.local_models.engines.eviction import Offer
from meshlight.local_models.interfaces import RunningEngine

Phase = Literal["on-disk", "waiting", "loading", "ready", "draining", "stopping"]
"""`draining`: gets no requests, its last answers end; `stopping`: its process is being ended."""

CRASHES_MAX = 3
CRASHES_S = 600.0
"""A model whose engine crashes so often within this time has failed."""
RETRY_S = 30.0
RETRY_MAX_S = 300.0
"""A model that has failed n times is tried again after n times the first, at most the second."""
KEPT_RETRY_S = 5.0
"""A kept model is loaded again this long after its first crash, twice that after the second."""


class Slot:
    """One model that was asked for at least once; changed by the owner alone."""

    __slots__ = (
        "args",
        "began_at",
        "crashes",
        "device_bytes",
        "drain_until",
        "engine",
        "failure",
        "failures",
        "is_by_hand",
        "is_failed",
        "is_let_go",
        "is_stale",
        "is_unwanted",
        "is_wanted_again",
        "keep_alive_s",
        "left_at",
        "loaders",
        "model",
        "need_bytes",
        "offer",
        "old_log",
        "phase",
        "retry_at",
        "route",
        "unloaders",
        "upstream",
        "used_at",
        "verdict",
        "wait_reason",
        "waiters",
    )

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        """As it was when it was loaded, else as it is now."""
        self.phase: Phase = "on-disk"
        self.engine: RunningEngine | None = None
        self.upstream: Upstream | None = None
        self.route: ModelRoute | None = None
        """Where requests go; None while there is no engine for them."""
        self.offer = Offer(context=0, need_bytes=0)
        """What it was started with."""
        self.args: tuple[str, ...] = ()
        self.need_bytes = 0
        self.device_bytes = 0
        """What of its need was expected to go to devices with memory of their own."""
        self.began_at = 0.0
        """When its load began, or when it began to wait for memory."""
        self.used_at = 0.0
        """When its last request ended, or when it was loaded."""
        self.keep_alive_s: float | None = None
        """Instead of the settings, until it is unloaded."""
        self.waiters: dict[asyncio.Future[ModelRoute], bool] = {}
        """The requests that wait for it, and whether a guest's."""
        self.left_at = 0.0
        """When the last waiter left without an answer."""
        self.loaders: set[asyncio.Future[None]] = set()
        """Those who wait for a load by hand."""
        self.unloaders: set[asyncio.Future[int]] = set()
        """Those who wait until its process is gone; they are told how many requests it still answers."""
        self.drain_until: float | None = None
        self.is_by_hand = False
        """Whether its load was asked for by hand."""
        self.is_stale = False
        """Whether other settings, or another file, are to be followed when it is idle."""
        self.is_unwanted = False
        """Whether it was unloaded while it was being loaded."""
        self.verdict: Reason | None = None
        """Why its load was ended from here."""
        self.is_wanted_again = False
        """Whether it is to be loaded again when its process is gone."""
        self.is_let_go = False
        """Whether it was unloaded by hand, so that `keep` does not load it again."""
        self.wait_reason: Reason | None = None
        self.failure: Reason | None = None
        """Why it failed or crashed, or, where it is kept, why it can't be loaded."""
        self.is_failed = False
        """Whether requests are refused until `retry_at`."""
        self.failures = 0
        self.crashes: deque[float] = deque(maxlen=CRASHES_MAX)
        self.retry_at = 0.0
        """When it may be tried again after a failure, or is loaded again because it is kept."""
        self.old_log: tuple[str, ...] = ()

    @property
    def holds_memory(self) -> bool:
        """Whether it has a process, or is getting one."""
        return self.phase not in {"on-disk", "waiting"}

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants it loaded."""
        return bool(self.waiters or self.loaders or self.is_by_hand)

    @property
    def waiting(self) -> int:
        """How many requests wait for it; those that were just given its route answer already."""
        return sum(not waiter.done() for waiter in self.waiters)

    @property
    def has_owner_waiting(self) -> bool:
        """Whether anybody but guests wants it loaded."""
        return self.is_by_hand or not all(self.waiters.values())

    @property
    def reason(self) -> Reason | None:
        """The reason that people see."""
        if self.phase == "waiting":
            return self.wait_reason
        return self.failure if self.phase == "on-disk" else None

    def state(self, *, is_missing: bool) -> EngineState:
        """Return the state that people see."""
        if self.phase == "stopping":
            return "draining"
        if self.phase != "on-disk":
            return self.phase
        if is_missing:
            return "missing"
        return "failed" if self.is_failed else "on-disk"

    def log(self) -> tuple[str, ...]:
        """Return the last lines of the engine, or of the one before."""
        return self.engine.log() if self.engine is not None else self.old_log

    def note_load(self, now: float) -> None:
        """Count a load that succeeded: failures are forgotten, unless it has crashed lately."""
        self.failure = None
        self.is_failed = False
        if not self._recent_crashes(now):
            self.failures = 0

    def forget_failures(self) -> None:
        """Begin anew: its file is another one now."""
        self.failure = None
        self.is_failed = False
        self.failures = 0
        self.retry_at = 0.0
        self.crashes.clear()

    def note_failure(self, reason: Reason, now: float) -> None:
        """Count a load that failed."""
        self.failure = reason
        self.is_failed = True
        self.failures += 1
        self.retry_at = now + min(RETRY_S * self.failures, RETRY_MAX_S)

    def note_crash(self, reason: Reason, now: float) -> None:
        """Count an engine that ended by itself."""
        self.crashes.append(now)
        crashes = self._recent_crashes(now)
        if crashes >= CRASHES_MAX:
            self.note_failure(reason, now)
            return
        self.failure = reason
        self.retry_at = now + KEPT_RETRY_S * crashes

    def _recent_crashes(self, now: float) -> int:
        return sum(now - at < CRASHES_S for at in self.crashes)

    def wake(self, route: ModelRoute) -> None:
        """Give the route to all who wait for it; they count as waiting until they have gone on."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(route)
        for loader in self.loaders:
            if not loader.done():
                loader.set_result(None)

    def refuse(self, error: Exception) -> None:
        """Tell all who wait for it why it can't be had."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        for loader in self.loaders:
            if not loader.done():
                loader.set_exception(error)

    def tell_unloaders(self, answering: int) -> None:
        """Tell those who unload it that it is gone (0), or how many requests it still answers."""
        for unloader in self.unloaders:
            if not unloader.done():
                unloader.set_result(answering)
