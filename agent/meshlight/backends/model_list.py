"""Reading the list of models that a server claims to have: a stranger's text, so nothing in it is believed.

The number of ids and their length are capped, what is no printable text is dropped, the order is kept,
and nothing but the ids is passed on (llama.cpp's router mode shows file paths and argv in its list).
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from meshlight.domain.decoding import decode_or_none

BODY_LIMIT = 8 << 20
"""Bytes of a list that are read at all."""
MODELS_MAX = 10_000
ID_MAX = 512
_COMMAS_MAX = 500_000
"""Beyond this many commas a body is a bomb of empty items: 8 MB of it would unfold to hundreds."""

Facts = dict[str, Any]
"""What a server says of something, any of it: nothing in it is believed."""


class Listing(Struct, frozen=True):
    """The ids a server lists, and the marks by which engines can be told apart."""

    models: tuple[str, ...]
    owners: frozenset[str] = frozenset()
    """What the items say under `owned_by`."""
    is_openai: bool = False
    """Whether it is unmistakably OpenAI's shape: `"object": "list"` of `"object": "model"`, at least one."""


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
    """Read the answer to `GET /v1/models`; None when it is no such list.

    Some servers give the bare array, and `"data": null` stands for an empty one.
    """
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


def read_tags(body: bytes) -> Listing | None:
    """Read the answer to Ollama's `GET /api/tags`; None when it is no such list."""
    found = decode_or_none(body, _tags) if body.count(b",") <= _COMMAS_MAX else None
    if found is None or found.models is UNSET:
        return None
    tags = (decode_or_none(raw, _tag) for raw in (found.models or [])[:MODELS_MAX])
    return Listing(_ids(tag.name or tag.model for tag in tags if tag is not None))


def read_items(body: bytes, key: str = "data") -> dict[str, Facts]:
    """Read all that the items of a list say, by id; empty when it is no such list.

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
        if is_id(name):
            items.setdefault(name, item)
    return items


def _ids(claimed: Iterable[str]) -> tuple[str, ...]:
    """Keep the ids that can be shown and sent, each once."""
    return tuple(dict.fromkeys(name for name in claimed if is_id(name)))


def is_id(name: str) -> bool:
    """Whether a stranger's text can be the id of a model."""
    return 0 < len(name) <= ID_MAX and name.isprintable() and not name.isspace()
