"""A menu as com.canonical.dbusmenu wants it: numbered lines that keep their numbers while they mean the same.

Thanks to that an open menu is changed in place, and a click that was on its way when the menu changed can't
hit another line. Pure.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from meshlight.desktop.item import Action, Item

ROOT = 0
Value = str | int | bool
Properties = dict[str, Value]
"""Only what differs from the protocol's own defaults (visible, enabled, standard, no toggle)."""


class Line(Struct, frozen=True, kw_only=True):
    """One line of the menu, or its root."""

    properties: Properties
    children: tuple[int, ...] = ()
    action: Action | None = None


class Change(Struct, frozen=True, kw_only=True):
    """What differs from the menu before."""

    is_layout: bool
    """Whether lines came, went or moved."""
    updated: dict[int, Properties]
    """New values of lines that stayed."""
    removed: dict[int, list[str]]
    """Properties of lines that stayed which fell back to their defaults."""


class MenuTree:
    """The lines of the menu by number, the root being 0."""

    def __init__(self) -> None:
        self.revision = 1
        self.lines: Mapping[int, Line] = {ROOT: Line(properties=_ROOT_PROPERTIES)}
        self._numbers: dict[tuple[str, ...], int] = {(): ROOT}
        self._last = ROOT

    def replace(self, items: tuple[Item, ...]) -> Change:
        """Take over another menu and say what that changes; a new layout gets a new revision."""
        numbers: dict[tuple[str, ...], int] = {(): ROOT}
        for path, _ in _walk(items):
            if path in numbers:
                raise ValueError(f"two lines of the menu have the same key: {path}")
            numbers[path] = self._numbers.get(path) or self._next()
        lines = {
            ROOT: Line(properties=_ROOT_PROPERTIES, children=_children(numbers, (), items)),
            **{
                numbers[path]: Line(
                    properties=_properties(item),
                    children=_children(numbers, path, item.items),
                    action=item.action,
                )
                for path, item in _walk(items)
            },
        }
        change = _change(self.lines, lines)
        self.lines, self._numbers = lines, numbers
        if change.is_layout:
            self.revision += 1
        return change

    def _next(self) -> int:
        """Return a number that no line of this process has had."""
        self._last += 1
        return self._last


_ROOT_PROPERTIES: Properties = {"children-display": "submenu"}


def _walk(items: tuple[Item, ...], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Item]]:
    """Yield each item with the keys that lead to it."""
    for item in items:
        path = (*above, item.key)
        yield path, item
        yield from _walk(item.items, path)


def _children(
    numbers: Mapping[tuple[str, ...], int], path: tuple[str, ...], items: tuple[Item, ...]
) -> tuple[int, ...]:
    return tuple(numbers[*path, item.key] for item in items)


def _properties(item: Item) -> Properties:
    if item.is_separator:
        return {"type": "separator"}
    said: Properties = {"label": item.text.replace("_", "__")}  # a single one would underline what follows
    if not item.enabled:
        said["enabled"] = False
    if item.checked is not None:
        said |= {"toggle-type": "checkmark", "toggle-state": int(item.checked)}
    if item.items:
        said["children-display"] = "submenu"
    return said


def _change(old: Mapping[int, Line], new: Mapping[int, Line]) -> Change:
    stayed = [number for number in new if number in old]
    updated: dict[int, Properties] = {}
    removed: dict[int, list[str]] = {}
    for number in stayed:
        before, now = old[number].properties, new[number].properties
        if changed := {name: value for name, value in now.items() if before.get(name) != value}:
            updated[number] = changed
        if gone := [name for name in before if name not in now]:
            removed[number] = gone
    is_layout = old.keys() != new.keys() or any(old[n].children != new[n].children for n in stayed)
    return Change(is_layout=is_layout, updated=updated, removed=removed)
