"""Edits of a TOML text that keep everything else as the user wrote it: comments, order, blank lines.

An edit inserts or removes whole lines, or lets tomlkit change the one statement in question. (Given a whole document,
tomlkit moves comments and tables that are not where it would have put them.) Texts have Unix line ends; each edit
takes a text and returns the new one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import Array, InlineTable

from meshlight.storage.config.toml_layout import KeyPath, Layout, Statement, layout

Change = Callable[[Any], None]
"""A change of one parsed statement; tomlkit's containers share no type that can be indexed."""


def rewritten(statement: str, change: Change) -> str:
    """Return the changed statement; its comment and its spaces stay."""
    document = tomlkit.parse(statement)
    change(document)
    return tomlkit.dumps(document)


def is_inline(statement: str, path: KeyPath) -> bool:
    """Whether `path` leads through a `{…}` or a `[…]`, and not only through dotted keys."""
    item: Any = tomlkit.parse(statement)
    for step in path:
        item = item[step]
        if isinstance(item, InlineTable | Array):
            return True
    return False


def assignment(path: KeyPath, value: object) -> Change:
    """Return the change that sets the value at `path`; a list keeps its comments."""

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
    """Change a list as little as possible, so that its comments stay on their lines."""
    for removed in [each for each in array.unwrap() if each not in wanted]:
        array.remove(removed)
    for new in wanted[len(array) :]:
        array.append(new)
    if array.unwrap() != wanted:
        array.clear()
        array.extend(wanted)


def deletion(path: KeyPath) -> Change:
    """Return the change that deletes what is at `path`."""

    def delete(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return delete


def insertion(path: KeyPath, index: int, values: Mapping[str, object]) -> Change:
    """Return the change that inserts a `{…}` into the list at `path`."""

    def insert(document: Any) -> None:
        for step in path:
            document = document[step]
        document.insert(min(index, len(document)), _inline(values))

    return insert


def _inline(value: object) -> Any:
    """Return a table as `{…}` and a list of tables as `[{…}, {…}]`; tomlkit writes every other value."""
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
    """Return the line `key = value` for a new key."""
    return f"{'.'.join(key_for(step) for step in path)} = {tomlkit.item(value).as_string()}"


def key_for(step: str | int) -> str:
    """Return one key, in quotes where TOML needs them."""
    return tomlkit.key(str(step)).as_string()


def set_value(text: str, key_path: KeyPath, value: object) -> str:
    """Set one key; missing tables on the way are added."""
    parsed = layout(text)
    for statement in parsed.statements:
        path = _inside(statement, key_path)
        depth = _depth(statement.data, path)
        if depth and (depth == len(path) or _is_inline(parsed, statement, path[:depth])):
            for step in reversed(path[depth + 1 :]):
                value = {step: value}
            return _rewrite(parsed, statement, assignment(path[: depth + 1], value))
    return _insert_value(parsed, key_path, value)


def remove_value(text: str, key_path: KeyPath) -> str:
    """Remove one key, if it is there."""
    parsed = layout(text)
    for statement in parsed.statements:
        path = _inside(statement, key_path)
        if path and _depth(statement.data, path) == len(path):
            if _is_alone(statement.data, path) and not _is_inline(parsed, statement, path[:-1]):
                return _join(parsed, statement.first, statement.end)
            return _rewrite(parsed, statement, deletion(path))
    return text


def insert_entry(text: str, table: KeyPath, index: int, values: Mapping[str, object]) -> str:
    """Insert an entry into a list of tables, before the one at `index` or after the last."""
    parsed = layout(text)
    inline = _inline_list(parsed, table)
    if inline and (path := _inside(inline, table)) and _depth(inline.data, (*path, 0)) > len(path):
        return _rewrite(parsed, inline, insertion(path, index, values))
    if _is_in_braces(parsed, table):
        return set_value(text, table, [values])
    text = remove_value(text, table)  # an empty list: the new entry becomes a table of its own
    heading = ".".join(key_for(step) for step in table)
    lines = [f"[[{heading}]]", *(line_for([key], value) for key, value in values.items())]
    return insert_lines(text, table, index, lines)


def insert_lines(text: str, table: KeyPath, index: int, lines: Sequence[str]) -> str:
    """Insert the lines of an entry before the entry at `index` of a list of tables, or after the last."""
    parsed = layout(text)
    for statement in parsed.statements:
        if statement.heading == "entry" and statement.section == (*table, index):
            at = _above(parsed, statement)
            return _join(parsed, at, at, [*lines, ""])
    return _open_table(parsed, table, lines)


def remove_entry(text: str, table: KeyPath, index: int) -> tuple[str, list[str]]:
    """Remove an entry from a list of tables; return the new text and the removed lines, to insert them elsewhere.

    The comments right above its heading and right below its last key belong to it.
    """
    parsed = layout(text)
    if inline := _inline_list(parsed, table):
        return _rewrite(parsed, inline, deletion((*_inside(inline, table), index))), []
    entry = (*table, index)
    heading = next(s for s in parsed.statements if s.heading == "entry" and s.section == entry)
    first, end = _above(parsed, heading), _below(parsed, _last(parsed, entry))
    removed = list(parsed.lines[first:end])
    is_last = end >= len(parsed.lines) - 1
    if first == 0 or not parsed.lines[first - 1].strip():  # leave one of the two blank lines around it
        first -= is_last and first > 0
        end += not is_last and not parsed.lines[end].strip()
    return _join(parsed, first, end), removed


# --- finding statements


def _inside(statement: Statement, key_path: KeyPath) -> KeyPath:
    """Return `key_path` relative to the statement's table; empty if it can't be there."""
    size = len(statement.section)
    if statement.heading == "none" and key_path[:size] == statement.section:
        return key_path[size:]
    return ()


def _depth(data: object, path: KeyPath) -> int:
    """Return how many steps of `path` exist in `data`."""
    for steps, step in enumerate(path):
        keys = data if isinstance(data, Mapping) else range(len(data)) if isinstance(data, list) else ()
        if step not in keys:
            return steps
        data = data[step]  # type: ignore[index]  # it is the table or the list that has this step
    return len(path)


def _is_alone(data: object, path: KeyPath) -> bool:
    """Whether the value at `path` is the only one that is set."""
    for step in path:
        if not isinstance(data, Mapping) or len(data) != 1:
            return False
        data = data[step]
    return True


def _is_inline(parsed: Layout, statement: Statement, path: KeyPath) -> bool:
    return is_inline(_text(parsed, statement), path)


def _is_in_braces(parsed: Layout, key_path: KeyPath) -> bool:
    """Whether the table around `key_path` is written as `{…}`, so that it can't have a heading."""
    for statement in parsed.statements:
        path = _inside(statement, key_path)
        depth = min(_depth(statement.data, path), len(path) - 1)
        if depth > 0 and _is_inline(parsed, statement, path[:depth]):
            return True
    return False


def _inline_list(parsed: Layout, table: KeyPath) -> Statement | None:
    """Return the statement that writes a list of tables as `key = [{…}]`."""
    for statement in parsed.statements:
        path = _inside(statement, table)
        if path and _depth(statement.data, path) == len(path):
            return statement
    return None


def _last(parsed: Layout, prefix: KeyPath) -> Statement:
    """Return the last statement in the run that begins with the table `prefix`, tables inside it included."""
    run: list[Statement] = []
    for statement in parsed.statements:
        if statement.section[: len(prefix)] == prefix:
            run.append(statement)
        elif run:
            break
    return run[-1]


def _above(parsed: Layout, heading: Statement) -> int:
    """Return the first of the comment lines right above a heading; not a comment that opens the file."""
    first = heading.first
    while first and parsed.lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first or heading.first


def _below(parsed: Layout, statement: Statement) -> int:
    """Return the line after the comments right below a statement; those that touch the next heading belong to it."""
    end = statement.end
    while end < len(parsed.lines) and parsed.lines[end].lstrip().startswith("#"):
        end += 1
    return end if end == len(parsed.lines) or not parsed.lines[end].strip() else statement.end


# --- changing lines


def _insert_value(parsed: Layout, key_path: KeyPath, value: object) -> str:
    """Add a key: to its table, next to other dotted keys of that table, or in a new table."""
    *table, name = key_path
    section = tuple(table)
    own = [s for s in parsed.statements if s.section == section]
    if own:
        last = own[-1]
        sample = parsed.lines[last.first]
        indent = sample[: len(sample) - len(sample.lstrip())]
        return _join(parsed, last.end, last.end, [indent + line_for([name], value)])
    for statement in reversed(parsed.statements):
        path = _inside(statement, key_path)
        if _depth(statement.data, path) >= 1 and not _is_inline(parsed, statement, path[:1]):
            return _join(parsed, statement.end, statement.end, [line_for(path, value)])
    if not section:
        return _open_root(parsed, line_for([name], value))
    heading = ".".join(key_for(step) for step in section)
    return _open_table(parsed, section, [f"[{heading}]", line_for([name], value)])


def _open_root(parsed: Layout, line: str) -> str:
    """Add the first key outside any table: below the opening comment, above the first heading."""
    if not parsed.statements:
        return _append(parsed, [line])
    at = _above(parsed, parsed.statements[0])
    return _join(parsed, at, at, [line, ""])


def _open_table(parsed: Layout, table: KeyPath, lines: Sequence[str]) -> str:
    """Add a table after the last one with the longest common prefix, or else at the end."""
    for size in range(len(table), 0, -1):
        if any(s.heading != "none" and s.section[:size] == table[:size] for s in parsed.statements):
            related = [s for s in parsed.statements if s.section[:size] == table[:size]][-1]
            at = _below(parsed, related)
            after = [""] if at < len(parsed.lines) and parsed.lines[at].strip() else []
            return _join(parsed, at, at, ["", *lines, *after])
    return _append(parsed, lines)


def _append(parsed: Layout, lines: Sequence[str]) -> str:
    text = "\n".join(parsed.lines).rstrip("\n")
    return "\n".join([*([text, ""] if text else []), *lines, ""])


def _rewrite(parsed: Layout, statement: Statement, change: Change) -> str:
    lines = rewritten(_text(parsed, statement), change).split("\n")
    return _join(parsed, statement.first, statement.end, lines)


def _text(parsed: Layout, statement: Statement) -> str:
    return "\n".join(parsed.lines[statement.first : statement.end])


def _join(parsed: Layout, first: int, end: int, lines: Sequence[str] = ()) -> str:
    return "\n".join([*parsed.lines[:first], *lines, *parsed.lines[end:]])
