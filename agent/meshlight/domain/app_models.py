"""Which model an app is set up with when nobody names one.

The rule, first difference decides: it can be used now; it is known to call tools, if the app needs that; its context
is known to be large enough; it is in memory; it is near; it has more parameters; its context is larger; its name.
Models that are not for chat are left out, by what their engines report, or else by their names.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from meshlight.domain.backend import RING_ORDER, ModelDetail
from meshlight.domain.model_names import can_chat
from meshlight.domain.routing import resolve
from meshlight.domain.snapshot import Node, Snapshot

_SIZE = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d{1,2})?)b(?![a-z0-9])", re.IGNORECASE)
"""Billions of parameters, in the name of a model or as its engine says them."""
_NO_DETAIL = ModelDetail()


class ModelPick(Struct, frozen=True, kw_only=True):
    """A model for an app."""

    model: str
    context: int | None = None
    why: str = ""
    is_missing: bool = False
    """Whether no backend has the model that was asked for."""


def pick_model(
    snapshot: Snapshot, asked: str = "", *, context: int = 0, needs_tools: bool = False
) -> ModelPick | None:
    """Return the model for an app: the one asked for, if any; else the best; None where there is no chat model."""
    if asked:
        model, backends = resolve(snapshot, asked)
        details = [snapshot.nodes[i].details.get(model, _NO_DETAIL) for i in backends if i in snapshot.nodes]
        return ModelPick(
            model=asked,
            context=_smallest(details),
            why="The model you chose.",
            is_missing=not backends,
        )
    best: tuple[tuple[object, ...], str, int | None] | None = None
    for model, node, detail in _routes(snapshot):
        has_tools, room = "tools" in detail.capabilities, detail.context or 0
        is_usable = (
            node.health.state in {"healthy", "warming"} and not node.degraded and model not in node.unusable
        )
        key = (
            not is_usable,
            needs_tools and not has_tools,
            room < context,
            not detail.loaded,
            RING_ORDER[node.backend.reach],
            -_size(model, detail),
            -room,
            model,
        )
        if best is None or key < best[0]:
            best = key, model, detail.context
    if best is None:
        return None
    (is_down, no_tools, is_small, *_), model, known = best
    doubts = [
        text
        for is_so, text in (
            (is_down, "no model can be used at this moment"),
            (no_tools, "no model here is known to call tools"),
            (is_small, f"no model here is known to have {context:,} tokens of context"),
        )
        if is_so
    ]
    why = f"The best guess: {', '.join(doubts)}." if doubts else "The best that can be used now."
    return ModelPick(model=model, context=known, why=why)


def chat_models(snapshot: Snapshot) -> tuple[str, ...]:
    """Return every model for chat, each once."""
    return tuple(dict.fromkeys(model for model, _, _ in _routes(snapshot)))


def has_claude(snapshot: Snapshot) -> bool:
    """Whether the mesh serves models of Anthropic, so that Claude Code may ask for them by its own names."""
    return any(model.startswith("claude-") for model in snapshot.routes)


def _routes(snapshot: Snapshot) -> Iterator[tuple[str, Node, ModelDetail]]:
    for model, backends in snapshot.routes.items():
        for backend in backends:
            node = snapshot.nodes[backend]
            detail = node.details.get(model, _NO_DETAIL)
            if can_chat(model, [detail.capabilities]):
                yield model, node, detail


def _size(model: str, detail: ModelDetail) -> float:
    found = _SIZE.search(detail.parameters) or _SIZE.search(model)
    return float(found[1]) if found else 0.0


def _smallest(details: list[ModelDetail]) -> int | None:
    return min((detail.context for detail in details if detail.context), default=None)
