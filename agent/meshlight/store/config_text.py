"""The configuration file as text: which statement stands on which lines.

TOML is a sequence of statements, each of which is valid alone. So the text is cut by giving a TOML reader one
line more at a time until it is content: no grammar of our own, and a line number for every key. Edits replace
single statements, which leaves every other byte of a hand-written file as it was. Texts here have Unix line
ends.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

Place = tuple[str | int, ...]
"""Where a value stands: `("backends", 1, "ring")`."""
Heading = Literal["none", "table", "entry"]

_MOST_TRIES = 1000
"""How often one statement may be tried before it is given up as endless."""
_CLOSERS = ("]", "}", '"""', "'''")


class Statement(Struct, frozen=True):
    """One statement: a `[table]` or `[[entry]]` heading, or a key with its value."""

    first: int
    """Its first line, counted from 0."""
    end: int
    """The line after its last."""
    section: Place
    """The table it opens, or in which its key stands."""
    heading: Heading
    data: Mapping[str, object]
    """The key with its value; empty for a heading."""


class Layout(Struct, frozen=True):
    """The lines of a text and the statements on them."""

    lines: Sequence[str]
    statements: Sequence[Statement]
    unfinished: int | None
    """The first line of a statement that never ends, if there is one."""

    def line_of(self, place: Place) -> int | None:
        """Return the line (from 1) where `place` is set, or the nearest table around it."""
        first: dict[Place, int] = {}
        for statement in self.statements:
            for found in _places(statement):
                first.setdefault(found, statement.first + 1)
        for length in range(len(place), 0, -1):
            if place[:length] in first:
                return first[place[:length]]
        return None


def layout(text: str) -> Layout:
    """Cut `text` into statements; of a broken text, those before the break."""
    lines = text.split("\n")
    statements: list[Statement] = []
    section: Place = ()
    entries: dict[Place, int] = {}
    start = 0
    while start < len(lines):
        cut = _cut(lines, start)
        if cut is None:
            return Layout(lines, statements, start)
        end, data = cut
        if data and lines[start].lstrip().startswith("["):
            names, is_entry = _heading(data)
            section = _resolve(names, is_entry, entries)
            statements.append(Statement(start, end, section, "entry" if is_entry else "table", {}))
        elif data:
            statements.append(Statement(start, end, section, "none", data))
        start = end
    return Layout(lines, statements, None)


def _cut(lines: Sequence[str], start: int) -> tuple[int, dict[str, object]] | None:
    """Return the end and the data of the statement (or blank, or comment) that begins at line `start`."""
    tries = 0
    for end in range(start + 1, len(lines) + 1):
        if end > start + 1 and not any(closer in lines[end - 1] for closer in _CLOSERS):
            continue
        tries += 1
        if tries > _MOST_TRIES:
            return None
        try:
            return end, tomllib.loads("\n".join(lines[start:end]))
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
    return None


def _heading(data: Mapping[str, object]) -> tuple[list[str], bool]:
    """Read the names of a heading from what a TOML reader made of it alone."""
    names: list[str] = []
    inner: object = data
    while isinstance(inner, dict) and inner:
        [(name, inner)] = inner.items()
        names.append(name)
    return names, isinstance(inner, list)


def _resolve(names: Sequence[str], is_entry: bool, entries: dict[Place, int]) -> Place:
    """Turn the names of a heading into a place: `[backends.extra]` belongs to the last `[[backends]]`."""
    place: Place = ()
    for left, name in zip(reversed(range(len(names))), names, strict=True):
        place = (*place, name)
        if not left and is_entry:
            entries[place] = entries.get(place, 0) + 1
        if place in entries:
            place = (*place, entries[place] - 1)
    return place


def _places(statement: Statement) -> Iterator[Place]:
    """All places that a statement sets, outermost first."""
    for length in range(1, len(statement.section) + 1):
        yield statement.section[:length]
    yield from _inner(statement.section, statement.data)


def _inner(place: Place, value: object) -> Iterator[Place]:
    """All places inside a value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*place, key)
            yield from _inner((*place, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*place, index)
            yield from _inner((*place, index), inner)
