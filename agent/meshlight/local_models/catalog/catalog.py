"""The list of this machine's models: looks at the stores again and again, in a thread, and tells what has changed."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import LocalModel, RejectedFile
from meshlight.domain.local_views import StoreView
from meshlight.local_models.catalog.header_cache import CacheStore, HeaderCache
from meshlight.local_models.catalog.ids import Names
from meshlight.local_models.catalog.known import Known, look
from meshlight.local_models.catalog.stores import Place
from meshlight.local_models.catalog.walker import Stopped
from meshlight.local_models.interfaces import OnChange

log = logging.getLogger(__name__)

CLOSELY_S = 8.0
"""Between two looks while somebody looks at the models: with the look itself, news is seen within 10 s."""
SELDOM_S = 60.0
PATIENCE_S = 30.0
"""How long `refresh` waits: a drive over the network may not answer at all."""

FindPlaces = Callable[[LocalSettings], Sequence[Place]]


class Catalog:
    """The models on this machine's disks; see `interfaces.Catalog`.

    `find_places` returns where to look. Nothing is looked at before `watch` or `refresh`, and nothing at all while
    the settings say `enabled = false`. `on_change` is called on the loop.
    """

    def __init__(
        self,
        settings: LocalSettings,
        find_places: FindPlaces,
        cache: CacheStore,
        clock: Clock,
        later: CallLater,
        on_change: OnChange,
    ) -> None:
        self._settings = settings
        self._find_places = find_places
        self._cache = HeaderCache(cache)
        self._clock = clock
        self._later = later
        self._on_change = on_change
        self._known = Known()
        self._interval_s = 0.0
        """0 until somebody wants it watched."""
        self._looked_at = float("-inf")
        self._timer: Timer | None = None
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        self._queued: asyncio.Future[None] | None = None
        """Done after the next scan that begins from now on."""
        self._generation = 0
        """Counts what makes a running scan worthless."""

    @property
    def models(self) -> Mapping[str, LocalModel]:
        """All models by id, those that are missing included."""
        return self._known.models

    @property
    def rejected(self) -> Sequence[RejectedFile]:
        """Files that are no usable models, and why."""
        return self._known.rejected

    @property
    def stores(self) -> Sequence[StoreView]:
        """Where was looked."""
        return self._known.stores

    def find(self, name: str) -> LocalModel | None:
        """Return the model of this id or further name."""
        return self._known.names.find(name)

    async def refresh(self) -> None:
        """Look again now, in a thread.

        All who ask during a scan share the one that follows it, because their files may have come behind its back.
        Waits 30 s at most.
        """
        if self._is_closed or not self._settings.enabled:
            return
        await asyncio.wait((self._queue(),), timeout=PATIENCE_S)

    def watch(self, *, closely: bool) -> None:
        """Look every 10 s (`closely`: somebody looks) or every 60 s from now on."""
        self._interval_s = CLOSELY_S if closely else SELDOM_S
        self._set_timer()

    def follow(self, settings: LocalSettings) -> None:
        """Look where these settings say from now on."""
        before, self._settings = self._settings, settings
        if _where(before) == _where(settings):
            return
        self._start_anew()
        self._replace(replace(self._known, signature=0) if settings.enabled else Known())

    def forget(self, model: str) -> None:
        """Leave out a model that was deleted, instead of calling it missing."""
        if model in self._known.models:
            models = {name: known for name, known in self._known.models.items() if name != model}
            self._start_anew()
            self._replace(replace(self._known, models=models, names=Names(models), signature=0))

    def close(self) -> None:
        """Stop looking."""
        self._is_closed = True
        self._generation += 1
        self._set_timer()
        if self._task is not None:
            self._task.cancel()

    def _start_anew(self) -> None:
        """Look at everything again, soon, and disregard a scan that runs."""
        self._generation += 1
        self._looked_at = float("-inf")
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._interval_s and not self._is_closed and self._settings.enabled and self._task is None:
            delay = max(self._looked_at + self._interval_s - self._clock(), 0.0)
            self._timer = self._later(delay, self._queue_scan)

    def _queue_scan(self) -> None:
        self._timer = None
        self._queue()

    def _queue(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._queued is None:
            self._queued = loop.create_future()
        if self._task is None:
            self._task = loop.create_task(self._scan_queued())
        return self._queued

    async def _scan_queued(self) -> None:
        waiting: asyncio.Future[None] | None = None
        try:
            while self._queued is not None and self._settings.enabled:
                waiting, self._queued = self._queued, None
                await self._scan()
                _settle(waiting)
        finally:
            _settle(waiting)
            _settle(self._queued)
            self._task = self._queued = None
            self._set_timer()

    async def _scan(self) -> None:
        """Look until the result counts."""
        found: Known | None = None
        generation = -1
        while generation != self._generation and self._settings.enabled:
            generation = self._generation
            try:
                found = await self._look(generation)
            except Stopped:
                continue
            except Exception:
                log.exception("could not look for models")
                found = None
        self._looked_at = self._clock()
        if found is not None and generation == self._generation:
            self._replace(found)

    def _look(self, generation: int) -> asyncio.Future[Known]:
        """Look in a thread of its own, which ends with the process even where a drive never answers."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Known] = loop.create_future()
        settings, before = self._settings, self._known

        def work() -> None:
            found: Known | None = None
            error: Exception | None = None
            try:
                places = self._find_places(settings)
                found = look(places, self._cache, before, lambda: generation != self._generation)
            except Exception as raised:  # noqa: BLE001 - raised again where it is waited for
                error = raised
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_settle_with, future, found, error)

        threading.Thread(target=work, name="catalog", daemon=True).start()
        return future

    def _replace(self, known: Known) -> None:
        before, self._known = self._known, known
        if (known.models, known.rejected, known.stores) != (before.models, before.rejected, before.stores):
            self._on_change()


def _where(settings: LocalSettings) -> tuple[object, ...]:
    """Return what decides where is looked."""
    return (settings.enabled, settings.folder, settings.folders, settings.look_in)


def _settle(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _settle_with(future: asyncio.Future[Known], found: Known | None, error: Exception | None) -> None:
    if future.done():
        return
    if found is not None:
        future.set_result(found)
    else:
        future.set_exception(error or RuntimeError("nothing found, and no reason"))
