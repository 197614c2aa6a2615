"""Names that look like one that does not exist: for error messages that help."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

LOOKED_AT = 2_000
"""Comparing is slow: of a long list only the first names are looked at."""
COMPARED = 20
"""Names that are compared letter by letter, which takes the square of their length: those with the most letters in
common."""
LENGTH = 100
"""Characters of a name that are looked at."""
SIMILAR = 0.6


def near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `names` that a person may have meant by `name`."""
    by_lower = {known[:LENGTH].lower(): known for known in islice(names, LOOKED_AT)}
    meant = name[:LENGTH].lower()
    letters = Counter(meant)
    alike: list[tuple[float, str]] = []
    for known in by_lower:
        length = len(meant) + len(known)
        if length and 2 * min(len(meant), len(known)) / length >= SIMILAR:
            common = 2 * sum((letters & Counter(known)).values()) / length
            if common >= SIMILAR:
                alike.append((common, known))
    alike.sort(key=lambda entry: -entry[0])
    close = get_close_matches(meant, [known for _, known in alike[:COMPARED]], n=3, cutoff=SIMILAR)
    return tuple(by_lower[match] for match in close)
