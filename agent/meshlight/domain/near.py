"""Names that look like one that does not exist: for error messages that help."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

LOOKED_AT = 2_000
"""Comparing is slow: of a long list only the first names are looked at."""


def near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `names` that a person may have meant by `name`."""
    by_lower = {known.lower(): known for known in islice(names, LOOKED_AT)}
    close = get_close_matches(name.lower()[:200], by_lower, n=3, cutoff=0.6)
    return tuple(by_lower[match] for match in close)
