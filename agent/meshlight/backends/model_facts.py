"""What a stranger says of itself, made fit to be shown: of the right type, in bounds, short, printable."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from meshlight.backends.listing import Facts
from meshlight.backends.quote import clean

WORD_MAX = 40
TOKENS_MAX = 1_000_000_000
"""A context beyond this is a mistake or a joke."""
COUNT_MAX = 10**15
"""The same for parameters, bytes and whatever else is counted."""

_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_MIXES = {"small": "_S", "medium": "_M", "large": "_L"}
_FTYPE = re.compile(r"(?:\(guessed\) )?(?:all )?(\S+)(?: - (.+))?")
_any: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def read_facts(body: bytes | None) -> Facts:
    """Read a JSON object; empty when it is none."""
    try:
        found = _any.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_objects(body: bytes | None) -> list[Facts]:
    """Read a JSON array of objects; empty when it is none."""
    try:
        found = _any.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def facts(found: Facts, *path: str) -> Facts:
    """Return the object at a path inside another; empty when there is none."""
    for step in path:
        inner = found.get(step)
        if not isinstance(inner, dict):
            return {}
        found = inner
    return found


def number(value: object, most: int = COUNT_MAX) -> int | None:
    """Return a whole number from 1 to `most`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= most else None


def tokens(value: object) -> int | None:
    """Return how many tokens a context holds; None when that can't be."""
    return number(value, TOKENS_MAX)


def word(value: object) -> str:
    """Return a short text fit to be shown; empty when there is none."""
    return clean(value, WORD_MAX) if isinstance(value, str) else ""


def words(value: object) -> tuple[str, ...]:
    """Return the short texts of a list."""
    return tuple(word(item) for item in value[:WORD_MAX]) if isinstance(value, list) else ()


def translated(said: Iterable[str], meaning: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return what a server's words mean in ours, each once; words without a meaning are left out."""
    return tuple(dict.fromkeys(ours for theirs in said for ours in meaning.get(theirs, ())))


def parameters_said(count: int | None) -> str:
    """Return a number of parameters as people say it: `3.2B`, `689K`."""
    for size, unit in _UNITS:
        if count is not None and count >= size:
            value = count / size
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + unit
    return "" if count is None else str(count)


def bytes_said(count: int) -> str:
    """Return a number of bytes as people say it: `2.0 GB`."""
    for size, unit in _SIZES:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def quantization_said(ftype: str) -> str:
    """Return llama.cpp's long name of a file type as files are called: `Q4_K - Medium` is `Q4_K_M`."""
    found = _FTYPE.fullmatch(ftype)
    if found is None:
        return ftype
    name, more = found[1], (found[2] or "").lower()
    if more and more not in _MIXES and "bpw" not in more:
        return ftype
    return name + _MIXES.get(more, "")
