"""Error messages for JSON bodies and parameters: what is wrong, where, and what would be right."""

import re
from collections.abc import Sequence

import msgspec
from msgspec import inspect

from meshlight.domain.errors import BadRequest
from meshlight.domain.text import similar_names

LONGEST = 300
"""Characters of a message that are shown; it may quote the input."""

_QUOTED_MAX = 1_000
_PROBLEM_AT = re.compile(r"^(?P<problem>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`$")
_LIMIT = re.compile(r"Expected `(\w+)`(?: of length)? (>=|<=|>|<) (-?[\d.e+]+)$")
_LIMITS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def message_of(error: msgspec.ValidationError) -> str:
    """Return msgspec's message; a long quotation is cut in the middle, since the path is at the end."""
    text = str(error)
    return text if len(text) <= 2 * _QUOTED_MAX else f"{text[:_QUOTED_MAX]}…{text[-_QUOTED_MAX:]}"


def malformed_json(error: Exception) -> BadRequest:
    """Return the error for a body that is not JSON."""
    text = str(error) if isinstance(error, msgspec.DecodeError) else "it is not in UTF-8"
    reason = text.removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")
    return BadRequest(f"The body is not JSON: {reason[:LONGEST]}.", "Send one JSON object.")


def validation_error(error: msgspec.ValidationError, shape: type) -> BadRequest:
    """Return the error for a body that does not fit `shape`, the struct that it was decoded as."""
    text = message_of(error)
    match = _PROBLEM_AT.match(text)
    problem, path = (match["problem"], match["path"] or "") if match else (text, "")
    if unknown := _UNKNOWN.match(problem):
        return _unknown_field(unknown[1], path, _fields_at(shape, path))
    if missing := _MISSING.match(problem):
        field_path = _join(path, missing[1])
        return BadRequest(f"{field_path} is missing.", _choices_hint(shape, field_path), field_path)
    return BadRequest(type_error(path or "The body", problem), _choices_hint(shape, path), path or None)


def type_error(name: str, problem: str) -> str:
    """Return msgspec's message about the value `name` as a sentence."""
    if wrong := _WRONG_TYPE.match(problem):
        wanted = " or ".join(_TYPES.get(word, word) for word in wrong[1].split(" | "))
        return f"{name} must be {wanted}, not {_TYPES.get(wrong[2], wrong[2])}."
    if limit := _LIMIT.match(problem):
        counted = ""
        if "of length" in problem:
            counted = " characters long" if limit[1] == "str" else " entries long"
        return f"{name} must be {_LIMITS[limit[2]]} {limit[3].removesuffix('.0')}{counted}."
    return f"{name}: {problem[:LONGEST]}."


def _unknown_field(name: str, path: str, known: Sequence[str]) -> BadRequest:
    short = name[:LONGEST]
    close = similar_names(name, known)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(known)}."
    return BadRequest(f"{_join(path, short)} is not known here.", hint, _join(path, short))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _choices_hint(shape: type, path: str) -> str:
    """Return a hint with the allowed values, if only certain ones are."""
    kinds = _types_at(shape, path)
    words = [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
    return f"Use one of {', '.join(words)}." if words else ""


def _fields_at(shape: type, path: str) -> list[str]:
    kinds = _types_at(shape, path)
    return [
        field.encode_name for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields
    ]


def _types_at(shape: type, path: str) -> list[inspect.Type]:
    """Return the types that are allowed at a path such as `routing.rules[0].bound`."""
    kinds = _flat(inspect.type_info(shape))
    for step in filter(None, re.sub(r"\[[^\]]*\]", ".[]", path).split(".")):
        following: list[inspect.Type] = []
        for kind in kinds:
            if isinstance(kind, inspect.StructType):
                following += [field.type for field in kind.fields if field.encode_name == step]
            elif isinstance(kind, inspect.VarTupleType) and step == "[]":
                following.append(kind.item_type)
        kinds = [flat for kind in following for flat in _flat(kind)]
    return kinds


def _flat(kind: inspect.Type) -> list[inspect.Type]:
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]
