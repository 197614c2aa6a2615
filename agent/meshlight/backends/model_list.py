"""Reading the list of models of a server; it is untrusted.

The number and length of the ids are limited, ids that are not printable are dropped, the order is kept, and nothing
but the ids is passed on (llama.cpp's router mode has file paths and argv in its list).
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from meshlight.domain.backend import is_model_id
from meshlight.domain.decoding import decode_or_none

BODY_LIMIT = 8 << 20
"""Bytes of a list that are read at most."""
MODELS_MAX = 10_000
SMALL = 1 << 11
"""Bytes up to which a list is remembered."""
SMALL_KEPT = 512
_COMMAS_MAX = 500_000
"""A body with more commas is a bomb of empty items: 8 MB of them would decode to hundreds of MB."""

Facts = dict[str, Any]
"""A JSON object of a server, untrusted."""


class Listing(Struct, frozen=True):
    """The ids that a server lists, and what distinguishes engines."""

    models: tuple[str, ...]
    owners: frozenset[str] = frozenset()
    """The values of `owned_by`."""
    is_openai: bool = False
    """Whether it certainly has OpenAI's shape: `"object": "list"` of `"object": "model"`, at least one."""


class _List(Struct):
    data: list[Raw] | UnsetType | None = UNSET
    object: Any = None


class _Item(Struct):
    id: str
    object: Any = None
    owned_by: Any = None


class _Tags(Struct):
    models: list[Raw] | UnsetType | None = UNSET


class _Tag(Struct):
    name: str = ""
    model: str = ""


_list = msgspec.json.Decoder(_List | list[Raw])
_item = msgspec.json.Decoder(_Item)
_tags = msgspec.json.Decoder(_Tags)
_tag = msgspec.json.Decoder(_Tag)


def read_models(body: bytes) -> Listing | None:
    """Read the answer to `GET /v1/models`; None if it is no such list.

    Some servers send the bare array, and `"data": null` for an empty one. A small list is nearly always the one that
    was read at the probe before, and is not decoded again.
    """
    return _read_small(body) if len(body) <= SMALL else _read(body)


def _read(body: bytes) -> Listing | None:
    found = decode_or_none(body, _list) if body.count(b",") <= _COMMAS_MAX else None
    if found is None:
        return None
    if isinstance(found, list):
        raws, is_list = found, False
    elif found.data is UNSET:
        return None
    else:
        raws, is_list = found.data or [], found.object == "list"
    items = [item for raw in raws[:MODELS_MAX] if (item := decode_or_none(raw, _item)) is not None]
    models = _ids(item.id for item in items)
    owners = frozenset(item.owned_by for item in items if isinstance(item.owned_by, str))
    is_openai = is_list and bool(models) and all(item.object == "model" for item in items)
    return Listing(models, owners, is_openai)


_read_small = lru_cache(SMALL_KEPT)(_read)


def read_tags(body: bytes) -> Listing | None:
    """Read the answer to Ollama's `GET /api/tags`; None if it is no such list."""
    found = decode_or_none(body, _tags) if body.count(b",") <= _COMMAS_MAX else None
    if found is None or found.models is UNSET:
        return None
    tags = (decode_or_none(raw, _tag) for raw in (found.models or [])[:MODELS_MAX])
    return Listing(_ids(tag.name or tag.model for tag in tags if tag is not None))


def read_items(body: bytes, key: str = "data") -> dict[str, Facts]:
    """Read the items of a list, by id; empty if it is no such list.

    The list is under `key`, or is the whole body. An item's id is its `id`, `name` or `model`.
    """
    found = decode_or_none(body) if body.count(b",") <= _COMMAS_MAX else None
    raws = found.get(key) if isinstance(found, dict) else found
    if not isinstance(raws, list):
        return {}
    items: dict[str, Facts] = {}
    for item in raws[:MODELS_MAX]:
        names = (item.get(word) for word in ("id", "name", "model")) if isinstance(item, dict) else ()
        name = next((name for name in names if isinstance(name, str) and name), "")
        if is_model_id(name):
            items.setdefault(name, item)
    return items


def _ids(claimed: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that can be shown and sent, each once."""
    return tuple(dict.fromkeys(name for name in claimed if is_model_id(name)))
