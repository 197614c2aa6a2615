"""Finds the projector that lets a model see, among the files that belong together."""

from collections.abc import Sequence

from meshlight.local_models.catalog.file_names import (
    is_projector_name,
    quantization_in,
    without_quantization,
    words,
)
from meshlight.local_models.catalog.gguf_models import GgufModel

_PRECISIONS = ("F16", "BF16", "F32", "Q8_0")
"""The best first: F16 is what every engine's processor of pictures can do."""
_LIKE_ENOUGH = 0.5
"""The share of words that a projector and its model have in common at least, where other models lie beside it."""


def is_projector(file: GgufModel) -> bool:
    """Whether a file is a projector, by its header, or else by its name and the lack of a vocabulary."""
    if file.header.role == "projector":
        return True
    return file.header.role == "model" and not file.header.vocabulary and is_projector_name(file.stem)


def family(projector: GgufModel) -> str:
    """Return what all precisions of a projector have in common."""
    return f"{projector.folder.root}\n{without_quantization(projector.stem).lower()}"


def projector_for(
    model: GgufModel, models: Sequence[GgufModel], projectors: Sequence[GgufModel]
) -> GgufModel | None:
    """Return the projector of one of `models`, which lie together with `projectors`; None if none is meant for it.

    The name decides where there are several models; quantizations of one count as one. Of several precisions, F16.
    """
    are_several = len({without_quantization(other.stem).lower() for other in models}) > 1
    fitting: list[tuple[float, int, str, GgufModel]] = []
    for projector in projectors:
        theirs = words(projector.stem) or words(projector.header.name)
        likeness = _likeness(model, theirs)
        if are_several:
            is_fitting = likeness >= max(_LIKE_ENOUGH, *(_likeness(other, theirs) for other in models))
        else:
            is_fitting = likeness > 0 or not words(projector.stem) or bool(model.folder.repo)
        if is_fitting:
            fitting.append((-likeness, _precision(projector), projector.stem, projector))
    return min(fitting, key=lambda found: found[:3])[3] if fitting else None


def _precision(projector: GgufModel) -> int:
    precision = quantization_in(projector.stem) or projector.header.quantization
    return _PRECISIONS.index(precision) if precision in _PRECISIONS else len(_PRECISIONS)


def _likeness(model: GgufModel, theirs: frozenset[str]) -> float:
    mine = words(model.stem)
    return len(mine & theirs) / max(len(mine | theirs), 1)
