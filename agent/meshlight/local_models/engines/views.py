"""What people and programs see of a model and its engine."""

from msgspec.structs import replace

from meshlight.domain.clock import Clock
from meshlight.domain.config import LocalModelSettings
from meshlight.domain.local_memory import fit_of
from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import Fit, LocalModelView
from meshlight.local_models.engines import reasons
from meshlight.local_models.engines.eviction import Offer
from meshlight.local_models.engines.policy import Policy
from meshlight.local_models.engines.slot import Slot

PROGRESS_MAX = 0.95
"""Shown at most where the progress is only guessed, by the time that the last load took."""
LOAD_MIN_S = 0.1
_Basis = tuple[LocalModel, LocalModelSettings, Offer, Fit, str, float | None]
"""What a view was made of: model, settings, context, fit, runner, and the time of its last load."""


class DiskViews:
    """The views of models that have no engine; made anew only when something has changed, because there are many."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._made: dict[str, tuple[_Basis, LocalModelView]] = {}

    def view(self, model: LocalModel, free_bytes: int, in_the_end_bytes: int, runner: str) -> LocalModelView:
        """Return the view of a model, given what models may take now and when all others have left.

        `runner` is the label of the one that would run it.
        """
        policy = self._policy
        offers = policy.offers(model)
        offer = offers[-1]
        for one in offers:
            if one.need_bytes <= free_bytes:
                offer = one
                break
        fits = fit_of(offer.need_bytes, free_bytes, in_the_end_bytes)
        basis = (model, policy.own(model.id), offer, fits, runner, policy.records.load_s(model))
        known = self._made.get(model.id)
        if known is not None and known[0] == basis:
            return known[1]
        view = _view(*basis)
        self._made[model.id] = basis, view
        return view

    def clear(self) -> None:
        """Make all anew, because models or settings have changed."""
        self._made.clear()


def _view(
    model: LocalModel, own: LocalModelSettings, offer: Offer, fits: Fit, runner: str, load_s: float | None
) -> LocalModelView:
    return LocalModelView(
        id=model.id,
        names=model.names,
        state="missing" if model.is_missing else "on-disk",
        reason=reasons.GONE if model.is_missing else None,
        purpose=model.purpose,
        size_bytes=model.size_bytes,
        need_bytes=offer.need_bytes,
        fits=fits,
        context=offer.context,
        context_max=model.context_max,
        quantization=model.quantization,
        parameters=model.parameters,
        architecture=model.architecture,
        sees_images=bool(model.projector),
        runner=runner,
        store=model.store,
        load_s=load_s,
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
