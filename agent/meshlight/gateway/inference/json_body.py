"""Reads the top level of a JSON body strictly: a field that decides something occurs once, in one spelling.

Decoders differ in what they do with a key that occurs twice or in another case: most use the last, some the first,
Go's also reads `"Model"` as `model`, and some ignore characters that are no letters. A body that two of them would
read differently is refused, so that the backend reads what was checked here.

Requests of Gemini's API name their model in the path, and some in the body too: `embedContent` beside its content,
`batchEmbedContents` in each of its requests, `countTokens` in the request that it counts (API reference,
"Embeddings" and "Counting tokens"). All have to equal the one in the path, which is the one that was checked.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import BadRequest, NoModelInBody
from meshlight.gateway.inference.usual_body import SMALL
from meshlight.gateway.inference.usual_fields import DECIDING, USUAL

KEYS_MAX = 1_000
"""Fields that a body may have; requests have a few dozen."""
LENIENT_ITEMS = 200_000
"""Items that a body which is no strict JSON may have: it is read by slower means."""
REMEMBERED_LETTERS = 64
"""A name of so many is folded once: the same ones come again and again."""

# Possessive quantifiers throughout: a string of 50 MB must not be backtracked into.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOP = re.compile(_STRING + rb"|[{}\[\]:,]", re.DOTALL)
_DEEP = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+[{}\[\]]", re.DOTALL)
"""For below the top level, where only the depth matters: strings and numbers are skipped."""
_BEFORE_VALUE = re.compile(rb"[\s{,]*+" + _STRING + rb"\s*+:\s*+", re.DOTALL)


class _Key:
    """The type of a key for the decoder, which makes it report every key, also one that occurs again."""

    __slots__ = ()


class _Name(Struct, _Key, eq=False, gc=False):
    """One key of an object: equal to no other, so that a dict holds those that occur twice."""

    kind: object
    text: str


_decoder: msgspec.json.Decoder[dict[_Key, Raw]] = msgspec.json.Decoder(dict[_Key, Raw], dec_hook=_Name)
_value = msgspec.json.Decoder(str | None)


class Fields(Struct, frozen=True):
    """The fields of a JSON body that decide something."""

    model: str | None
    stream: bool
    store: bool
    names: list[str]
    """Every key, in order."""


def read_fields(body: bytes) -> Fields:
    """Read the deciding fields of a JSON object.

    Raises NoModelInBody when it is none, BadRequest when one of them occurs twice or in another spelling.
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
    if len(fields) != len(names) or not USUAL.issuperset(names):
        check_spelling(names, DECIDING, USUAL)
    try:
        model = _value.decode(fields.get("model", b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise no_object(f"{error} - at `$.model`") from None
    return Fields(model, _is_true(fields.get("stream")), _is_true(fields.get("store")), names)


def pairs(body: bytes | Raw) -> list[tuple[str, Raw]]:
    """Return every key of an object with its value, in order, also those that occur twice.

    Raises BadRequest for too many keys, and msgspec's errors for what is no object.
    """
    return [(key.text, value) for key, value in _decode(body, memoryview(body).nbytes).items()]


def _decode(body: bytes | Raw, size: int) -> dict[_Name, Raw]:
    found: Any = (_decoder if size <= SMALL else _counting()).decode(body)
    if len(found) > KEYS_MAX:
        raise _too_many()
    made: dict[_Name, Raw] = found
    return made


def _is_true(value: Raw | None) -> bool:
    return value is not None and bytes(value) == b"true"


def check_spelling(
    names: Sequence[str], deciding: Mapping[str, str], usual: frozenset[str] = frozenset()
) -> None:
    """Raise BadRequest when a deciding name occurs twice, or in a spelling that some reader takes for it.

    `deciding` gives the names by what they fold to; those of `usual` need no check.
    """
    if not usual.issuperset(names):
        for name in names:
            if name in usual:
                continue
            meant = deciding.get(fold(name))
            if meant is None and "\0" in name:  # C's strings end there
                meant = deciding.get(fold(name.partition("\0")[0]))
            if meant is not None and meant != name:
                raise BadRequest(
                    f"The body has a field {name[:40]!r}, which some servers read as {meant!r} and others do not.",
                    f"Call it {meant!r}, once.",
                    meant,
                )
    for name in deciding.values():
        if names.count(name) > 1:
            raise field_repeated(name)


def field_repeated(name: str) -> BadRequest:
    """Return the error for a field that occurs more than once."""
    return BadRequest(f"The body has the field {name!r} more than once.", "Send it once.", name)


def fold(name: str) -> str:
    """Return a name as the most lenient reader reads it: without case, letters and digits only."""
    return _fold_short(name) if len(name) <= REMEMBERED_LETTERS else _fold(name)


def _fold(name: str) -> str:
    if name.isascii():
        name = name.lower()
        return name if name.isalnum() else "".join(filter(str.isalnum, name))
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


_fold_short = lru_cache(1_024)(_fold)


def value_span(body: bytes, name: str) -> tuple[int, int]:
    """Return start and end of the value of a top-level field; the body was read before, so the field exists."""
    try:
        fields = pairs(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return next(span for key, span in _scan(body) if key == name)
    position = 0
    for key, value in fields:
        before = _BEFORE_VALUE.match(body, position)
        position = before.end() if before else position
        end = position + memoryview(value).nbytes
        if key == name:
            return position, end
        position = end
    raise KeyError(name)


def no_object(what: str) -> NoModelInBody:
    """Return the error for a body that is not what it should be."""
    return NoModelInBody(f"The body is not the JSON object it should be: {what}.")


def _too_many() -> BadRequest:
    return BadRequest(f"The body has over {KEYS_MAX} fields.", "No request has so many.")


def _counting() -> "msgspec.json.Decoder[dict[_Key, Raw]]":
    """Return a decoder that stops at one key too many: 64 MB of tiny ones would need gigabytes."""
    numbers = count()

    def name(kind: object, text: str) -> _Name:
        if next(numbers) >= KEYS_MAX:
            raise _too_many()
        return _Name(kind, text)

    return msgspec.json.Decoder(dict[_Key, Raw], dec_hook=name)


def _lenient(body: bytes, problem: str) -> Fields:
    """Read what msgspec rejects, such as half a surrogate pair: the backend decides whether to accept it."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > LENIENT_ITEMS:
        raise no_object(problem)
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise no_object(problem) from None
    model = found.get("model") if isinstance(found, dict) else 0
    if model is not None and not isinstance(model, str):
        raise no_object(problem)
    if model is not None and not model.isascii():
        try:
            model.encode()
        except UnicodeEncodeError:
            raise no_object(problem) from None
    names = [name for name, _ in _scan(body)]
    check_spelling(names, DECIDING, USUAL)
    return Fields(model, found.get("stream") is True, found.get("store") is True, names)


def _scan(body: bytes) -> list[tuple[str, tuple[int, int]]]:
    """Return every top-level key, with the span of its value if that is a string, and else an empty span."""
    fields: list[tuple[str, tuple[int, int]]] = []
    depth = position = 0
    last_string = b""
    wants_value = False
    while token := _TOP.search(body, position) if depth == 1 else _DEEP.match(body, position):
        position = token.end()
        last = body[position - 1 : position]
        if last in b"{[":
            depth += 1
        elif last in b"}]":
            depth -= 1
        elif last == b":":
            fields.append((json.loads(last_string.decode("utf-8", "replace")), (position, position)))
            wants_value = True
        elif last == b",":
            wants_value = False
        elif wants_value:
            fields[-1] = fields[-1][0], token.span()
            wants_value = False
        else:
            last_string = token[0]
    return fields


REQUESTS_MAX = 1_000
"""Requests of one batch; Google accepts 100."""
_COUNTED = "generateContentRequest"
_GEMINIDECIDING = {fold(name): name for name in ("model", "requests", _COUNTED)}
_GEMINI_SPELLINGS = {"generate_content_request": _COUNTED}
"""Google accepts the names of its fields in either style."""
_model = msgspec.json.Decoder(str)
_requests = msgspec.json.Decoder(list[Raw])

_Change = Callable[[str], bytes]


def check_models(body: bytes, model: str) -> None:
    """Raise BadRequest when the body names another model than the path, or is not the JSON that it should be."""

    def same(named: str) -> bytes:
        if named.removeprefix("models/") != model:
            raise BadRequest(
                f"The body names the model {named[:200]!r} and the path {model[:200]!r}.",
                "Name the same in both, or leave it out of the body.",
                "model",
            )
        return b""

    try:
        _rewrite_models(body, same, is_top=True, is_written=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise no_object(str(error)) from None
    except RecursionError:
        raise no_object("nested too deeply") from None


def with_models(body: bytes, model: str) -> bytes:
    """Return the body with another model wherever it names one; all other values stay as they are."""
    return _rewrite_models(
        body, lambda _: msgspec.json.encode(f"models/{model}"), is_top=True, is_written=True
    )


def _rewrite_models(body: bytes | Raw, change: _Change, *, is_top: bool, is_written: bool) -> bytes:
    fields = pairs(body)
    check_spelling([_GEMINI_SPELLINGS.get(name, name) for name, _ in fields], _GEMINIDECIDING)
    written: list[bytes] = []
    for name, value in fields:
        new: bytes | Raw = value
        if name == "model":
            new = change(_model.decode(value))
        elif is_top and name == "requests":
            requests = _requests.decode(value)
            if len(requests) > REQUESTS_MAX:
                raise BadRequest(f"The batch has over {REQUESTS_MAX} requests.", "Split it.", "requests")
            walked = [
                _rewrite_models(request, change, is_top=False, is_written=is_written) for request in requests
            ]
            new = b"[" + b",".join(walked) + b"]"
        elif is_top and _GEMINI_SPELLINGS.get(name, name) == _COUNTED:
            new = _rewrite_models(value, change, is_top=False, is_written=is_written)
        if is_written:
            written.append(msgspec.json.encode(name) + b":" + bytes(new))
    return b"{" + b",".join(written) + b"}"
