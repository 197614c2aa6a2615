"""Reads `keep_alive` of Ollama's requests: for how long a model shall stay in memory after the answer."""

import math
import re

import msgspec
from msgspec import Struct

from meshlight.domain.errors import BadRequest
from meshlight.domain.text import sanitize_line

FOR_EVER = -1.0
"""Until somebody unloads it."""
FINITE_MAX_S = 292 * 365 * 86_400.0
"""More does not fit into Ollama's durations, where it means "for ever"."""
_FIELD = b'"keep_alive"'
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_NUMBER = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_PART = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"([+-]?)((?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h)){{1,8}})")
_SECONDS = re.compile(rf"[+-]?{_NUMBER}")


class _Body(Struct):
    keep_alive: float | str | None = None


_decoder = msgspec.json.Decoder(_Body)


def read_keep_alive(body: bytes) -> float | None:
    """Return the seconds that a body asks for; negative for "until unloaded", None if it says nothing.

    A number is seconds; a text is a duration of Go (`5m`, `1h30m`), or seconds too. Raises BadRequest.
    """
    if _FIELD not in body:
        return None
    try:
        value = _decoder.decode(body).keep_alive
    except msgspec.ValidationError as error:
        if "keep_alive" not in str(error):
            return None  # the body itself is wrong, which is told where it is read
        raise _unreadable("that") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the same
    if value is None:
        return None
    seconds = _seconds(value) if isinstance(value, str) else value
    if seconds < 0 or seconds > FINITE_MAX_S:
        return FOR_EVER
    return seconds


def _seconds(text: str) -> float:
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text) if len(text) <= 200 else None
    if found is None:
        raise _unreadable(repr(sanitize_line(text, 40)))
    total = math.fsum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -total if found[1] == "-" else total


def _unreadable(value: str) -> BadRequest:
    return BadRequest(
        f"keep_alive can't be {value}.",
        'Send seconds (300, 0, -1) or a duration such as "5m" or "1h30m".',
        "keep_alive",
    )
