"""Text for people: untrusted text made safe to show, cut to a width, and numbers with their units.

Names and messages come from other machines and may hold anything, at any length: whatever reaches a terminal, a menu,
a log or an error message goes through `sanitize` first.
"""

import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

ELLIPSIS = "…"
DASH = "-"
QUOTE_MAX = 200
"""Characters of another program's text that are quoted in a sentence of ours."""
_ESCAPE_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, screen
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x9b[0-?]*[ -/]*[@-~]?"  # CSI as a single C1 character
    r"|\x1b[ -/]*[0-~]?"  # any other escape
)
"""ECMA-48. A sequence that was cut off counts to the end of the text."""
_OPEN_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*|\x9b[0-?]*[ -/]*|\x1b[ -/]*"
)
"""The whole of a sequence that is cut off."""
_OPEN_MAX = 4_096
"""Characters of such a sequence that are held back at most."""
_LINE_BREAKS = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Control, format (bidi, zero-width), surrogate, private-use and unassigned characters."""
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Fillers of Hangul and the empty Braille pattern: letters and symbols by category, and yet nothing to see."""
_NEWLY_WIDE = re.compile(
    "[\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d356\U0001d360-\U0001d376]"
)
"""Hexagrams, counting rods and the like: wide since Unicode 16, which Python's tables may not know yet."""
_MARKS = frozenset({"Mn", "Me"})
_MARKS_MAX = 2
_RAW_FACTOR = 4
"""How many raw characters are read for each one that may stay, so that a huge text costs little."""


def sanitize(text: str, limit: int | None = None, *, keep_newlines: bool = False) -> str:
    """Return untrusted text as one line that is safe to show, of at most `limit` characters.

    Removes whole escape sequences (ANSI colours, terminal titles, links) and control, bidi and invisible characters.
    Runs of white space become one space. At most two combining marks stay on one letter, so that a name can't climb
    over its neighbours. A text that is cut ends in an ellipsis. With `keep_newlines` each line is cleaned for itself,
    and empty lines are removed.
    """
    if limit is not None:
        text = text[: _RAW_FACTOR * limit]
    text = _ESCAPE_SEQUENCES.sub("", text)
    lines = _LINE_BREAKS.split(text) if keep_newlines else [text]
    text = "\n".join(filter(None, map(_one_line, lines)))
    if limit is None or len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + ELLIPSIS


def sanitize_line(text: str, limit: int = QUOTE_MAX) -> str:
    """Return untrusted text as `sanitize` does, short enough to be quoted in a sentence."""
    return sanitize(text, limit)


def _one_line(text: str) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept: list[str] = []
    marks = 0
    for letter in text:
        category = unicodedata.category(letter)
        if category[0] == "Z" or letter in "\t\n\r\v\f\x85" or letter in _BLANK_LETTERS:
            kept.append(" ")
            marks = 0
        elif category in _MARKS:
            marks += 1
            if marks <= _MARKS_MAX:
                kept.append(letter)
        elif category not in _INVISIBLE:
            kept.append(letter)
            marks = 0
    return " ".join("".join(kept).split())


class StreamSanitizer:
    """Makes untrusted text safe for a terminal as it comes, piece by piece; its lines and spaces stay as they are.

    A sequence that is cut in two is removed like any other: what may be its beginning is held back.
    """

    def __init__(self) -> None:
        self._held = ""
        self._marks = 0

    def feed(self, piece: str) -> str:
        """Return what of the text until now is safe to show and was not returned yet."""
        text = self._held + piece
        self._held = ""
        last = next(iter(deque(_ESCAPE_SEQUENCES.finditer(text), maxlen=1)), None)
        if last is not None and last.end() == len(text) and _OPEN_SEQUENCE.fullmatch(last[0]):
            self._held = last[0]
            text = text[: last.start()]
            if len(self._held) > _OPEN_MAX:
                # Its introducer goes on standing for all of it.
                self._held = self._held[:2]
        text = _ESCAPE_SEQUENCES.sub("", text)
        if text.isascii() and text.isprintable():
            if text:
                self._marks = 0
            return text
        return "".join(filter(self._is_safe, text.replace("\u2028", "\n").replace("\u2029", "\n")))

    def _is_safe(self, letter: str) -> bool:
        category = unicodedata.category(letter)
        self._marks = self._marks + 1 if category in _MARKS else 0
        return letter in "\n\t" or (category not in _INVISIBLE and self._marks <= _MARKS_MAX)


def width(text: str) -> int:
    """Return the number of terminal cells of clean text."""
    return sum(_cells(letter) for letter in text)


def write_error(error: OSError) -> str:
    """Return as a sentence what could not be written, and why."""
    what = error.filename2 or error.filename
    named = f"{sanitize(str(what))} can't" if what else "A file can't"
    return f"{named} be written: {error.strerror or type(error).__name__}."


def shorten(text: str, cells: int) -> str:
    """Return clean text in at most `cells` cells; long names lose their middle, because they differ at the ends."""
    if width(text) <= cells:
        return text
    if cells <= 1:
        return ELLIPSIS[:cells]
    tail = (cells - 1) // 2
    return _head(text, cells - 1 - tail) + ELLIPSIS + _head(text[::-1], tail)[::-1]


def cut(text: str, cells: int) -> str:
    """Return clean text in at most `cells` cells; a longer one loses its end."""
    return text if width(text) <= cells else _head(text, cells - 1).rstrip() + ELLIPSIS


def wrap(text: str, cells: int) -> list[str]:
    """Return clean text as lines of at most `cells` cells; a word longer than a line is broken."""
    lines = [""]
    for full_word in text.split():
        word = full_word
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
    total = int(seconds)
    if total < 60:
        return f"{total} s"
    minutes, hours = total // 60, total // 3600
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


_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def size_text(size_bytes: int) -> str:
    """Return a size in decimal units with the digits that matter: `98 MB`, `6.2 GB`, `14 GB`."""
    for unit_bytes, unit in _SIZES:
        if size_bytes >= unit_bytes:
            value = size_bytes / unit_bytes
            return f"{value:.1f} {unit}" if unit in {"GB", "TB"} and value < 9.95 else f"{value:.0f} {unit}"
    return f"{size_bytes} B"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 model`, `2 models`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _cells(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in _MARKS:
        return 0
    is_wide = unicodedata.east_asian_width(letter) in {"W", "F"} or bool(_NEWLY_WIDE.match(letter))
    return 2 if is_wide else 1


def _head(text: str, cells: int) -> str:
    """Return the longest start of `text` that takes at most `cells` cells."""
    used = 0
    for index, letter in enumerate(text):
        used += _cells(letter)
        if used > cells:
            return text[:index]
    return text


COMPARED_MAX = 2_000
"""Names of a long list that are compared at all, because comparing is slow."""
COMPARED = 20
"""Names, those with the most letters in common, that are compared letter by letter, in quadratic time."""
LENGTH = 100
"""Characters of a name that are compared."""
SIMILAR = 0.6
SUGGESTED = 3
PART_MIN = 3
"""Characters with which a name's part stands for it: fewer are in too many names."""


def similar_names(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `names` that are similar to `name` or hold it, to suggest them in an error message."""
    from difflib import get_close_matches  # noqa: PLC0415 - for an error message alone

    by_lower = {candidate[:LENGTH].lower(): candidate for candidate in islice(names, COMPARED_MAX)}
    target = name[:LENGTH].lower()
    letters = Counter(target)
    similar: list[tuple[float, str]] = []
    for candidate in by_lower:
        length = len(target) + len(candidate)
        if length and 2 * min(len(target), len(candidate)) / length >= SIMILAR:
            common = 2 * sum((letters & Counter(candidate)).values()) / length
            if common >= SIMILAR:
                similar.append((common, candidate))
    similar.sort(key=lambda entry: -entry[0])
    close = get_close_matches(
        target, [candidate for _, candidate in similar[:COMPARED]], n=SUGGESTED, cutoff=SIMILAR
    )
    if len(target) >= PART_MIN:
        close += [other for other in by_lower if target in other and other not in close]
    return tuple(by_lower[match] for match in close[:SUGGESTED])
