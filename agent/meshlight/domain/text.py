"""Making words fit to print: names come from strangers and may hold anything, at any length.

Names that look like one that does not exist: for error messages that help.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, screen
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC and its kin
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI as a single C1 character
    r"|\x1b[ -/]*[0-~]?"  # any other escape
)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_MARKS = frozenset({"Mn", "Me"})
_MARKS_KEPT = 2
ELLIPSIS = "…"
DASH = "-"


def sanitize(said: str) -> str:
    """Return `said` on one line, without terminal escapes, control, bidi or invisible characters.

    At most two combining marks stay on one letter, so that a name can't climb over its neighbours.
    """
    kept: list[str] = []
    marks = 0
    for letter in _ESCAPES.sub("", said):
        category = unicodedata.category(letter)
        if category[0] == "Z" or letter in "\t\n\r\v\f":
            kept.append(" ")
            marks = 0
        elif category in _MARKS:
            marks += 1
            if marks <= _MARKS_KEPT:
                kept.append(letter)
        elif category not in _UNSEEN:
            kept.append(letter)
            marks = 0
    return " ".join("".join(kept).split())


QUOTE_MAX = 200


def sanitize_line(text: str, limit: int = QUOTE_MAX) -> str:
    """Make a stranger's text fit to be shown: one line, no control characters, at most `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def width(said: str) -> int:
    """Return how many terminal cells clean text takes."""
    return sum(_cells(letter) for letter in said)


def shorten(said: str, cells: int) -> str:
    """Return clean text in at most `cells` cells; long names lose their middle: they differ at the ends."""
    if width(said) <= cells:
        return said
    if cells <= 1:
        return ELLIPSIS[:cells]
    tail = (cells - 1) // 2
    return _head(said, cells - 1 - tail) + ELLIPSIS + _head(said[::-1], tail)[::-1]


def cut(said: str, cells: int) -> str:
    """Return clean text in at most `cells` cells; what is too long loses its end, as sentences may."""
    return said if width(said) <= cells else _head(said, cells - 1).rstrip() + ELLIPSIS


def wrap(said: str, cells: int) -> list[str]:
    """Return clean text as lines of at most `cells` cells; a word longer than a line is broken."""
    lines = [""]
    for whole in said.split():
        word = whole
        room = cells - width(lines[-1]) - bool(lines[-1])
        if width(word) > room and lines[-1]:
            lines.append("")
        while width(word) > cells:
            lines[-1] = _head(word, cells) or word[0]
            word = word[len(lines[-1]) :]
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def duration(seconds: float) -> str:
    """Return a length of time in at most two units: `8 s`, `3 min`, `2 h 14 min`, `5 d 3 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def milliseconds(value: float | None) -> str:
    """Return a latency with the digits that matter: `0.8 ms`, `12 ms`, `1.4 s`; a dash when there is none."""
    if value is None:
        return DASH
    if value < 10:
        return f"{value:.1f} ms"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 model`, `2 models`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _cells(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in _MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1


def _head(said: str, cells: int) -> str:
    """Return the longest start of `said` that takes at most `cells` cells."""
    taken = 0
    for place, letter in enumerate(said):
        taken += _cells(letter)
        if taken > cells:
            return said[:place]
    return said


COMPARED_MAX = 2_000
"""Comparing is slow: of a long list only the first names are looked at."""
COMPARED = 20
"""Names that are compared letter by letter, which takes the square of their length: those with the most letters in
common."""
LENGTH = 100
"""Characters of a name that are looked at."""
SIMILAR = 0.6


def similar_names(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `names` that a person may have meant by `name`."""
    by_lower = {known[:LENGTH].lower(): known for known in islice(names, COMPARED_MAX)}
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
