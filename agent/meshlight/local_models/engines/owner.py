"""The one owner of all engines of this machine: starts them for requests, counts, evicts and unloads them.

Everything runs on the event loop and there are no locks. Each method that changes anything runs without an `await`
from reading the state to changing it; what takes time (starting and stopping processes) runs in tasks, which report
back by such methods. `_settle` does all that is due: it is called after each change, and by one timer.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import ModelRoute
from meshlight.domain.backend import Reason
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import BadRequest, Conflict, MeshlightError, NotFound, RouteUnavailable
from meshlight.domain.local_memory import fit_of
from meshlight.domain.local_models import Demand, LocalModel
from meshlight.domain.local_views import DeviceView, EngineLog, Fit, LocalModelView, MemoryView
from meshlight.domain.text import count, duration, sanitize_line, similar_names
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.local_models.engines import reasons
from meshlight.local_models.engines.eviction import Offer, Plan
from meshlight.local_models.engines.memory import MemoryProbe
from meshlight.local_models.engines.policy import Memory, Policy, is_other_file
from meshlight.local_models.engines.records import Records, RecordStore
from meshlight.local_models.engines.slot import RETRY_S, Slot
from meshlight.local_models.engines.views import DiskViews, with_engine
from meshlight.local_models.interfaces import Catalog, EngineFailed, EngineStarter, RunningEngine
from meshlight.local_models.runners.base import Ending

log = logging.getLogger(__name__)

WAITERS_MAX = 100
"""Requests that may wait for the load of one model."""
DRAIN_S = 10.0
"""How long an unload waits for running answers."""
LOOK_S = 1.0
"""How often the memory and the progress are looked at while a model loads, or waits for memory."""
ABANDONED_S = 30.0
"""A model that waits for memory is forgotten so long after the last request for it has left."""
OVERDUE_S = 60.0
"""An engine gets so much longer than `load_s` before it is ended from here; it should have given up by itself."""
LOST_S = 1.0
"""How long the process of an engine may take to be gone after its connections broke."""
CLOSE_S = 9.0
"""How long engines have to end when the service stops; then they die with it."""


class EngineDeps(Struct, frozen=True, kw_only=True):
    """What the owner works with."""

    catalog: Catalog
    starter: EngineStarter
    memory: MemoryProbe
    records: RecordStore
    clock: Clock
    later: CallLater
    in_flight: Callable[[str], int]
    """The requests of a model from being selected for it to their end, so that those that wait count too."""
    upstream_for: Callable[[Address], Upstream]
    on_change: Callable[[], None]
    """Called soon after views have changed."""


class EngineOwner:
    """See the module; implements `Engines`. `catalog_changed` is to be called after each change of the catalog."""

    def __init__(self, deps: EngineDeps, settings: LocalSettings) -> None:
        self._catalog = deps.catalog
        self._starter = deps.starter
        self._is_apple = deps.memory.is_apple
        self._records = Records(deps.records)
        self._policy = Policy(
            deps.catalog, deps.starter, deps.memory, self._records, deps.in_flight, deps.clock
        )
        self._disk_views = DiskViews(self._policy)
        self._clock = deps.clock
        self._later = deps.later
        self._upstream_for = deps.upstream_for
        self._on_change = deps.on_change
        self._slots: dict[str, Slot] = {}
        self._queue: deque[Slot] = deque()
        """Those that wait for memory, the first one first."""
        self._is_prepared = False
        self._preparing: asyncio.Task[None] | None = None
        self._lost: dict[str, tuple[Upstream | None, Reason]] = {}
        """The client of the engine that ended last, by model, and why it ended."""
        self._seen: dict[str, LocalModelView] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._is_told = True
        self._is_settling = False
        self._is_unsettled = False
        self._is_soon = False
        self._is_closed = False
        self._policy.follow(settings)

    async def prepare(self) -> None:
        """Find out what runs models here, and how much room devices have, before anybody asks what fits."""
        await self._prepare()
        self._tell()

    # Reading

    def views(self) -> Sequence[LocalModelView]:
        """Return all models of the catalog with their engines, and those whose engine still runs."""
        models = self._catalog.models
        gone = [s.model for s in self._slots.values() if s.holds_memory and s.model.id not in models]
        return self._views((*models.values(), *gone))

    def view(self, model: str) -> LocalModelView:
        """Return one by id or further name; NotFound."""
        return self._views((self._known(model),))[0]

    def details_changed(self) -> Sequence[str]:
        """Return the ids of the models whose view changed since the last call, those that went included.

        Idle times alone are no change.
        """
        seen = self._seen
        now: dict[str, LocalModelView] = {}
        changed: list[str] = []
        for entry in self.views():
            view = entry if entry.idle_s is None else replace(entry, idle_s=None, expires_in_s=None)
            now[view.id] = view
            old = seen.get(view.id)
            if old is not view and old != view:  # most are the very same
                changed.append(view.id)
        changed += [model for model in seen if model not in now]
        self._seen = now
        return changed

    def memory(self) -> MemoryView:
        """Return the memory as far as models are concerned."""
        memory = self._policy.memory(self._slots.values())
        return MemoryView(
            total_bytes=memory.now.total_bytes,
            available_bytes=memory.now.available_bytes,
            models_bytes=memory.models_bytes,
            budget_bytes=memory.room.budget_bytes,
        )

    @property
    def devices(self) -> Sequence[DeviceView]:
        """The devices with memory of their own, as they were before the last load."""
        return self._policy.devices

    def fit(self, need: int) -> tuple[Fit, int]:
        """Return whether something that needs so many bytes fits, and by how many it is too big (0 if it fits)."""
        memory = self._policy.memory(self._slots.values())
        room = memory.in_the_end_bytes
        return fit_of(need, memory.free_bytes, room), max(0, need - room)

    def log(self, model: str) -> EngineLog:
        """Return the last lines of a model's engine; NotFound."""
        found = self._known(model)
        slot = self._slots.get(found.id)
        return EngineLog(model=found.id, lines=slot.log() if slot is not None else ())

    # Requests

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        """Return the route to a model's engine, started if need be; raises RouteUnavailable with the reason."""
        return self.route_now(model, demand) or await self._route_when_loaded(model, demand)

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """Return the route to a model's engine if it runs."""
        slot = self._slots.get(model)
        if slot is None or slot.route is None:
            return None
        keep_alive_s = demand.keep_alive_s
        if (keep_alive_s is not None or slot.keep_alive_s == 0.0) and not demand.is_guest:
            self._set_keep_alive(slot, keep_alive_s)  # a guest's wish would keep the owner's memory
        return slot.route

    def request_ended(self, model: str) -> None:
        """Count the idle time from now: the last byte of an answer was sent, or its client has left."""
        slot = self._slots.get(model)
        if slot is None:
            return
        slot.used_at = self._clock()
        if self._queue or slot.phase == "draining" or slot.keep_alive_s == 0.0 or slot.is_stale:
            self._settle_soon()

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        """Return why the engine behind a route's client has ended, once its process is gone; None if it runs."""
        slot = self._slots.get(model)
        if slot is not None and slot.upstream is upstream and slot.engine is not None:
            await asyncio.wait((slot.engine.ended,), timeout=LOST_S)
        ended, reason = self._lost.get(model, (None, None))
        return reason if ended is upstream else None

    async def _route_when_loaded(self, model: str, demand: Demand) -> ModelRoute:
        found = self._catalog.find(model)
        if found is None:
            raise RouteUnavailable(reasons.GONE)
        await self._prepare()
        slot = self._slot(found)
        if slot.route is None:
            self._check_demand(slot, demand)
        if not demand.is_guest and demand.keep_alive_s is not None:
            self._set_keep_alive(slot, demand.keep_alive_s)
        if slot.route is not None:
            return slot.route
        waiter: asyncio.Future[ModelRoute] = asyncio.get_running_loop().create_future()
        slot.waiters[waiter] = demand.is_guest
        self._want(slot)
        try:
            return await waiter
        finally:
            slot.waiters.pop(waiter, None)
            slot.left_at = self._clock()

    def _check_demand(self, slot: Slot, demand: Demand) -> None:
        """Refuse a request for a model that can't be loaded, or not now."""
        why = self._why_unusable(slot)
        now = self._clock()
        if why is None and slot.phase == "on-disk" and slot.is_failed and now < slot.retry_at:
            failure = slot.failure or reasons.UNLOADED
            raise RouteUnavailable(reasons.paused(failure, slot.retry_at - now), slot.retry_at - now)
        if why is None and slot.waiting >= WAITERS_MAX:
            wait_s = self._policy.load_s(slot.model)
            raise RouteUnavailable(reasons.queue_full(slot.waiting, wait_s), wait_s)
        if why is None and demand.is_guest and slot.phase == "on-disk" and self._queue:
            why = reasons.memory_is_awaited()
        if why is not None:
            raise RouteUnavailable(why)

    def _set_keep_alive(self, slot: Slot, keep_alive_s: float | None) -> None:
        if slot.keep_alive_s == keep_alive_s:
            return
        slot.keep_alive_s = keep_alive_s
        self._settle_soon()  # it may be due earlier than the timer

    # Buttons

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        """Load a model, though it may have failed; NotFound, Conflict (with numbers) when it can't be loaded."""
        found = self._known(model)
        await self._prepare()
        slot = self._slot(found)
        slot.is_let_go = False
        if slot.phase == "ready":
            return self.view(found.id)
        if (why := self._why_unusable(slot)) is not None:
            raise Conflict(why.text, why.fix)
        loader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slot.loaders.add(loader)
        slot.is_by_hand = True
        self._want(slot)
        try:
            if wait or loader.done():
                await loader
        except RouteUnavailable as error:
            raise Conflict(error.why.text, error.why.fix) from error
        finally:
            slot.loaders.discard(loader)
            loader.cancel()
        return self.view(found.id)

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        """Unload a model and return when its process is gone.

        Running answers may take `DRAIN_S` to end, and if they don't: Conflict, and it stays. With `force` they are
        cut at once. NotFound.
        """
        found = self._known(model)
        slot = self._slot(found)
        slot.is_let_go = True
        slot.is_wanted_again = False
        if slot.phase == "waiting":
            self._give_up(slot, reasons.UNLOADED)
        elif slot.holds_memory:
            gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            slot.unloaders.add(gone)
            self._begin_unload(slot, force=force)
            try:
                answering = await gone
            finally:
                slot.unloaders.discard(gone)
            if answering:
                raise Conflict(
                    f"It still answers {count(answering, 'request')} after {duration(DRAIN_S)}, so it stays loaded.",
                    "Wait until it has answered, or unload it by force, which ends the answers.",
                )
        return self.view(found.id)

    def _begin_unload(self, slot: Slot, *, force: bool) -> None:
        if slot.phase == "loading":
            self._stop_load(slot, reasons.UNLOADED)
        elif slot.phase == "stopping" or force:
            self._stop(slot, force=force)
        else:
            self._drain(slot, self._clock() + DRAIN_S)
        self._settle()

    # The settings and the catalog

    def follow(self, settings: LocalSettings) -> None:
        """Use these settings from now on; loads what is kept. A loaded model follows when it is idle."""
        self._policy.follow(settings)
        self.catalog_changed()

    def catalog_changed(self) -> None:
        """Follow the catalog: a model whose file has gone gets no more requests, a kept one that came is loaded."""
        self._policy.match_settings()
        self._disk_views.clear()
        models = self._catalog.models
        for slot in tuple(self._slots.values()):
            model = models.get(slot.model.id)
            if slot.phase == "ready":
                slot.is_stale = self._policy.is_stale(slot)
            elif slot.phase == "on-disk" and model is None and not slot.is_wanted:
                del self._slots[slot.model.id]
            elif slot.phase == "on-disk" and model is not None:
                self._slot(model)
        self._tell()
        self._settle()

    async def close(self) -> None:
        """End all engines, in parallel."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for slot in tuple(self._slots.values()):
            slot.is_wanted_again = False
            if slot.phase == "waiting":
                self._give_up(slot, reasons.CLOSING)
            elif slot.phase == "loading":
                self._stop_load(slot, reasons.CLOSING)
            elif slot.holds_memory:
                self._stop(slot)
            slot.refuse(RouteUnavailable(reasons.CLOSING))
        while self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=CLOSE_S)
            for task in late:
                task.cancel()

    # What is due

    def _settle(self) -> None:
        """Do all that is due."""
        self._is_unsettled = True
        if self._is_settling or self._is_closed:
            return
        self._is_settling = True
        try:
            while self._is_unsettled:
                self._is_unsettled = False
                for slot in tuple(self._slots.values()):
                    self._settle_engine(slot)
                self._settle_queue()
                self._settle_kept()
        finally:
            self._is_settling = False
        self._arm()

    def _settle_engine(self, slot: Slot) -> None:
        """Unload what has expired, follow the settings, and end what has drained."""
        now = self._clock()
        if slot.phase == "loading" and now - slot.began_at > self._policy.settings.load_s + OVERDUE_S:
            self._end_overdue(slot)
        if slot.phase == "ready":
            if self._why_unusable(slot) is not None:
                self._drain(slot, None)
            elif not self._policy.is_busy(slot) and (slot.is_stale or self._policy.is_expired(slot)):
                self._stop(slot)
        if slot.phase == "draining":
            self._settle_draining(slot, now)

    def _settle_draining(self, slot: Slot, now: float) -> None:
        """End an engine that has answered all it had, or let it go on if it was only to be unloaded by hand."""
        answering = self._policy.answering(slot)
        if answering <= 0:
            self._stop(slot)
            return
        if slot.drain_until is not None and now >= slot.drain_until:
            slot.drain_until = None
            slot.tell_unloaders(answering)
        if slot.drain_until is None and self._why_unusable(slot) is None:
            self._ready_again(slot)

    def _settle_queue(self) -> None:
        """Load what waits for memory, in order, as far as there is room."""
        now = self._clock()
        while self._queue:
            slot = self._queue[0]
            why = self._why_unusable(slot)
            is_wanted = slot.is_wanted or self._policy.is_kept(slot)
            if not is_wanted and now - max(slot.left_at, slot.began_at) > ABANDONED_S:
                why = why or reasons.UNLOADED
            if why is not None:
                self._give_up(slot, why)
                continue
            memory = self._policy.memory(self._slots.values())
            found = self._policy.plan(slot, memory, self._kept_on_disk())
            if found.step == "start":
                self._start(slot, found.offer)
            elif found.step == "refuse":
                self._refuse(slot, self._policy.no_memory(slot, found, memory))
            else:
                self._wait(slot, found, memory)
                break
        for place, slot in enumerate(self._queue):
            if place:
                first = self._queue[place - 1].model.id
                self._set_wait_reason(slot, reasons.waiting_in_line((first,)))

    def _wait(self, slot: Slot, found: Plan, memory: Memory) -> None:
        """Evict what must leave; then the first in the queue waits until it has left, or until busy ones are idle."""
        for victim in found.victims:
            log.info("%s leaves the memory for %s", victim, slot.model.id)
            self._stop(self._slots[victim])
        if found.step == "wait-busy":
            busy = [one.model for one in memory.held if one.idle_s is None and not one.is_leaving]
            self._set_wait_reason(slot, reasons.waiting_for_busy(found.offer, busy))
        else:
            leaving = [one.model for one in memory.held if one.is_leaving]
            self._set_wait_reason(slot, reasons.making_room((*found.victims, *leaving)))

    def _settle_kept(self) -> None:
        """Load what is kept and not loaded."""
        for slot in self._kept_on_disk():
            if self._clock() < slot.retry_at:
                continue
            if not self._is_prepared:
                self._begin_to_prepare()  # and settles when that is done
                return
            self._want(slot)

    def _kept_on_disk(self) -> list[Slot]:
        """Return the kept models that are to be loaded, now or later."""
        kept = map(self._slot, self._policy.kept())
        return [
            slot
            for slot in kept
            if slot.phase == "on-disk" and not slot.is_let_go and self._why_unusable(slot) is None
        ]

    def _settle_soon(self) -> None:
        """Settle when the caller is done: a request that just ended may still count as in flight."""
        if not self._is_soon and not self._is_closed:
            self._is_soon = True
            self._later(0.0, self._on_soon)

    def _on_soon(self) -> None:
        self._is_soon = False
        self._settle()

    def _arm(self) -> None:
        """Set the timer to when something is due next; a request that ends only makes that later."""
        now = self._clock()
        due = [self._due_at(slot, now) for slot in self._slots.values() if slot.phase != "on-disk"]
        if self._preparing is None:  # else it is settled when that is done
            due += [slot.retry_at for slot in self._kept_on_disk()]
        at = min((at for at in due if at is not None), default=None)
        if at is None or (self._timer is not None and now < self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._later(max(0.0, at - now), self._on_timer)

    def _due_at(self, slot: Slot, now: float) -> float | None:
        if slot.phase in {"waiting", "loading"}:
            return now + LOOK_S
        if slot.phase == "draining":
            return now + LOOK_S if slot.drain_until is None else slot.drain_until
        stays_s = self._policy.stays_s(slot)
        if slot.phase != "ready" or stays_s is None:
            return None
        # Of a busy one the end will be told; it can't expire before that.
        return now + max(stays_s, LOOK_S) if self._policy.is_busy(slot) else slot.used_at + stays_s

    def _on_timer(self) -> None:
        self._timer = None
        if any(slot.phase == "loading" for slot in self._slots.values()):
            self._tell()  # the progress
        self._settle()

    # Loading

    def _want(self, slot: Slot) -> None:
        """See that a model gets loaded: one load, however many want it."""
        if slot.phase in {"draining", "stopping"} or slot.is_unwanted:
            slot.is_wanted_again = True
            return
        if slot.phase == "on-disk":
            slot.phase = "waiting"
            slot.model = self._catalog.models.get(slot.model.id, slot.model)
            slot.began_at = self._clock()
            memory = self._policy.memory(self._slots.values())
            found = self._policy.plan(slot, memory, self._kept_on_disk())
            self._queue.append(slot)
            if found.step == "refuse":  # it need not wait in line to hear that
                self._refuse(slot, self._policy.no_memory(slot, found, memory))
            self._tell()
        self._settle()

    def _start(self, slot: Slot, offer: Offer) -> None:
        self._queue.remove(slot)
        on_devices = sum(other.device_bytes for other in self._slots.values())
        slot.phase = "loading"
        slot.offer = offer
        slot.args = self._policy.own(slot.model.id).args
        slot.need_bytes = offer.need_bytes
        slot.device_bytes = max(0, min(offer.need_bytes, self._policy.device_bytes - on_devices))
        slot.began_at = self._clock()
        slot.is_let_go = False
        if self._policy.devices:
            self._is_prepared = False  # they are asked again before the next load
        self._tell()
        self._spawn(self._load(slot))

    async def _load(self, slot: Slot) -> None:
        """Start an engine and wait until it has loaded; whatever happens is reported."""
        engine: RunningEngine | None = None
        failure = reasons.NOT_LOADED
        load_s = self._policy.settings.load_s
        try:
            engine = await self._starter.start(slot.model, slot.offer.context, slot.args, load_s)
        except EngineFailed as error:
            failure = error.reason
        except BadRequest as error:
            failure = Reason("bad-arguments", error.title, error.hint)
        except OSError as error:
            failure = reasons.not_started(error)
        finally:
            if engine is None:
                self._on_failed(slot, failure)
        if engine is None:
            return
        slot.engine = engine
        is_loaded = False
        try:
            if not slot.is_unwanted:
                await engine.wait_ready()
                is_loaded = not engine.ended.done()
                failure = reasons.NOT_LOADED if is_loaded else _explain(engine)
        except EngineFailed as error:
            failure = error.reason
        finally:
            if is_loaded and not slot.is_unwanted:
                self._on_loaded(slot, engine)
            else:
                await self._end(slot, engine, failure)

    async def _end(self, slot: Slot, engine: RunningEngine, failure: Reason) -> None:
        """End an engine that is not to be used."""
        try:
            await engine.stop(force=True)
        except OSError as error:
            log.warning("The engine of %s can't be ended: %s", slot.model.id, error)
        finally:
            self._on_failed(slot, slot.verdict or failure)

    def _on_loaded(self, slot: Slot, engine: RunningEngine) -> None:
        now = self._clock()
        model = slot.model
        took_s = now - slot.began_at
        slot.phase = "ready"
        slot.upstream = self._upstream_for(engine.address)
        slot.route = _route(engine, slot.upstream)
        slot.used_at = now
        slot.is_by_hand = False
        slot.is_stale = self._policy.is_stale(slot)
        slot.note_load(now)
        self._records.keep_load(model, took_s)
        self._policy.measure(slot, has_worked=False)
        engine.ended.add_done_callback(partial(self._on_ended, slot, engine))
        log.info("%s is loaded, after %.1f s", model.id, took_s)
        slot.wake(slot.route)
        self._tell()
        self._settle()

    def _on_failed(self, slot: Slot, reason: Reason) -> None:
        """Report a load that ended without a usable engine; nothing of it runs any more."""
        if not slot.is_unwanted:
            slot.note_failure(reason, self._clock())
            log.warning("%s can't be loaded: %s", slot.model.id, reason.text)
            slot.refuse(RouteUnavailable(reason))
        self._on_gone(slot)

    def _stop_load(self, slot: Slot, reason: Reason) -> None:
        """End a load that nobody wants any more."""
        slot.is_unwanted = True
        slot.refuse(RouteUnavailable(reason))
        self._spawn_stop(slot)

    # Unloading

    def _drain(self, slot: Slot, until: float | None) -> None:
        """Send no more requests to an engine; it is ended when it has answered those that it has.

        At `until` those who unload it are told if it still answers, and then it goes on, if it may be used.
        """
        if until is not None or slot.phase != "draining":
            slot.drain_until = until
        slot.phase = "draining"
        slot.route = None
        self._tell()

    def _ready_again(self, slot: Slot) -> None:
        if slot.engine is None or slot.upstream is None:
            return
        slot.phase = "ready"
        slot.is_let_go = False
        slot.is_wanted_again = slot.is_by_hand = False
        slot.route = _route(slot.engine, slot.upstream)
        slot.wake(slot.route)
        self._tell()

    def _stop(self, slot: Slot, *, force: bool = False) -> None:
        """End the engine of a model that is ready, draining or (with force) being ended."""
        engine = slot.engine
        if engine is None or (slot.phase == "stopping" and not force):
            return
        if slot.phase == "stopping":
            self._spawn_stop(slot)
            return
        self._policy.measure(slot, has_worked=True)
        self._lost[slot.model.id] = (slot.upstream, reasons.UNLOADED_WHILE_ANSWERING)
        slot.phase = "stopping"
        slot.route = None
        self._spawn(self._run_stop(slot, engine, force=force))
        self._tell()

    async def _run_stop(self, slot: Slot, engine: RunningEngine, *, force: bool) -> None:
        try:
            await engine.stop(force=force)
        except OSError as error:
            log.warning("The engine of %s can't be ended: %s", slot.model.id, error)
        finally:
            self._on_gone(slot)

    def _spawn_stop(self, slot: Slot) -> None:
        """End a process at once; whoever waits for its end reports it."""
        if slot.engine is not None:
            self._spawn(_force_stop(slot.engine))

    def _on_ended(self, slot: Slot, engine: RunningEngine, ended: asyncio.Future[Ending]) -> None:
        """Report an engine that ended by itself."""
        if slot.engine is not engine or slot.phase not in {"ready", "draining"} or self._is_closed:
            return
        reason = _explain(engine) if not ended.cancelled() else reasons.UNLOADED
        log.warning("%s has ended: %s", slot.model.id, reason.text)
        self._lost[slot.model.id] = (slot.upstream, reason)
        slot.note_crash(reason, self._clock())
        if slot.is_failed:
            slot.refuse(RouteUnavailable(reason))
        self._on_gone(slot)

    def _on_gone(self, slot: Slot) -> None:
        """Report that the process of a model is gone: its memory is free, and it may be loaded again."""
        if slot.engine is not None:
            slot.old_log = slot.engine.log()
        if slot.upstream is not None:
            slot.upstream.close()
        wants_again = not self._is_closed and (slot.is_wanted_again or slot.waiting > 0)
        slot.engine = slot.upstream = slot.route = slot.keep_alive_s = slot.drain_until = None
        slot.need_bytes = slot.device_bytes = 0
        slot.phase = "on-disk"
        slot.verdict = None
        slot.is_unwanted = slot.is_wanted_again = slot.is_stale = False
        slot.is_by_hand = slot.is_by_hand and wants_again
        slot.tell_unloaders(0)
        if wants_again:
            if (why := self._why_unusable(slot)) is not None:
                slot.is_by_hand = False
                slot.refuse(RouteUnavailable(why))
            else:
                self._want(slot)
        elif slot.model.id not in self._catalog.models:
            self._slots.pop(slot.model.id, None)
        self._tell()
        self._settle()

    def _give_up(self, slot: Slot, reason: Reason) -> None:
        """Take a model out of the queue."""
        self._queue.remove(slot)
        slot.phase = "on-disk"
        slot.is_by_hand = False
        slot.keep_alive_s = slot.wait_reason = None
        slot.refuse(RouteUnavailable(reason))
        self._tell()

    def _refuse(self, slot: Slot, reason: Reason) -> None:
        """Take a model out of the queue that does not fit; a kept one is tried again later."""
        self._give_up(slot, reason)
        if self._policy.is_kept(slot):
            slot.failure = slot.failure if slot.is_failed else reason
            slot.retry_at = max(slot.retry_at, self._clock() + RETRY_S)

    def _why_unusable(self, slot: Slot) -> Reason | None:
        """Return why a model gets no requests at all."""
        return reasons.CLOSING if self._is_closed else self._policy.why_unusable(slot)

    def _end_overdue(self, slot: Slot) -> None:
        """End an engine that should have given up loading by itself."""
        if slot.verdict is None and slot.engine is not None:
            slot.verdict = reasons.too_slow(self._policy.settings.load_s)
            self._spawn_stop(slot)

    # Helpers

    async def _prepare(self) -> None:
        """Find out what runs models here, and how much room devices have; asked once by all who want to know."""
        if not self._is_prepared and not self._is_closed:
            await asyncio.shield(self._begin_to_prepare())

    def _begin_to_prepare(self) -> asyncio.Task[None]:
        if self._preparing is None:
            self._preparing = self._spawn(self._ask())
        return self._preparing

    async def _ask(self) -> None:
        devices: Sequence[DeviceView] = ()
        try:
            if not self._starter.runners:
                await self._starter.find()
            if not self._is_apple:  # its graphics have no memory of their own
                devices = await self._starter.devices()
        except (EngineFailed, MeshlightError, OSError, TimeoutError) as error:
            log.warning("What this machine's models can run on is not known: %s", error)
        finally:
            self._policy.follow_devices(devices, self._slots.values())
            self._is_prepared = True
            self._preparing = None
            self._settle_soon()

    def _known(self, name: str) -> LocalModel:
        """Return a model by id or further name; NotFound."""
        found = self._catalog.find(name)
        if found is None and (slot := self._slots.get(name)) is not None and slot.holds_memory:
            return slot.model
        if found is None:
            near = similar_names(name, self._catalog.models)
            hint = f"Did you mean {' or '.join(map(sanitize_line, near))}? " if near else ""
            raise NotFound(
                f"This machine has no model {sanitize_line(name)!r}.",
                f"{hint}`meshlight models` lists all.",
                param="model",
            )
        return found

    def _slot(self, model: LocalModel) -> Slot:
        slot = self._slots.get(model.id)
        if slot is None:
            slot = self._slots[model.id] = Slot(model)
        elif not slot.holds_memory:
            if is_other_file(model, slot.model):
                slot.forget_failures()
            slot.model = model
        return slot

    def _set_wait_reason(self, slot: Slot, reason: Reason) -> None:
        if slot.wait_reason != reason:
            slot.wait_reason = reason
            self._tell()

    def _tell(self) -> None:
        """Say soon that views have changed: not in the middle of a change."""
        if self._is_told:
            self._is_told = False
            self._later(0.0, self._on_tell)

    def _on_tell(self) -> None:
        self._is_told = True
        self._on_change()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Local models: %s", type(error).__name__, exc_info=error)

    def _views(self, models: Iterable[LocalModel]) -> list[LocalModelView]:
        memory = self._policy.memory(self._slots.values())
        free_bytes, in_the_end_bytes = memory.free_bytes, memory.in_the_end_bytes
        views = []
        for model in models:
            runner = self._starter.label_for(model)
            view = self._disk_views.view(model, free_bytes, in_the_end_bytes, runner)
            slot = self._slots.get(model.id)
            views.append(view if slot is None else with_engine(view, slot, self._policy, self._clock))
        return views


def _route(engine: RunningEngine, upstream: Upstream) -> ModelRoute:
    auth = ((b"authorization", b"Bearer " + engine.key.encode()),) if engine.key else ()
    return ModelRoute(upstream, auth, engine.model_name)


def _explain(engine: RunningEngine) -> Reason:
    """Say why an engine that has ended did so."""
    try:
        return engine.explain(engine.ended.result())
    except (OSError, asyncio.CancelledError):
        return Reason("engine-ended", "Its engine ended.", "Look at its log: `meshlight models log`.")


async def _force_stop(engine: RunningEngine) -> None:
    try:
        await engine.stop(force=True)
    except OSError as error:
        log.warning("An engine can't be ended: %s", error)
