"""A request freed of the fields that nobody here knows, so that a newer client is not stopped by them.

Only what a shape describes is looked into. What a new field means can't be known; but clients send new ones as hints
long before they depend on them, and the provider's own older servers ignore them too. What is left out is named in
the answer's header. A block of a type that is not known stays: to leave it out would change what is said, so that
the shape refuses it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw, inspect

from meshlight.gateway.translation.well_formed import decode

NAMES_MAX = 20
"""Names that are told; the others are left out like them."""
_NAME_MAX = 80
_SNIFFED = 64
"""Bytes in which a value shows what it is, after its blanks."""
_UNFIT = re.compile(r"[^A-Za-z0-9_.\[\]-]")
_fields = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


class Dropped:
    """Gathers the names of what was left out, each once."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Take a name as it came from a stranger."""
        if len(self._names) < NAMES_MAX:
            self._names[_UNFIT.sub("?", name[:_NAME_MAX])] = None

    def names(self) -> tuple[str, ...]:
        """Return them, fit for a header."""
        return tuple(self._names)


def pruned(body: bytes, shape: type, dropped: Dropped) -> bytes:
    """Return a JSON body without the fields that `shape` does not have; raises msgspec.DecodeError and the like."""
    return bytes(_value(Raw(body), _described(shape), "", dropped))


@cache
def _described(shape: type) -> inspect.Type:
    return inspect.type_info(shape)


def _value(value: Raw, described: inspect.Type, place: str, dropped: Dropped) -> Raw:
    start = bytes(memoryview(value)[:_SNIFFED]).lstrip()[:1]
    if start == b"{":
        structs = [one for one in _alternatives(described) if isinstance(one, inspect.StructType)]
        return _object(value, structs, place, dropped) if structs else value
    if start == b"[":
        for one in _alternatives(described):
            if isinstance(one, inspect.VarTupleType) and _has_structs(one.item_type):
                items = [_value(item, one.item_type, f"{place}[]", dropped) for item in decode(value, _items)]
                return Raw(_encode(items))
    return value


def _object(value: Raw, structs: list[inspect.StructType], place: str, dropped: Dropped) -> Raw:
    found: dict[str, Raw] = decode(value, _fields)
    struct = next((one for one in structs if _is_meant(one, found)), None)
    if struct is None:
        return value
    known = {field.encode_name: field.type for field in struct.fields}
    kept: dict[str, Any] = {}
    for name, inner in found.items():
        where = f"{place}.{name}" if place else name
        if name in known:
            kept[name] = _value(inner, known[name], where, dropped)
        elif name == struct.tag_field:
            kept[name] = inner
        else:
            dropped.add(where)
    return Raw(_encode(kept))


def _is_meant(struct: inspect.StructType, found: dict[str, Raw]) -> bool:
    if struct.tag_field is None:
        return True
    return bytes(found.get(struct.tag_field, Raw())).strip() == _encode(struct.tag)


def _alternatives(described: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(described, inspect.UnionType):
        yield from described.types
    else:
        yield described


def _has_structs(described: inspect.Type) -> bool:
    return any(isinstance(one, inspect.StructType) for one in _alternatives(described))
