"""What is wrong with a JSON body or a parameter, in words that say where, and what would be right.

A request to `/mesh` whose body is read strictly, as what its handler takes.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request
from litestar.typing import FieldDefinition
from msgspec import Struct, inspect

from meshlight.domain.errors import BadRequest
from meshlight.domain.text import similar_names

LONGEST = 300
"""Characters of a message that are shown: it may quote what came."""

_SAID_MAX = 1_000
_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `\$\.?(?P<place>.*)`)?$", re.DOTALL)
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


def shown(error: msgspec.ValidationError) -> str:
    """Return what msgspec says; of what it quotes, however long, only the start: the place stands at the end."""
    text = str(error)
    return text if len(text) <= 2 * _SAID_MAX else f"{text[:_SAID_MAX]}…{text[-_SAID_MAX:]}"


def malformed_json(error: Exception) -> BadRequest:
    """Say that a body is no JSON at all."""
    text = str(error) if isinstance(error, msgspec.DecodeError) else "it is not in UTF-8"
    said = text.removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")
    return BadRequest(f"The body is not JSON: {said[:LONGEST]}.", "Send one JSON object.")


def validation_error(error: msgspec.ValidationError, shape: type) -> BadRequest:
    """Say what does not fit `shape`, the struct that the body was decoded as."""
    text = shown(error)
    match = _PLACE.match(text)
    problem, place = (match["problem"], match["place"] or "") if match else (text, "")
    if unknown := _UNKNOWN.match(problem):
        return _unknown_field(unknown[1], place, _fields_at(shape, place))
    if missing := _MISSING.match(problem):
        where = _join(place, missing[1])
        return BadRequest(f"{where} is missing.", _choices_hint(shape, where), where)
    return BadRequest(type_error(place or "The body", problem), _choices_hint(shape, place), place or None)


def type_error(name: str, problem: str) -> str:
    """Say as a sentence what msgspec says of the value called `name`."""
    if wrong := _WRONG_TYPE.match(problem):
        wanted = " or ".join(_TYPES.get(word, word) for word in wrong[1].split(" | "))
        return f"{name} must be {wanted}, not {_TYPES.get(wrong[2], wrong[2])}."
    if limit := _LIMIT.match(problem):
        counted = ""
        if "of length" in problem:
            counted = " characters long" if limit[1] == "str" else " entries long"
        return f"{name} must be {_LIMITS[limit[2]]} {limit[3].removesuffix('.0')}{counted}."
    return f"{name}: {problem[:LONGEST]}."


def _unknown_field(name: str, place: str, known: Sequence[str]) -> BadRequest:
    shown = name[:LONGEST]
    close = similar_names(name, known)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(known)}."
    return BadRequest(f"{_join(place, shown)} is not known here.", hint, _join(place, shown))


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _choices_hint(shape: type, place: str) -> str:
    """List the words that may stand there, if only certain ones may."""
    kinds = _types_at(shape, place)
    words = [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
    return f"Use one of {', '.join(words)}." if words else ""


def _fields_at(shape: type, place: str) -> list[str]:
    kinds = _types_at(shape, place)
    return [
        field.encode_name for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields
    ]


def _types_at(shape: type, place: str) -> list[inspect.Type]:
    """Return what may stand at a place such as `routing.rules[0].bound`."""
    kinds = _flat(inspect.type_info(shape))
    for step in filter(None, re.sub(r"\[[^\]]*\]", ".[]", place).split(".")):
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


class JsonRequest(Request[Any, Any, Any]):
    """Litestar would take `"5"` for a number and could not say what else would have been right."""

    async def body(self) -> bytes:
        """Return the body; BadRequest where there is none and the handler can't do without."""
        body = await super().body()
        if not body and not self._wanted.has_default:
            raise BadRequest("The request has no body.", "Send a JSON object.")
        return body

    async def json(self) -> Any:
        """Return the body as the struct that the handler's `data` is; BadRequest says what does not fit."""
        shape = self._wanted.annotation
        if not (isinstance(shape, type) and issubclass(shape, Struct)):
            raise TypeError(f"A body is decoded as a struct, not as {shape}.")
        try:
            return msgspec.json.decode(await self.body(), type=shape)
        except msgspec.ValidationError as error:
            raise validation_error(error, shape) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed_json(error) from None
        except RecursionError:
            raise BadRequest("The body is nested too deeply.", "Send one flat JSON object.") from None

    @property
    def _wanted(self) -> FieldDefinition:
        return self.route_handler.parsed_fn_signature.parameters["data"]
