"""The statements of a TOML text, each of which is valid alone, with the lines on which they are.

They are found by giving a TOML parser one more line at a time until it accepts: no grammar of our own, and a line
number for every key. Texts have Unix line ends.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

KeyPath = tuple[str | int, ...]
"""The keys and indexes that lead to a value: `("backends", 1, "ring")`."""
Heading = Literal["none", "table", "entry"]

_TRIES_MAX = 1000
"""Attempts to parse one statement before it counts as unfinished."""
_CLOSERS = ("]", "}", '"""', "'''")


class Statement(Struct, frozen=True):
    """One statement: a `[table]` or `[[entry]]` heading, or a key with its value."""

    first: int
    """Its first line, counted from 0."""
    end: int
    """The line after its last."""
    section: KeyPath
    """The table that it opens, or that contains its key."""
    heading: Heading
    data: Mapping[str, object]
    """The key with its value; empty for a heading."""


class Layout(Struct, frozen=True):
    """The lines of a text and the statements on them."""

    lines: Sequence[str]
    statements: Sequence[Statement]
    unfinished: int | None
    """The first line of a statement without an end, if there is one."""

    def line_of(self, key_path: KeyPath) -> int | None:
        """Return the line (from 1) where `key_path` is set, or the nearest table around it."""
        first: dict[KeyPath, int] = {}
        for statement in self.statements:
            for found in _key_paths(statement):
                first.setdefault(found, statement.first + 1)
        for length in range(len(key_path), 0, -1):
            if key_path[:length] in first:
                return first[key_path[:length]]
        return None


def layout(text: str) -> Layout:
    """Split `text` into statements; of a broken text, those before the error."""
    lines = text.split("\n")
    statements: list[Statement] = []
    section: KeyPath = ()
    entries: dict[KeyPath, int] = {}
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
        if tries > _TRIES_MAX:
            return None
        try:
            return end, tomllib.loads("\n".join(lines[start:end]))
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
    return None


def _heading(data: Mapping[str, object]) -> tuple[list[str], bool]:
    """Return the names of a heading, from its parsed TOML, and whether it is an `[[entry]]`."""
    names: list[str] = []
    inner: object = data
    while isinstance(inner, dict) and inner:
        [(name, inner)] = inner.items()
        names.append(name)
    return names, isinstance(inner, list)


def _resolve(names: Sequence[str], is_entry: bool, entries: dict[KeyPath, int]) -> KeyPath:
    """Turn the names of a heading into a key path: `[backends.extra]` belongs to the last `[[backends]]`."""
    key_path: KeyPath = ()
    for left, name in zip(reversed(range(len(names))), names, strict=True):
        key_path = (*key_path, name)
        if not left and is_entry:
            entries[key_path] = entries.get(key_path, 0) + 1
        if key_path in entries:
            key_path = (*key_path, entries[key_path] - 1)
    return key_path


def _key_paths(statement: Statement) -> Iterator[KeyPath]:
    """All key paths that a statement sets, outermost first."""
    for length in range(1, len(statement.section) + 1):
        yield statement.section[:length]
    yield from _inner(statement.section, statement.data)


def _inner(key_path: KeyPath, value: object) -> Iterator[KeyPath]:
    """All key paths inside a value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*key_path, key)
            yield from _inner((*key_path, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*key_path, index)
            yield from _inner((*key_path, index), inner)
