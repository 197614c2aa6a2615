"""Gives the models of this machine their ids and further names, so that each name means one model only."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.local_models import LocalModel
from meshlight.domain.text import sanitize

ID_MAX = 200
_GENERIC = frozenset({"", "model", "ggml-model", "ggml_model", "weights", "pytorch_model"})
"""Names that say nothing: the folder's is taken instead."""
_PREFERRED = (
    "Q4_K_M",
    "UD-Q4_K_XL",
    "Q4_K_XL",
    "Q4_K_S",
    "MXFP4",
    "MXFP4_MOE",
    "Q4_0",
    "Q4_1",
    "IQ4_XS",
    "IQ4_NL",
    "Q5_K_M",
    "Q5_K_S",
    "Q6_K",
    "Q8_0",
)
"""Which quantization is meant by the name of a whole repository, the best first."""
_HUBS = ("hf.co/", "huggingface.co/")


class Unnamed(Struct, frozen=True, kw_only=True):
    """A model that has no id yet, and what it may be called by."""

    model: LocalModel
    """Its `id` is empty."""
    stem: str
    """Its file's name without quantization and suffix, or its folder's; from a stranger."""
    file_stem: str
    """The same with the quantization."""
    folder: str
    """The name of the folder that it lies in."""
    repo: str = ""
    rank: int = 0
    place: str = ""
    """A word for the store."""


def name_all(models: Sequence[Unnamed]) -> dict[str, LocalModel]:
    """Return all models by their ids; of two with the same id the first one keeps it.

    An older revision of a file is left out where there is a newer one.
    """
    named: dict[str, Unnamed] = {}
    seen: set[tuple[str, str, str]] = set()
    for unnamed in models:
        revision = (unnamed.place, unnamed.repo, unnamed.file_stem)
        if unnamed.rank and revision in seen:
            continue
        seen.add(revision)
        named[_free_id(unnamed, named)] = unnamed
    further = _further_names(named)
    return {
        model_id: replace(unnamed.model, id=model_id, names=further.get(model_id, ()))
        for model_id, unnamed in named.items()
    }


class Names:
    """Finds a model by any of its names."""

    def __init__(self, models: Mapping[str, LocalModel]) -> None:
        self._models = models
        self._ids: dict[str, str] = {}
        for name, model_id in _all_names(models.values()):
            self._ids.setdefault(name, model_id)
        for name, model_id in _all_names(models.values()):
            self._ids.setdefault(name.casefold(), model_id)

    def find(self, name: str) -> LocalModel | None:
        """Return the model of this id or further name; the hub's host in front, and upper case, do not matter."""
        if (found := self._models.get(name)) is not None:
            return found
        for hub in _HUBS:
            name = name.removeprefix(hub)
        model_id = self._ids.get(name) or self._ids.get(name.casefold(), "")
        return self._models.get(model_id)


def _all_names(models: Iterable[LocalModel]) -> Iterable[tuple[str, str]]:
    """Return names with their models' ids: all ids first, because they count most."""
    listed = list(models)
    for model in listed:
        yield model.id, model.id
    for model in listed:
        for name in model.names:
            yield name, model.id


def _free_id(unnamed: Unnamed, named: Mapping[str, Unnamed]) -> str:
    """Return an id that no model has yet: of the repository, the file or the folder, or with the store added."""
    stem = _clean(unnamed.file_stem) or "model"
    folder = _clean(unnamed.folder)
    is_gguf = unnamed.model.format == "gguf"
    quantization = unnamed.model.quantization if is_gguf else ""
    if unnamed.repo:
        repo = _clean(unnamed.repo)
        first = f"{repo}:{quantization}" if quantization else repo
        second = (
            f"{repo}:{stem}" if is_gguf and first in named and named[first].place == unnamed.place else ""
        )
    elif unnamed.stem.lower() in _GENERIC and folder:
        first = f"{folder}:{quantization}" if quantization and _lacks(folder, quantization) else folder
        second = f"{folder}/{stem}"
    else:
        first = stem
        second = f"{folder}/{stem}" if folder else ""
    if first not in named:
        return first
    if second and second not in named:
        return second
    place = _clean(unnamed.place)
    numbered = (f"{first}@{place}-{number}" for number in count(2))
    return next(name for name in chain((f"{first}@{place}",), numbered) if name not in named)


def _lacks(folder: str, quantization: str) -> bool:
    return quantization.lower() not in folder.lower()


def _clean(text: str) -> str:
    return sanitize(text, ID_MAX)


def _further_names(named: Mapping[str, Unnamed]) -> dict[str, tuple[str, ...]]:
    """Return further names by id. The preferred quantization has the repository's; no name is given twice."""
    taken = set(named)
    further: dict[str, list[str]] = {}
    ranked = sorted(named.items(), key=lambda entry: _preference(entry[1]))
    for model_id, unnamed in ranked:
        repo = _clean(unnamed.repo)
        stem = _clean(unnamed.file_stem)
        names = [stem if unnamed.stem.lower() not in _GENERIC else "", repo, _clean(unnamed.stem)]
        for name in names:
            if name and name not in taken and not re.fullmatch(r"[\W_]*", name):
                taken.add(name)
                further.setdefault(model_id, []).append(name)
    return {model_id: tuple(names) for model_id, names in further.items()}


def _preference(unnamed: Unnamed) -> tuple[int, bool, int, int]:
    quantization = unnamed.model.quantization
    place = _PREFERRED.index(quantization) if quantization in _PREFERRED else len(_PREFERRED)
    is_namesake = unnamed.stem.casefold() == unnamed.folder.casefold()
    return (unnamed.rank, not is_namesake, place, unnamed.model.size_bytes)
