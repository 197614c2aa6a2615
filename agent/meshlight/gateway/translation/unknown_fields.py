"""Removes unknown fields from a request, so that it does not fail because the client is newer.

Only values that the struct describes are searched. The meaning of a new field is unknown; but clients send new fields
as hints long before they depend on them, and the provider's own older servers ignore them too. A header of the answer
names the removed fields. A block of an unknown type stays, and the struct refuses it: removing it would change the
conversation.
"""

import re
from functools import cache
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

from meshlight.gateway.translation.json_repair import decode_repaired

NAMES_MAX: Final = 20
"""Names that are reported; further fields are removed without."""
_NAME_MAX: Final = 80
_SNIFFED: Final = 64
"""Bytes in which the first character after blanks is expected."""
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.\[\]-]")
_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_items: Final = msgspec.json.Decoder(list[Raw])
_encode: Final = msgspec.json.Encoder().encode


class Dropped:
    """Collects the names of removed fields, each once."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Add a name, which is untrusted text."""
        if len(self._names) < NAMES_MAX:
            self._names[_UNFIT.sub("?", name[:_NAME_MAX])] = None

    def names(self) -> tuple[str, ...]:
        """Return the names, safe for a header."""
        return tuple(self._names)


def prune(body: bytes, shape: type[Struct], dropped: Dropped) -> bytes:
    """Return a JSON body without the fields that `shape` does not have; raises what msgspec raises for bad JSON."""
    return bytes(_value(Raw(body), shape, "", dropped))


def _value(value: Raw, hint: Any, path: str, dropped: Dropped) -> Raw:
    """Return a value of the type `hint` without unknown fields; a value that decodes is returned as it is."""
    if _fits(value, hint):
        return value
    start = bytes(memoryview(value)[:_SNIFFED]).lstrip()[:1]
    choices = _choices(hint)
    if start == b"{":
        return _object(
            value,
            [one for one in choices if isinstance(one, type) and issubclass(one, Struct)],
            path,
            dropped,
        )
    if start == b"[":
        for one in choices:
            if get_origin(one) is tuple:
                items = decode_repaired(value, _items)
                return Raw(_encode([_value(item, get_args(one)[0], f"{path}[]", dropped) for item in items]))
    return value


def _object(value: Raw, shapes: list[type[Struct]], path: str, dropped: Dropped) -> Raw:
    found: dict[str, Raw] = decode_repaired(value, _fields)
    shape = next((one for one in shapes if _matches_tag(one, found)), None)
    if shape is None:
        return value
    hints, tag_field = _hints(shape), shape.__struct_config__.tag_field
    kept: dict[str, Raw] = {}
    for name, inner in found.items():
        where = f"{path}.{name}" if path else name
        if name in hints:
            kept[name] = _value(inner, hints[name], where, dropped)
        elif name == tag_field:
            kept[name] = inner
        else:
            dropped.add(where)
    return Raw(_encode(kept))


def _matches_tag(shape: type[Struct], found: dict[str, Raw]) -> bool:
    config = shape.__struct_config__
    if config.tag_field is None:
        return True
    return bytes(found.get(config.tag_field, Raw())).strip() == _encode(config.tag)


def _fits(value: Raw, hint: Any) -> bool:
    try:
        decode_repaired(value, _decoder(hint))
    except msgspec.ValidationError:
        return False
    return True


@cache
def _decoder(hint: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(hint)


@cache
def _hints(shape: type[Struct]) -> dict[str, Any]:
    """Return the types of a struct's fields, by their names in JSON."""
    hints = get_type_hints(shape)
    named = zip(shape.__struct_fields__, shape.__struct_encode_fields__, strict=True)
    return {encoded: hints[name] for name, encoded in named}


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
