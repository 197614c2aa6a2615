"""What a repository's files are together: models in their quantizations, with all parts, and the projector."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from meshlight.domain.errors import Conflict, NotFound
from meshlight.domain.text import similar_names
from meshlight.local_models.catalog.file_names import (
    is_draft,
    is_projector_name,
    part_of,
    quantization_in,
    stem_of,
)

PREFERRED = "Q4_K_M"
LISTED_MAX = 30
PARTS_MAX = 500
_PROJECTOR_ORDER = ("F16", "BF16", "F32")


class HubFile(Struct, frozen=True):
    """A file of a repository."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]


class Offer(Struct, frozen=True, kw_only=True):
    """A model of a repository."""

    name: str
    """What `pull` takes: `owner/repo:QUANT`, `owner/repo:FILE` if several have one quantization."""
    quantization: str
    files: tuple[HubFile, ...]
    """The parts in their order, then the projector."""
    parts: int
    stem: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def sees_images(self) -> bool:
        """Whether a projector comes along."""
        return len(self.files) > self.parts


def quantization_of(path: str) -> str:
    """Return the quantization that a file's name or folder tells, in capital letters; empty if none does."""
    folders, _, name = path.rpartition("/")
    return quantization_in(stem_of(name)) or quantization_in(folders.rpartition("/")[2])


def offers_of(repository: str, files: Iterable[HubFile]) -> tuple[list[Offer], int]:
    """Group a repository's GGUF files; returns the models, and the number of those with a missing part."""
    models: dict[str, list[HubFile]] = {}
    projectors: list[HubFile] = []
    for file in files:
        if not file.path.lower().endswith(".gguf"):
            continue
        stem = stem_of(file.name)
        if is_projector_name(stem):
            projectors.append(file)
        elif not is_draft(stem) and "imatrix" not in stem.lower():
            models.setdefault(f"{file.path.rpartition('/')[0]}/{stem}", []).append(file)
    whole = {key: parts for key, found in models.items() if (parts := _in_order(found)) is not None}
    projector = min(projectors, key=_projector_rank, default=None)
    often = Counter(quantization_of(parts[0].path) for parts in whole.values())
    stems = Counter(stem_of(parts[0].name) for parts in whole.values())
    offers = []
    for parts in whole.values():
        quantization, stem = quantization_of(parts[0].path), stem_of(parts[0].name)
        if len(whole) == 1 and not quantization:
            name = repository
        elif quantization and often[quantization] == 1:
            name = f"{repository}:{quantization}"
        elif stems[stem] == 1:
            name = f"{repository}:{stem}"
        else:
            continue  # two files of one name and quantization: nobody could say which
        offers.append(
            Offer(
                name=name,
                quantization=quantization,
                files=(*parts, *([projector] if projector else [])),
                parts=len(parts),
                stem=stem,
            )
        )
    offers.sort(key=lambda offer: (offer.size, offer.name))
    return offers, len(models) - len(whole)


def choose(repository: str, offers: Sequence[Offer], tag: str, file: str = "") -> Offer:
    """Return the model that a tag (or a file's path) names; without one the Q4_K_M, or the only one.

    Raises NotFound, and Conflict when it has to be chosen; both list the names.
    """
    if file:
        found = [offer for offer in offers if any(part.path == file for part in offer.files[: offer.parts])]
    elif tag:
        word = tag.lower()
        found = [offer for offer in offers if offer.quantization.lower() == word]
        if len(found) != 1:
            found = [offer for offer in offers if offer.stem.lower() == word] or found
    else:
        found = list(offers) if len(offers) == 1 else [o for o in offers if o.quantization == PREFERRED]
    if len(found) == 1:
        return found[0]
    names = [offer.name for offer in offers]
    listed = ", ".join(names[:LISTED_MAX]) + (" …" if len(names) > LISTED_MAX else "")
    if found or not (tag or file):
        raise Conflict(
            f"{repository} has several models: which one?", f"Choose one of {listed}.", param="name"
        )
    close = similar_names(f"{repository}:{tag}", names)
    raise NotFound(
        f"{repository} has no model {tag or file}.",
        f"Did you mean {' or '.join(close)}?" if close else f"It has {listed}.",
        param="name",
    )


def _in_order(files: Sequence[HubFile]) -> list[HubFile] | None:
    """Return the parts of a model in their order; None if one is missing."""
    numbered = {}
    for file in files:
        number, of = part_of(file.name) or (1, 1)
        numbered[number] = (file, of)
    counts = {of for _, of in numbered.values()}
    if len(counts) != 1 or not 0 < (count := counts.pop()) <= PARTS_MAX or len(numbered) != len(files):
        return None
    if set(numbered) != set(range(1, count + 1)):
        return None
    return [numbered[number][0] for number in range(1, count + 1)]


def _projector_rank(file: HubFile) -> tuple[int, int, str]:
    """Return the order of preference: F16 first, then the least precise; then by name."""
    quantization = quantization_of(file.path)
    rank = _PROJECTOR_ORDER.index(quantization) if quantization in _PROJECTOR_ORDER else len(_PROJECTOR_ORDER)
    return rank, file.size, file.path
