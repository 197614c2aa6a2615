"""Puts GGUF files together to whole models, of one file or of all their parts, or says what is wrong with them."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from meshlight.local_models.catalog.file_names import part_of, stem_of
from meshlight.local_models.catalog.header import BadFile, Facts, Header
from meshlight.local_models.catalog.walker import FoundFile, FoundFolder

PARTS_MAX = 1_000

FactsOf = Callable[[FoundFile], Facts]


class GgufModel(Struct, frozen=True):
    """A GGUF file, or all parts of one, with the header of the first; not yet clear whether it can be run alone."""

    folder: FoundFolder
    files: tuple[FoundFile, ...]
    header: Header
    stem: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


class BadGguf(Struct, frozen=True):
    """Files that are no whole model."""

    folder: FoundFolder
    files: tuple[FoundFile, ...]
    why: str


def gguf_models(
    folder: FoundFolder, files: Iterable[FoundFile], facts_of: FactsOf
) -> Iterator[GgufModel | BadGguf]:
    """Return what a folder's GGUF files are."""
    by_name = sorted(files, key=_model_key)
    for (stem, parts), group in groupby(by_name, key=lambda file: _model_key(file)[:2]):
        found = tuple(group)
        for together in (found,) if parts > 1 else tuple((file,) for file in found):
            facts = _whole(together, parts, facts_of) if parts > 1 else _single(together[0], facts_of)
            if isinstance(facts, BadFile):
                yield BadGguf(folder, together, facts.why)
            else:
                yield GgufModel(folder, together, facts, stem)


def _model_key(file: FoundFile) -> tuple[str, int, str]:
    part = part_of(file.name)
    return (stem_of(file.name), part[1] if part else 1, file.name)


def _single(file: FoundFile, facts_of: FactsOf) -> Facts:
    facts = _checked(file, facts_of)
    if isinstance(facts, Header) and facts.parts > 1:
        return BadFile(
            f"Part {facts.part + 1} of {facts.parts} under another name: give all parts their first names back."
        )
    return facts


def _whole(files: Sequence[FoundFile], parts: int, facts_of: FactsOf) -> Facts:
    if parts > PARTS_MAX:
        return BadFile(f"In {parts:,} parts, which is more than any model has.")
    numbers = [part[0] for file in files if (part := part_of(file.name))]
    missing = sorted(set(range(1, parts + 1)) - set(numbers))
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        return BadFile(f"Part {missing[0]} of {parts} is missing{more}: go on with the download.")
    if numbers != list(range(1, parts + 1)):
        return BadFile(f"Has more files than its {parts} parts: delete what is too much.")
    headers: list[Header] = []
    for number, file in enumerate(files, 1):
        facts = _checked(file, facts_of)
        if isinstance(facts, BadFile):
            return BadFile(f"Part {number} of {parts}: {facts.why}")
        headers.append(facts)
    first = headers[0]
    if any((header.part, header.parts) != (place, parts) for place, header in enumerate(headers)):
        return BadFile("Its parts do not belong together. Download it again.")
    return replace(
        first,
        parameters=sum(header.parameters for header in headers),
        tensors=sum(header.tensors for header in headers),
    )


def _checked(file: FoundFile, facts_of: FactsOf) -> Facts:
    """Return what a file's header says, if the file is as long as it has to be."""
    facts = facts_of(file)
    if isinstance(facts, BadFile):
        return facts
    if facts.is_big_endian != (sys.byteorder == "big"):
        return BadFile("Made for another kind of processor (its numbers have the other order of bytes).")
    if facts.data_end > file.size:
        return BadFile(
            f"Incomplete: {_size(file.size)} of {_size(facts.data_end)} are here. Download it again."
        )
    return facts


def _size(number: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} bytes"
