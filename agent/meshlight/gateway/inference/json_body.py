"""Reads the top level of a JSON body strictly: a field that decides something stands there once, in one spelling.

Decoders differ in what they make of a key that comes twice, or in another case: most take the last, some the first,
Go's also takes `"Model"` for `model`, and some leave out what is no letter. A body that two of them would read
differently is refused, so that whoever reads it after us sees what was judged here.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import BadRequest

KEYS_MAX = 1_000
"""Fields that a body has at most; requests have a few dozen."""
LENIENT_ITEMS = 200_000
"""Items of a body that is no strict JSON: such a body is read by slower means."""
_SMALL = 65_536
"""Bytes of a body that can't hold so many keys that their number would matter before it is counted."""

# Possessive throughout: a string of 50 MB must not leave a way back for each of its letters.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOP = re.compile(_STRING + rb"|[{}\[\]:,]", re.DOTALL)
_DEEP = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+[{}\[\]]", re.DOTALL)
"""Where nothing matters but how deep it is: strings and numbers are leapt over."""
_BEFORE_VALUE = re.compile(rb"[\s{,]*+" + _STRING + rb"\s*+:\s*+", re.DOTALL)

_DECIDING = {"model": "model", "stream": "stream", "store": "store"}
_WORDS = """
model stream store messages system input instructions prompt suffix tools tool_choice temperature top_p top_k min_p
max_tokens max_completion_tokens max_output_tokens n stop stop_sequences seed stream_options response_format format
options keep_alive user metadata reasoning reasoning_effort thinking parallel_tool_calls logprobs top_logprobs include
text template raw images think truncate dimensions encoding_format frequency_penalty presence_penalty logit_bias
service_tier modalities audio chat_template_kwargs cache_prompt previous_response_id prompt_cache_key output_config
context_management safety_identifier verbosity
"""
_USUAL = frozenset(_WORDS.split())
"""Names that are no other spelling of a deciding one: most bodies have no others, so that none need be looked at."""


class _Key:
    """The type that the decoder is told a key has, so that it hands each one over, also one that comes again."""

    __slots__ = ()


class _Name(Struct, _Key, eq=False, gc=False):
    """One key of an object: equal to no other, so that a dict keeps those that come twice."""

    kind: object
    text: str


_decoder: msgspec.json.Decoder[dict[_Key, Raw]] = msgspec.json.Decoder(dict[_Key, Raw], dec_hook=_Name)
_value = msgspec.json.Decoder(str | None)


class Fields(Struct, frozen=True):
    """What a JSON body says of itself."""

    model: str | None
    stream: bool
    store: bool
    names: list[str]
    """Every key, in order."""


def read_fields(body: bytes) -> Fields:
    """Read the deciding fields of a JSON object.

    Raises BadRequest when it is none, or when one of them stands there twice or in another spelling.
    """
    try:
        found = _decode(body, len(body))
    except msgspec.ValidationError as error:
        raise no_object(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _lenient(body, str(error))
    except RecursionError:
        raise no_object("nested too deeply") from None
    names = [key.text for key in found]
    fields = dict(zip(names, found.values(), strict=True))
    if len(fields) != len(names) or not _USUAL.issuperset(names):
        check_spelling(names, _DECIDING, _USUAL)
    try:
        model = _value.decode(fields.get("model", b"null"))
    except msgspec.ValidationError as error:
        raise no_object(f"{error} - at `$.model`") from None
    return Fields(model, _is_true(fields.get("stream")), _is_true(fields.get("store")), names)


def pairs(body: bytes | Raw) -> list[tuple[str, Raw]]:
    """Return every key of an object with its value, in order, also those that come twice.

    Raises BadRequest for too many, and what msgspec raises for what is no object.
    """
    return [(key.text, value) for key, value in _decode(body, memoryview(body).nbytes).items()]


def _decode(body: bytes | Raw, size: int) -> dict[_Name, Raw]:
    found: Any = (_decoder if size <= _SMALL else _counting()).decode(body)
    if len(found) > KEYS_MAX:
        raise _too_many()
    made: dict[_Name, Raw] = found
    return made


def _is_true(value: Raw | None) -> bool:
    return value is not None and bytes(value) == b"true"


def check_spelling(
    names: Sequence[str], deciding: Mapping[str, str], usual: frozenset[str] = frozenset()
) -> None:
    """Raise BadRequest when a deciding name comes twice, or in a spelling that some reader takes for it.

    `deciding` gives the names by what they fold to; those of `usual` need no look.
    """
    if not usual.issuperset(names):
        for name in names:
            if name in usual:
                continue
            meant = deciding.get(fold(name)) or deciding.get(
                fold(name.partition("\0")[0])
            )  # C's strings end there
            if meant is not None and meant != name:
                raise BadRequest(
                    f"The body has a field {name[:40]!r}, which some servers read as {meant!r} and others do not.",
                    f"Call it {meant!r}, once.",
                    meant,
                )
    for name in deciding.values():
        if names.count(name) > 1:
            raise twice(name)


def twice(name: str) -> BadRequest:
    """Return the error for a field that stands there more than once."""
    return BadRequest(f"The body has the field {name!r} more than once.", "Send it once.", name)


def fold(name: str) -> str:
    """Return a name as the laxest reader takes it: without case, and without what is no letter or digit."""
    if name.isascii():
        name = name.lower()
        return name if name.isalnum() else "".join(filter(str.isalnum, name))
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def value_span(body: bytes, name: str) -> tuple[int, int]:
    """Return where the value of a top-level field stands; the body was read before, so it is there."""
    try:
        fields = pairs(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return next(span for key, span in _scan(body) if key == name)
    place = 0
    for key, value in fields:
        before = _BEFORE_VALUE.match(body, place)
        place = before.end() if before else place
        end = place + memoryview(value).nbytes
        if key == name:
            return place, end
        place = end
    raise KeyError(name)


def no_object(what: str) -> BadRequest:
    """Return the error for a body that is not what it should be."""
    return BadRequest(f"The body is not the JSON object it should be: {what}.")


def _too_many() -> BadRequest:
    return BadRequest(f"The body has over {KEYS_MAX} fields.", "No request has so many.")


def _counting() -> "msgspec.json.Decoder[dict[_Key, Raw]]":
    """Return a decoder that ends at one key too many: 64 MB of tiny ones would unfold to gigabytes."""
    numbers = count()

    def name(kind: object, text: str) -> _Name:
        if next(numbers) >= KEYS_MAX:
            raise _too_many()
        return _Name(kind, text)

    return msgspec.json.Decoder(dict[_Key, Raw], dec_hook=name)


def _lenient(body: bytes, said: str) -> Fields:
    """Read what msgspec won't, such as half an emoji's escape: whether that will do is the backend's affair."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > LENIENT_ITEMS:
        raise no_object(said)
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise no_object(said) from None
    model = found.get("model") if isinstance(found, dict) else 0
    if model is not None and not isinstance(model, str):
        raise no_object(said)
    if model is not None and not model.isascii():
        try:
            model.encode()
        except UnicodeEncodeError:
            raise no_object(said) from None
    names = [name for name, _ in _scan(body)]
    check_spelling(names, _DECIDING, _USUAL)
    return Fields(model, found.get("stream") is True, found.get("store") is True, names)


def _scan(body: bytes) -> list[tuple[str, tuple[int, int]]]:
    """Return every top-level key, with the span of its value where that is a string, and else of nothing."""
    fields: list[tuple[str, tuple[int, int]]] = []
    depth = place = 0
    last_string = b""
    wants_value = False
    while token := _TOP.search(body, place) if depth == 1 else _DEEP.match(body, place):
        place = token.end()
        last = body[place - 1 : place]
        if last in b"{[":
            depth += 1
        elif last in b"}]":
            depth -= 1
        elif last == b":":
            fields.append((json.loads(last_string.decode("utf-8", "replace")), (place, place)))
            wants_value = True
        elif last == b",":
            wants_value = False
        elif wants_value:
            fields[-1] = fields[-1][0], token.span()
            wants_value = False
        else:
            last_string = token[0]
    return fields
