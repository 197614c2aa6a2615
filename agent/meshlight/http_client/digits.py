"""Reads a number where it stands, without a copy of it."""

from typing import Final

_ZERO: Final = 48
_NINE: Final = 57


def number_at(data: bytes, start: int, digits_max: int) -> tuple[int, int]:
    """Return the decimal number that begins at `start`, and where it ends; that is `start` where there is none.

    Of a number with more digits than `digits_max`, it is the first ones.
    """
    end = min(start + digits_max, len(data))
    number, at = 0, start
    while at < end:
        digit = data[at]
        if digit < _ZERO or digit > _NINE:
            break
        number = number * 10 + digit - _ZERO
        at += 1
    return number, at
