"""Reads what routing needs out of a request body, and changes the `model` value in it, and nothing else."""

import json
import re
from email.message import Message
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from meshlight.domain.errors import BadRequest

# Possessive throughout: a string of 50 MB must not leave a way back for each of its letters.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOP = re.compile(_STRING + rb"|[{}\[\]:,]", re.DOTALL)
_DEEP = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+[{}\[\]]", re.DOTALL)
"""Where nothing matters but how deep it is: strings and numbers are leapt over."""
_NAME = re.compile(rb'[;\s]name="?model"?\s*(?:;|$)', re.IGNORECASE)


class _Head(Struct):
    """The few fields of a JSON body that matter here; the rest is not even decoded."""

    model: str | UnsetType | None = UNSET
    stream: Any = None
    store: Any = None


class Head(Struct, frozen=True):
    """What routing needs to know of a request body."""

    model: str
    stream: bool = False
    store: bool = False


_decoder = msgspec.json.Decoder(_Head)


def read_head(body: bytes, content_type: bytes) -> Head:
    """Return model, stream and store of a JSON or multipart body; BadRequest when it has no model."""
    if content_type[:19].lower() == b"multipart/form-data":
        start, end = _multipart_model(body, content_type)
        return Head(_model(body[start:end].decode("utf-8", "replace")))
    try:
        head = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _no_object(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        head = _lenient(body, str(error))
    except RecursionError:
        raise _no_object("nested too deeply") from None
    return Head(_model(head.model), head.stream is True, head.store is True)


def _lenient(body: bytes, said: str) -> _Head:
    """Read what msgspec won't, such as half an emoji's escape: whether that will do is the backend's affair."""
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise _no_object(said) from None
    model = found.get("model") if isinstance(found, dict) else 0
    if model is not None and not isinstance(model, str):
        raise _no_object(said)
    return _Head(model, found.get("stream"), found.get("store"))


def _no_object(what: str) -> BadRequest:
    return BadRequest(f"The body is not the JSON object it should be: {what}.")


def _model(value: str | UnsetType | None) -> str:
    if not value:
        raise BadRequest(
            "The request names no model.", 'Add "model"; GET /v1/models lists those there are.', param="model"
        )
    return value


def with_model(body: bytes, content_type: bytes, model: str) -> bytes:
    """Return the body with another `model` value; every other byte stays as it is."""
    if content_type[:19].lower() == b"multipart/form-data":
        start, end = _multipart_model(body, content_type)
        return body[:start] + model.encode() + body[end:]
    value = msgspec.json.encode(model)
    parts: list[bytes] = []
    done = 0
    for start, end in _json_models(body):
        parts += (body[done:start], value)
        done = end
    return b"".join((*parts, body[done:]))


def _json_models(body: bytes) -> list[tuple[int, int]]:
    """Return the spans of the values of every top-level `model` key (a repeated key is replaced throughout)."""
    spans: list[tuple[int, int]] = []
    depth = place = 0
    key = b""
    wants_value = False
    while token := _TOP.search(body, place) if depth == 1 else _DEEP.match(body, place):
        place = token.end()
        last = body[place - 1 : place]
        if last in b"{[":
            depth += 1
        elif last in b"}]":
            depth -= 1
        elif last == b":":
            wants_value = _is_model(key)
        elif last == b",":
            wants_value = False
        elif wants_value:
            spans.append(token.span())
            wants_value = False
        else:
            key = token[0]
    return spans


def _is_model(key: bytes) -> bool:
    return key == b'"model"' or (b"\\" in key and json.loads(key.decode("utf-8", "replace")) == "model")


def _multipart_model(body: bytes, content_type: bytes) -> tuple[int, int]:
    """Return the span of the value of the form field `model` (RFC 7578)."""
    message = Message()
    message["content-type"] = content_type.decode("latin-1")
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 200:
        raise BadRequest(
            "The multipart body has no usable boundary.", "Let the HTTP library set content-type."
        )
    mark = b"--" + boundary.encode("latin-1")
    place = body.find(mark)
    while place != -1:
        start = place + len(mark)
        head_end = body.find(b"\r\n\r\n", start)
        place = body.find(mark, start)
        if head_end == -1 or (place != -1 and head_end > place):
            continue
        head = body[start : min(head_end, start + 4_096)]
        if place != -1 and any(
            line.lower().startswith(b"content-disposition:") and _NAME.search(line)
            for line in head.split(b"\r\n")
        ):
            return head_end + 4, place - 2
    raise BadRequest("The form names no model.", "Add a field called model.", param="model")
