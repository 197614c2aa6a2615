"""What engines tell of their models, in few words: `8k context · Q4_K_M · loaded · vision`."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from meshlight.desktop.text import clean
from meshlight.domain.model import ModelDetail
from meshlight.domain.view import BackendView, ModelView, SnapshotView, Work

_ORDINARY = frozenset({"chat", "completion"})
"""What nearly every model can do, and nobody needs to be told."""
_THOUSAND = 1000
_KIBI = 1024


class ModelLine(Struct, frozen=True, kw_only=True):
    """One model, with what each of its backends tells of it, by the backend's id."""

    id: str
    backends: tuple[str, ...]
    requests: Work | None
    details: Mapping[str, ModelDetail]


def model_listing(view: SnapshotView) -> list[ModelLine]:
    """Return the models with their details, for `meshlight models --json`."""
    backends = {b.id: b for b in view.backends}
    return [
        ModelLine(id=m.id, backends=m.backends, requests=m.requests, details=details_of(m, backends))
        for m in view.models
    ]


def details_of(model: ModelView, backends: Mapping[str, BackendView]) -> dict[str, ModelDetail]:
    """Return what the backends of a model tell of it, by their ids."""
    serving = (backends[id_] for id_ in model.backends if id_ in backends)
    return {b.id: b.details[model.id] for b in serving if model.id in b.details}


def context_said(tokens: int | None) -> str:
    """Return the length of a context as people say it: `8k`, `128k`, `1M`; empty when it is not known."""
    if tokens is None:
        return ""
    for unit in (_THOUSAND, _KIBI):
        if tokens % unit**2 == 0 and tokens >= unit**2:
            return f"{tokens // unit**2}M"
    if tokens < _THOUSAND:
        return str(tokens)
    return f"{round(tokens / (_THOUSAND if tokens % _THOUSAND == 0 else _KIBI))}k"


def loaded_said(loaded: bool | None) -> str:
    """Return whether a model is in memory; empty when it is not known."""
    return "" if loaded is None else "loaded" if loaded else "not loaded"


def detail_said(detail: ModelDetail) -> str:
    """Return all of a model's details on one line; empty when there are none."""
    context = context_said(detail.context)
    said = [
        f"{context} context" if context else "",
        clean(detail.parameters),
        clean(detail.quantization),
        loaded_said(detail.loaded),
        *(word for word in detail.capabilities if word not in _ORDINARY),
    ]
    return " · ".join(word for word in said if word)


def contexts_said(details: Iterable[ModelDetail]) -> str:
    """Return the length of context that several backends give one model: `8k`, or from least to most `4k-8k`."""
    found = sorted({detail.context for detail in details if detail.context is not None})
    return "-".join(dict.fromkeys(context_said(one) for one in (*found[:1], *found[-1:])))


def quantizations_said(details: Iterable[ModelDetail]) -> str:
    """Return each quantisation once."""
    return ", ".join(dict.fromkeys(said for detail in details if (said := clean(detail.quantization))))


def states_said(details: Iterable[ModelDetail]) -> str:
    """Return whether a model is in memory at its backends."""
    found = {detail.loaded for detail in details} - {None}
    return "on some" if len(found) > 1 else loaded_said(next(iter(found), None))
