"""Words for what can be wrong with a value of the configuration file."""

import json
import re
from collections.abc import Mapping
from typing import get_args

from meshlight.domain.backend import KINDS, RINGS
from meshlight.domain.rules import Policy
from meshlight.store.config_text import Place

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": KINDS,
    "ring": RINGS,
    "bound": RINGS,
    "spill": RINGS,
    "policy": get_args(Policy),
}
_TYPES: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a date",
    "time": "a time",
    "datetime": "a date",
}
_LIMITS: Mapping[str, str] = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_SECRET_WORDS = frozenset(
    {"key", "apikey", "token", "secret", "secrets", "password", "passwd", "bearer", "authorization", "auth"}
    | {"credential", "credentials"}
)
_SECRET_ENDINGS = ("_key", "_apikey", "_token", "_secret", "_password")
_LONGEST_SHOWN = 24
"""A longer word is no slip of the pen; it may be a secret in the wrong place."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_OUT_OF_RANGE = re.compile(r"Expected `\w+` (>=|<=|>|<) (-?[\d.e+]+)")


def show(place: Place) -> str:
    """Write a place as people write it: `backends[1].ring`."""
    shown = ""
    for step in place:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            word = step if _BARE.fullmatch(step) else json.dumps(step)
            shown += f".{word}" if shown else word
    return shown


def is_secret_word(key: str) -> bool:
    """Whether a key of this name would hold a secret."""
    word = key.lower().replace("-", "_")
    return word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS)


def describe(message: str, data: object) -> tuple[Place, str]:
    """Turn msgspec's message about `data` into the place and a sentence's end for people."""
    match = _PATH.match(message)
    problem, path = (match["problem"], match["path"] or "") if match else (message, "")
    place = _place(path, data)
    return place, _words(problem, place, _value(place, data))


def _words(problem: str, place: Place, value: object) -> str:
    name = next((step for step in reversed(place) if isinstance(step, str)), "")
    if "Invalid enum value" in problem:
        shown = f", not {value!r}" if len(str(value)) <= _LONGEST_SHOWN else ""
        return f"must be one of {', '.join(_CHOICES[name])}{shown}"
    if missing := _MISSING.match(problem):
        choice = f": one of {', '.join(_CHOICES[missing[1]])}" if missing[1] in _CHOICES else ""
        return f"needs {missing[1]}{choice}"
    if wrong := _WRONG_TYPE.match(problem):
        wanted = " or ".join(_TYPES.get(word, word) for word in wrong[1].split(" | ") if word != "null")
        # The value itself is not shown: a key pasted into the wrong place would end up in the log.
        got = "text" if wrong[2] == "str" else _TYPES.get(wrong[2], wrong[2])
        return f"must be {wanted}, not {got}"
    if limit := _OUT_OF_RANGE.match(problem):
        return f"must be {_LIMITS[limit[1]]} {limit[2].removesuffix('.0')}, not {value!r}"
    return f"is wrong: {problem}"


def _place(path: str, data: object) -> Place:
    """Read a path such as `.backends[1].ring`; `[...]` stands for a value of a table of texts."""
    place: list[str | int] = []
    for name, index in _STEP.findall(path):
        if name:
            place.append(name)
        elif index == "...":
            table = _value(tuple(place), data)
            if isinstance(table, Mapping):
                place.extend([next((key for key, each in table.items() if not isinstance(each, str)), "")])
        else:
            place.append(int(index))
    return tuple(place)


def _value(place: Place, data: object) -> object:
    for step in place:
        if isinstance(step, int) and isinstance(data, list):
            data = data[step]
        elif isinstance(step, str) and isinstance(data, Mapping):
            data = data.get(step)
    return data
