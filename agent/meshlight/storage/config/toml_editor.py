"""Edits of the configuration's text that leave all else as the user wrote it: comments, order, blank lines.

Only the statement in question is given to tomlkit, or lines are put in or taken out. (Given a whole document,
tomlkit moves comments and tables that are not where it would have put them.) Texts have Unix line ends; each
function takes a text and returns the new one.

The configuration file as text: which statement stands on which lines.

TOML is a sequence of statements, each of which is valid alone. So the text is cut by giving a TOML reader one
line more at a time until it is content: no grammar of our own, and a line number for every key. Edits replace
single statements, which leaves every other byte of a hand-written file as it was. Texts here have Unix line
ends.

What tomlkit does to one statement of the configuration, and how a new key is written.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import tomlkit
from msgspec import Struct
from tomlkit.items import Array, InlineTable

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


Change = Callable[[Any], None]
"""What is done to one statement; tomlkit's containers share no type that can be indexed."""


def rewritten(statement: str, change: Change) -> str:
    """Return the statement as it is after `change`; its comment and its spaces stay."""
    document = tomlkit.parse(statement)
    change(document)
    return tomlkit.dumps(document)


def is_inline(statement: str, path: Place) -> bool:
    """Whether the way to `path` leads through a `{…}` or a `[…]`, and not only through dotted keys."""
    item: Any = tomlkit.parse(statement)
    for step in path:
        item = item[step]
        if isinstance(item, InlineTable | Array):
            return True
    return False


def assignment(path: Place, value: object) -> Change:
    """Set the value at `path`; a list keeps the comments in it."""

    def assign(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        old = document[path[-1]] if isinstance(path[-1], int) else document.get(path[-1])
        if isinstance(old, Array) and isinstance(value, list):
            _align(old, value)
        elif isinstance(document, InlineTable) and old is None:
            document.append(str(path[-1]), _inline(value))
        else:
            document[path[-1]] = _inline(value)

    return assign


def _align(array: Array, wanted: list[object]) -> None:
    """Change a list by as little as it takes, so that the comments in it stay with their lines."""
    for gone in [each for each in array.unwrap() if each not in wanted]:
        array.remove(gone)
    for new in wanted[len(array) :]:
        array.append(new)
    if array.unwrap() != wanted:
        array.clear()
        array.extend(wanted)


def deletion(path: Place) -> Change:
    """Take away what is at `path`."""

    def delete(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return delete


def insertion(path: Place, index: int, values: Mapping[str, object]) -> Change:
    """Put a `{…}` into the list at `path`."""

    def insert(document: Any) -> None:
        for step in path:
            document = document[step]
        document.insert(min(index, len(document)), _inline(values))

    return insert


def _inline(value: object) -> Any:
    """Write a table as `{…}`, and several as `[{…}, {…}]`; every other value is left to tomlkit."""
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        array = tomlkit.array()
        array.extend(_inline(each) for each in value)
        return array
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    for key, inner in value.items():
        table[key] = _inline(inner)
    return table


def line_for(path: Sequence[str | int], value: object) -> str:
    """Write `key = value` for a key that is not there yet."""
    return f"{'.'.join(key_for(step) for step in path)} = {tomlkit.item(value).as_string()}"


def key_for(step: str | int) -> str:
    """Write one key, in quotes where it needs them."""
    return tomlkit.key(str(step)).as_string()


def set_value(text: str, place: Place, value: object) -> str:
    """Set one key; `place` may lead through tables that are not there yet."""
    page = layout(text)
    for statement in page.statements:
        path = _inside(statement, place)
        depth = _depth(statement.data, path)
        if depth and (depth == len(path) or _is_inline(page, statement, path[:depth])):
            for step in reversed(path[depth + 1 :]):
                value = {step: value}
            return _rewrite(page, statement, assignment(path[: depth + 1], value))
    return _insert_value(page, place, value)


def remove_value(text: str, place: Place) -> str:
    """Take one key away, if it is there."""
    page = layout(text)
    for statement in page.statements:
        path = _inside(statement, place)
        if path and _depth(statement.data, path) == len(path):
            if _is_alone(statement.data, path) and not _is_inline(page, statement, path[:-1]):
                return _joined(page, statement.first, statement.end)
            return _rewrite(page, statement, deletion(path))
    return text


def insert_entry(text: str, table: Place, index: int, values: Mapping[str, object]) -> str:
    """Put a new entry into a list of tables, before the one at `index` or after the last."""
    page = layout(text)
    inline = _inline_list(page, table)
    if inline and (path := _inside(inline, table)) and _depth(inline.data, (*path, 0)) > len(path):
        return _rewrite(page, inline, insertion(path, index, values))
    if _is_in_braces(page, table):
        return set_value(text, table, [values])
    text = remove_value(text, table)  # an empty list: the new entry is written as a table of its own
    heading = ".".join(key_for(step) for step in table)
    lines = [f"[[{heading}]]", *(line_for([key], value) for key, value in values.items())]
    return insert_lines(text, table, index, lines)


def insert_lines(text: str, table: Place, index: int, lines: Sequence[str]) -> str:
    """Put the lines of an entry before the entry at `index` of a list of tables, or after the last."""
    page = layout(text)
    for statement in page.statements:
        if statement.heading == "entry" and statement.section == (*table, index):
            at = _above(page, statement)
            return _joined(page, at, at, [*lines, ""])
    return _open_table(page, table, lines)


def remove_entry(text: str, table: Place, index: int) -> tuple[str, list[str]]:
    """Take an entry out of a list of tables; return the new text and the lines that went, for another place.

    The comments right above its heading and right below its last key go with it.
    """
    page = layout(text)
    if inline := _inline_list(page, table):
        return _rewrite(page, inline, deletion((*_inside(inline, table), index))), []
    entry = (*table, index)
    heading = next(s for s in page.statements if s.heading == "entry" and s.section == entry)
    first, end = _above(page, heading), _below(page, _last(page, entry))
    taken = list(page.lines[first:end])
    is_last = end >= len(page.lines) - 1
    if first == 0 or not page.lines[first - 1].strip():  # leave one of the two blank lines around it
        first -= is_last and first > 0
        end += not is_last and not page.lines[end].strip()
    return _joined(page, first, end), taken


# --- where things stand


def _inside(statement: Statement, place: Place) -> Place:
    """Return `place` as seen from the statement's table; empty if it can't be there."""
    size = len(statement.section)
    if statement.heading == "none" and place[:size] == statement.section:
        return place[size:]
    return ()


def _depth(data: object, path: Place) -> int:
    """How many steps of `path` lead to something in `data`."""
    for steps, step in enumerate(path):
        keys = data if isinstance(data, Mapping) else range(len(data)) if isinstance(data, list) else ()
        if step not in keys:
            return steps
        data = data[step]  # type: ignore[index]  # it is the table or the list that has this step
    return len(path)


def _is_alone(data: object, path: Place) -> bool:
    """Whether the value at `path` is all that is set."""
    for step in path:
        if not isinstance(data, Mapping) or len(data) != 1:
            return False
        data = data[step]
    return True


def _is_inline(page: Layout, statement: Statement, path: Place) -> bool:
    return is_inline(_text(page, statement), path)


def _is_in_braces(page: Layout, place: Place) -> bool:
    """Whether what holds `place` is written as `{…}`, so that it can't have a heading."""
    for statement in page.statements:
        path = _inside(statement, place)
        depth = min(_depth(statement.data, path), len(path) - 1)
        if depth > 0 and _is_inline(page, statement, path[:depth]):
            return True
    return False


def _inline_list(page: Layout, table: Place) -> Statement | None:
    """Return the statement that writes a list of tables as `key = [{…}]`."""
    for statement in page.statements:
        path = _inside(statement, table)
        if path and _depth(statement.data, path) == len(path):
            return statement
    return None


def _last(page: Layout, prefix: Place) -> Statement:
    """Return the last statement in the run that begins with the table `prefix`, tables inside it included."""
    run: list[Statement] = []
    for statement in page.statements:
        if statement.section[: len(prefix)] == prefix:
            run.append(statement)
        elif run:
            break
    return run[-1]


def _above(page: Layout, heading: Statement) -> int:
    """Return the first of the comment lines right above a heading; a comment that opens the file is not its."""
    first = heading.first
    while first and page.lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first or heading.first


def _below(page: Layout, statement: Statement) -> int:
    """Return the line after the comments right below a statement; those that touch the next heading are its."""
    end = statement.end
    while end < len(page.lines) and page.lines[end].lstrip().startswith("#"):
        end += 1
    return end if end == len(page.lines) or not page.lines[end].strip() else statement.end


# --- the changes themselves


def _insert_value(page: Layout, place: Place, value: object) -> str:
    """Write a key that is not there yet: into its table, beside its dotted brothers, or into a new table."""
    *table, name = place
    section = tuple(table)
    own = [s for s in page.statements if s.section == section]
    if own:
        last = own[-1]
        sample = page.lines[last.first]
        indent = sample[: len(sample) - len(sample.lstrip())]
        return _joined(page, last.end, last.end, [indent + line_for([name], value)])
    for statement in reversed(page.statements):
        path = _inside(statement, place)
        if _depth(statement.data, path) >= 1 and not _is_inline(page, statement, path[:1]):
            return _joined(page, statement.end, statement.end, [line_for(path, value)])
    if not section:
        return _open_root(page, line_for([name], value))
    heading = ".".join(key_for(step) for step in section)
    return _open_table(page, section, [f"[{heading}]", line_for([name], value)])


def _open_root(page: Layout, line: str) -> str:
    """Write the first key that stands in no table: below the opening comment, above the first heading."""
    if not page.statements:
        return _appended(page, [line])
    at = _above(page, page.statements[0])
    return _joined(page, at, at, [line, ""])


def _open_table(page: Layout, table: Place, lines: Sequence[str]) -> str:
    """Write a new table after the nearest one that is its kin, or else at the end."""
    for size in range(len(table), 0, -1):
        if any(s.heading != "none" and s.section[:size] == table[:size] for s in page.statements):
            kin = [s for s in page.statements if s.section[:size] == table[:size]][-1]
            at = _below(page, kin)
            after = [""] if at < len(page.lines) and page.lines[at].strip() else []
            return _joined(page, at, at, ["", *lines, *after])
    return _appended(page, lines)


def _appended(page: Layout, lines: Sequence[str]) -> str:
    text = "\n".join(page.lines).rstrip("\n")
    return "\n".join([*([text, ""] if text else []), *lines, ""])


def _rewrite(page: Layout, statement: Statement, change: Change) -> str:
    lines = rewritten(_text(page, statement), change).split("\n")
    return _joined(page, statement.first, statement.end, lines)


def _text(page: Layout, statement: Statement) -> str:
    return "\n".join(page.lines[statement.first : statement.end])


def _joined(page: Layout, first: int, end: int, lines: Sequence[str] = ()) -> str:
    return "\n".join([*page.lines[:first], *lines, *page.lines[end:]])
