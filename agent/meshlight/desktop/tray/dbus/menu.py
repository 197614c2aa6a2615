"""The menu on the session bus by the protocol com.canonical.dbusmenu: the desktop draws it and reports clicks.

`MenuTree` (pure) numbers the lines, and a line keeps its number while it means the same. So an open menu is changed
in place, and a click that was sent just before the menu changed can't hit another line. `DBusMenu` serves the tree.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from dbus_fast import DBusError, PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusInt32, DBusSignature, DBusStr, DBusUInt32, DBusVariant
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal
from msgspec import Struct

from meshlight.desktop.tray.interface import OnAction
from meshlight.desktop.tray.menu_items import Action, Item

ROOT = 0
Value = str | int | bool
Properties = dict[str, Value]
"""Only properties that differ from the protocol's defaults (visible, enabled, standard, no toggle)."""


class MenuLine(Struct, frozen=True, kw_only=True):
    """One line of the menu, or its root."""

    properties: Properties
    children: tuple[int, ...] = ()
    action: Action | None = None


class MenuChange(Struct, frozen=True, kw_only=True):
    """The difference to the previous menu."""

    is_layout: bool
    """Whether lines were added, removed or moved."""
    updated: dict[int, Properties]
    """Changed properties of lines that stayed."""
    removed: dict[int, list[str]]
    """Properties of lines that stayed which are back at their defaults."""


class MenuTree:
    """The lines of the menu by number; the root is 0."""

    def __init__(self) -> None:
        self.revision = 1
        self.lines: Mapping[int, MenuLine] = {ROOT: MenuLine(properties=_ROOT_PROPERTIES)}
        self._numbers: dict[tuple[str, ...], int] = {(): ROOT}
        self._last = ROOT

    def replace(self, items: tuple[Item, ...]) -> MenuChange:
        """Replace the menu and return what changed; a new layout gets a new revision."""
        numbers: dict[tuple[str, ...], int] = {(): ROOT}
        for path, _ in _walk(items):
            if path in numbers:
                raise ValueError(f"two lines of the menu have the same key: {path}")
            numbers[path] = self._numbers.get(path) or self._next_number()
        lines = {
            ROOT: MenuLine(properties=_ROOT_PROPERTIES, children=_children(numbers, (), items)),
            **{
                numbers[path]: MenuLine(
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

    def _next_number(self) -> int:
        """Return a number that was never used in this process."""
        self._last += 1
        return self._last


_ROOT_PROPERTIES: Properties = {"children-display": "submenu"}


def _walk(items: tuple[Item, ...], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Item]]:
    """Yield each item with its path of keys."""
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
    properties: Properties = {
        "label": item.text.replace("_", "__")
    }  # a single _ underlines the next character
    if not item.enabled:
        properties["enabled"] = False
    if item.checked is not None:
        properties |= {"toggle-type": "checkmark", "toggle-state": int(item.checked)}
    if item.items:
        properties["children-display"] = "submenu"
    return properties


def _change(old: Mapping[int, MenuLine], new: Mapping[int, MenuLine]) -> MenuChange:
    stayed = [number for number in new if number in old]
    updated: dict[int, Properties] = {}
    removed: dict[int, list[str]] = {}
    for number in stayed:
        before, now = old[number].properties, new[number].properties
        if changed := {name: value for name, value in now.items() if before.get(name) != value}:
            updated[number] = changed
        if missing := [name for name in before if name not in now]:
            removed[number] = missing
    is_layout = old.keys() != new.keys() or any(old[n].children != new[n].children for n in stayed)
    return MenuChange(is_layout=is_layout, updated=updated, removed=removed)


PATH: Final = "/MenuBar"
VERSION: Final = 3
_CLICKED: Final = "clicked"
_SIGNATURES: Final[dict[type[Value], str]] = {str: "s", bool: "b", int: "i"}

Layout = list[Any]
"""A line with its children: `(ia{sv}av)`, as a list of number, properties, and variants of the same."""
Numbers = Annotated[list[int], DBusSignature("ai")]
Names = Annotated[list[str], DBusSignature("as")]
Events = Annotated[list[tuple[int, str, Variant, int]], DBusSignature("a(isvu)")]
Updated = list[tuple[int, dict[str, Variant]]]


class DBusMenu(ServiceInterface):
    """Serves one menu; clicks go to `on_action`."""

    def __init__(self, on_action: OnAction) -> None:
        super().__init__("com.canonical.dbusmenu")
        self._tree = MenuTree()
        self._on_action = on_action

    def replace(self, items: tuple[Item, ...]) -> None:
        """Replace the menu, and notify the desktop of what changed, if anything."""
        change = self._tree.replace(items)
        if change.updated or change.removed:
            self._items_updated(
                [[number, _variants(values)] for number, values in change.updated.items()],
                [[number, names] for number, names in change.removed.items()],
            )
        if change.is_layout:
            self._layout_updated()

    @dbus_method(name="GetLayout")
    def get_layout(
        self, parent: DBusInt32, depth: DBusInt32, names: Names
    ) -> Annotated[tuple[int, Layout], DBusSignature("u(ia{sv}av)")]:
        """Return a line with the lines below it, `depth` levels deep (-1: all)."""
        return self._tree.revision, self._layout(parent, depth, names)

    @dbus_method(name="GetGroupProperties")
    def get_group_properties(
        self, numbers: Numbers, names: Names
    ) -> Annotated[list[Layout], DBusSignature("a(ia{sv})")]:
        """Return the properties of these lines, or of all lines if none is given."""
        lines = self._tree.lines
        requested = numbers or list(lines)
        return [[n, _variants(lines[n].properties, names)] for n in requested if n in lines]

    @dbus_method(name="GetProperty")
    def get_property(self, number: DBusInt32, name: DBusStr) -> DBusVariant:
        """Return one property of one line."""
        values = _variants(self._line(number).properties)
        if name not in values:
            raise _invalid_arguments(f"line {number} has no property {name}")
        return values[name]

    @dbus_method(name="Event")
    def event(self, number: DBusInt32, event_type: DBusStr, _data: DBusVariant, _at: DBusUInt32) -> None:
        """Handle a click; events for hovering, opening and closing are ignored."""
        line = self._line(number)
        if event_type == _CLICKED and line.action is not None:
            self._on_action(line.action)

    @dbus_method(name="EventGroup")
    def event_group(self, events: Events) -> Numbers:
        """Handle several events; return the numbers that don't exist."""
        unknown = []
        for number, event_type, *_ in events:
            line = self._tree.lines.get(number)
            if line is None:
                unknown.append(number)
            elif event_type == _CLICKED and line.action is not None:
                self._on_action(line.action)
        return unknown

    @dbus_method(name="AboutToShow")
    def about_to_show(self, _number: DBusInt32) -> DBusBool:
        """Return False: the desktop's menu needs no update, as every change was sent at once."""
        return False

    @dbus_method(name="AboutToShowGroup")
    def about_to_show_group(
        self, numbers: Numbers
    ) -> Annotated[tuple[list[int], list[int]], DBusSignature("aiai")]:
        """Do the same for several lines; return those to update (none) and those that don't exist."""
        return [], [number for number in numbers if number not in self._tree.lines]

    @dbus_property(access=PropertyAccess.READ, name="Version")
    def version(self) -> DBusUInt32:
        """Return the version of the protocol."""
        return VERSION

    @dbus_property(access=PropertyAccess.READ, name="TextDirection")
    def text_direction(self) -> DBusStr:
        """Return the direction of our texts."""
        return "ltr"

    @dbus_property(access=PropertyAccess.READ, name="Status")
    def status(self) -> DBusStr:
        """Return `normal`; the other value, `notice`, asks the desktop to open the menu by itself."""
        return "normal"

    @dbus_property(access=PropertyAccess.READ, name="IconThemePath")
    def icon_theme_path(self) -> Names:
        """Return no folder: the menu has no images."""
        return []

    @dbus_signal(name="ItemsPropertiesUpdated")
    def _items_updated(
        self, updated: list[Layout], removed: list[Layout]
    ) -> Annotated[tuple[list[Layout], list[Layout]], DBusSignature("a(ia{sv})a(ias)")]:
        return updated, removed

    @dbus_signal(name="LayoutUpdated")
    def _layout_updated(self) -> Annotated[tuple[int, int], DBusSignature("ui")]:
        return self._tree.revision, 0

    def _layout(self, number: int, depth: int, names: list[str]) -> Layout:
        line = self._line(number)
        children = [self._layout(child, depth - 1, names) for child in line.children] if depth else []
        return [number, _variants(line.properties, names), [Variant("(ia{sv}av)", c) for c in children]]

    def _line(self, number: int) -> MenuLine:
        try:
            return self._tree.lines[number]
        except KeyError:
            raise _invalid_arguments(f"the menu has no line {number}") from None


def _variants(values: Properties, names: list[str] | None = None) -> dict[str, Variant]:
    return {n: Variant(_SIGNATURES[type(v)], v) for n, v in values.items() if not names or n in names}


def _invalid_arguments(message: str) -> DBusError:
    return DBusError("org.freedesktop.DBus.Error.InvalidArgs", message)
