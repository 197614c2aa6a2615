"""What people and programs see of a model and its engine."""

from msgspec.structs import replace

from meshlight.domain.clock import Clock
from meshlight.domain.local_memory import fit_of
from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import LocalModelView
from meshlight.local_models.engines import reasons
from meshlight.local_models.engines.policy import Memory, Policy
from meshlight.local_models.engines.slot import Slot

PROGRESS_MAX = 0.95
"""Shown at most where the progress is only guessed, by the time that the last load took."""
LOAD_MIN_S = 0.1


def view_on_disk(model: LocalModel, policy: Policy, memory: Memory, runner: str) -> LocalModelView:
    """Return the view of a model that has no engine; `runner` is the label of the one that would run it."""
    own = policy.own(model.id)
    offers = policy.offers(model)
    offer = next((one for one in offers if one.need_bytes <= memory.free_bytes), offers[-1])
    return LocalModelView(
        id=model.id,
        state="missing" if model.is_missing else "on-disk",
        reason=reasons.GONE if model.is_missing else None,
        purpose=model.purpose,
        size_bytes=model.size_bytes,
        need_bytes=offer.need_bytes,
        fits=fit_of(offer.need_bytes, memory.free_bytes, memory.in_the_end_bytes),
        context=offer.context,
        context_max=model.context_max,
        quantization=model.quantization,
        parameters=model.parameters,
        architecture=model.architecture,
        sees_images=bool(model.projector),
        runner=runner,
        store=model.store,
        load_s=policy.records.load_s(model),
        keep=own.keep,
        can_delete=model.store == "own",
        hidden=own.hidden,
    )


def with_engine(view: LocalModelView, slot: Slot, policy: Policy, clock: Clock) -> LocalModelView:
    """Return the view of a model that was asked for, given that without its engine."""
    now = clock()
    state = slot.state(is_missing=view.state == "missing")
    stays_s = policy.stays_s(slot)
    is_idle = slot.phase == "ready" and not policy.is_busy(slot)
    expires_in_s = max(0.0, slot.used_at + stays_s - now) if is_idle and stays_s is not None else None
    view = replace(
        view,
        state=state,
        reason=view.reason if state == "missing" else slot.reason,
        in_flight=max(0, policy.answering(slot)),
        waiting=slot.waiting,
        idle_s=now - slot.used_at if is_idle else None,
        expires_in_s=expires_in_s,
    )
    if not slot.holds_memory:
        return view
    engine = slot.engine
    return replace(
        view,
        fits="now",
        need_bytes=slot.need_bytes,
        context=slot.offer.context if engine is None else engine.context,
        runner=view.runner if engine is None else engine.runner_label,
        progress=_progress(slot, view.load_s, now) if slot.phase == "loading" else None,
    )


def _progress(slot: Slot, load_s: float | None, now: float) -> float | None:
    told = None if slot.engine is None else slot.engine.progress
    if told is not None or load_s is None:
        return told
    return min((now - slot.began_at) / max(load_s, LOAD_MIN_S), PROGRESS_MAX)
