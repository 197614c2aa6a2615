"""What the settings, the catalog and the memory say about a model: rules that change nothing of an engine."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Reason
from meshlight.domain.clock import Clock
from meshlight.domain.config import LocalModelSettings, LocalSettings
from meshlight.domain.errors import BadRequest
from meshlight.domain.local_memory import (
    MemoryNow,
    budget_bytes,
    contexts_for,
    device_room,
    measured_need,
    memory_limit,
    need_bytes,
)
from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import DeviceView
from meshlight.local_models.downloads.starters import STARTERS
from meshlight.local_models.engines import reasons
from meshlight.local_models.engines.eviction import Held, Offer, Plan, Room, plan
from meshlight.local_models.engines.memory import MemoryProbe, held_bytes
from meshlight.local_models.engines.records import Records
from meshlight.local_models.engines.slot import Slot
from meshlight.local_models.interfaces import Catalog, EngineStarter

log = logging.getLogger(__name__)

USUAL_LOAD_S = 10.0
"""Assumed of a model that was never loaded."""
_NO_SETTINGS = LocalModelSettings(id="")


class Memory(Struct, frozen=True):
    """What models take and may take, at one moment."""

    now: MemoryNow
    room: Room
    held: tuple[Held, ...]

    @property
    def models_bytes(self) -> int:
        """What the loaded models take."""
        return sum(one.need_bytes for one in self.held)

    @property
    def free_bytes(self) -> int:
        """What further models may take."""
        return max(0, self.room.budget_bytes - self.models_bytes)

    @property
    def in_the_end_bytes(self) -> int:
        """What models may take when all that may ever leave have left."""
        return max(0, self.room.budget_bytes - sum(one.need_bytes for one in self.held if one.is_kept))


class Policy:
    """The rules, with what they read."""

    def __init__(
        self,
        catalog: Catalog,
        starter: EngineStarter,
        probe: MemoryProbe,
        records: Records,
        in_flight: Callable[[str], int],
        clock: Clock,
    ) -> None:
        self.records = records
        self.settings = LocalSettings()
        self.limit: int | None = None
        """What models may take in all, if the user has set it."""
        self.devices: Sequence[DeviceView] = ()
        self.device_bytes = 0
        """The room on devices, with what loaded models take there."""
        self._catalog = catalog
        self._starter = starter
        self._probe = probe
        self._in_flight = in_flight
        self._clock = clock
        self._by_model: Mapping[str, LocalModelSettings] = {}
        self._offers: dict[str, tuple[LocalModel, tuple[Offer, ...]]] = {}
        """By model; until models, settings or what was measured change."""

    # The settings

    def follow(self, settings: LocalSettings) -> None:
        """Use these settings from now on."""
        self.settings = settings
        try:
            self.limit = memory_limit(settings.memory)
        except BadRequest as error:
            log.warning("The setting `memory` is not used: %s", error.title)
            self.limit = None
        self.match_settings()

    def match_settings(self) -> None:
        """Find the models that the settings of single models are for; after each change of the catalog.

        A starter without arguments of the user gets its own.
        """
        by_model: dict[str, LocalModelSettings] = {}
        for own in self.settings.models:
            found = self._catalog.find(own.id)
            by_model[own.id if found is None else found.id] = own
        for starter in STARTERS:
            own = by_model.get(starter.model, LocalModelSettings(id=starter.model))
            if starter.args and not own.args:
                by_model[starter.model] = replace(own, args=starter.args)
        self._by_model = by_model
        self._offers.clear()

    def own(self, model: str) -> LocalModelSettings:
        """Return the settings of a model alone."""
        return self._by_model.get(model, _NO_SETTINGS)

    def kept(self) -> list[LocalModel]:
        """Return the models that are to be kept loaded, as far as they are known."""
        if not self.settings.enabled:
            return []
        models = self._catalog.models
        return [models[model] for model, own in self._by_model.items() if own.keep and model in models]

    def follow_devices(self, devices: Sequence[DeviceView], slots: Iterable[Slot]) -> None:
        """Count on the devices' memory as it is now; what loaded models have there is not in what is free."""
        self.devices = devices
        taken = sum(slot.device_bytes for slot in slots)
        self.device_bytes = device_room(devices) + taken if devices else 0

    # One model

    def why_unusable(self, slot: Slot) -> Reason | None:
        """Return why a model gets no requests at all."""
        model = self._catalog.models.get(slot.model.id)
        if not self.settings.enabled:
            return reasons.DISABLED
        if model is None or model.is_missing:
            return reasons.GONE
        if self.own(model.id).hidden:
            return reasons.HIDDEN
        if not slot.holds_memory and not self._starter.label_for(model):
            return reasons.no_runner(model.format)
        return None

    def answering(self, slot: Slot) -> int:
        """Return how many requests an engine answers, without those that wait for it."""
        return self._in_flight(slot.model.id) - slot.waiting

    def is_busy(self, slot: Slot) -> bool:
        """Whether a model answers, or somebody waits for it."""
        return bool(slot.waiters or slot.loaders) or self._in_flight(slot.model.id) > 0

    def is_kept(self, slot: Slot) -> bool:
        """Whether a model stays loaded by the settings, and was not unloaded by hand."""
        return self.own(slot.model.id).keep and not slot.is_let_go

    def is_stale(self, slot: Slot) -> bool:
        """Whether an engine was started by other settings, or from another file, than it would be now."""
        model = self._catalog.models.get(slot.model.id)
        own = self.own(slot.model.id)
        if model is None or is_other_file(model, slot.model):
            return True
        contexts = contexts_for(model, self.settings.context, own.context)
        return slot.args != own.args or slot.offer.context not in contexts

    def stays_s(self, slot: Slot) -> float | None:
        """Return for how long a model stays after its last request; None for ever."""
        own = self.own(slot.model.id)
        if own.keep:
            return None
        if slot.keep_alive_s is not None:
            return None if slot.keep_alive_s < 0 else slot.keep_alive_s
        idle_s = self.settings.idle_s if own.idle_s is None else own.idle_s
        return idle_s if idle_s > 0 else None

    def is_expired(self, slot: Slot) -> bool:
        """Whether an idle model has stayed long enough."""
        stays_s = self.stays_s(slot)
        return stays_s is not None and self._clock() >= slot.used_at + stays_s

    def load_s(self, model: LocalModel) -> float:
        """Return how long a load takes, as far as that is known."""
        return self.records.load_s(model) or USUAL_LOAD_S

    # Memory

    def need_bytes(self, model: LocalModel, context: int) -> int:
        """Return what a model needs with a context: as measured, else by the formula."""
        return self.records.need_bytes(model, context) or need_bytes(model, context)

    def offers(self, model: LocalModel) -> tuple[Offer, ...]:
        """Return the contexts that a model may get, the most wanted first."""
        known = self._offers.get(model.id)
        if known is not None and known[0] is model:
            return known[1]
        contexts = contexts_for(model, self.settings.context, self.own(model.id).context)
        offers = tuple(
            Offer(context=tokens, need_bytes=self.need_bytes(model, tokens)) for tokens in contexts
        )
        self._offers[model.id] = model, offers
        return offers

    def measure(self, slot: Slot, *, has_worked: bool) -> None:
        """Keep what a loaded model needs, unless devices hold a part of it that can't be seen."""
        if slot.engine is None or self.devices:
            return
        context = slot.offer.context
        at_most = need_bytes(slot.model, context)
        measured = measured_need(
            slot.model, slot.engine.resident_bytes(), at_most=at_most, has_worked=has_worked
        )
        known = self.records.need_bytes(slot.model, context)
        if measured > known:
            slot.need_bytes = measured
            self.records.keep_need(slot.model, context, measured)
            self._offers.pop(slot.model.id, None)

    def memory(self, slots: Iterable[Slot]) -> Memory:
        """Return what models take and may take now."""
        loaded = [slot for slot in slots if slot.holds_memory]
        maps_stay = self._probe.maps_stay_available
        taken = sum(
            held_bytes(slot.model, slot.engine.resident_bytes(), maps_stay_available=maps_stay)
            for slot in loaded
            if slot.engine is not None
        )
        now = self._probe.read()
        budget = budget_bytes(now, taken, self.device_bytes, self.limit, is_apple=self._probe.is_apple)
        room = Room(budget_bytes=budget, max_loaded=self.settings.max_loaded)
        return Memory(now, room, tuple(map(self._held, loaded)))

    def plan(self, slot: Slot, memory: Memory, kept_on_disk: Iterable[Slot]) -> Plan:
        """Return what to do for a model that is to be loaded; `kept_on_disk` are kept ones still to come."""
        spared = sum(self.offers(one.model)[-1].need_bytes for one in kept_on_disk if one is not slot)
        is_insider = slot.has_owner_waiting or self.is_kept(slot)
        may_evict = is_insider and self._failure(slot) is None
        return plan(
            self.offers(slot.model), memory.held, memory.room, may_evict=may_evict, spared_bytes=spared
        )

    def no_memory(self, slot: Slot, found: Plan, memory: Memory) -> Reason:
        """Say why a model that does not fit is refused."""
        return reasons.no_memory(
            found.offer,
            memory.held,
            memory.room,
            is_guest=not slot.has_owner_waiting and not self.is_kept(slot),
            is_limited=self.limit is not None,
            failure=self._failure(slot),
        )

    def _failure(self, slot: Slot) -> Reason | None:
        """Return why nothing may be evicted for a model: its last load failed, and nobody insists."""
        return slot.failure if slot.is_failed and not slot.is_by_hand else None

    def _held(self, slot: Slot) -> Held:
        stays = self.is_kept(slot) or (slot.keep_alive_s is not None and slot.keep_alive_s < 0)
        is_idle = slot.phase == "ready" and not self.is_busy(slot)
        return Held(
            model=slot.model.id,
            need_bytes=slot.need_bytes,
            idle_s=self._clock() - slot.used_at if is_idle else None,
            load_s=self.load_s(slot.model),
            is_kept=stays,
            is_leaving=slot.phase == "stopping" or slot.is_unwanted,
        )


def is_other_file(model: LocalModel, before: LocalModel) -> bool:
    """Whether a model is another file now than it was before."""
    if model is before:
        return False
    return _files_of(model) != _files_of(before)


def _files_of(model: LocalModel) -> tuple[object, ...]:
    return model.path, model.files, model.size_bytes, model.changed_ns
