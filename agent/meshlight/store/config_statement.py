"""What tomlkit does to one statement of the configuration, and how a new key is written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import Array, InlineTable

from meshlight.store.config_text import Place

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
