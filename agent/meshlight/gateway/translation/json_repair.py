r"""JSON that holds half a character, made readable.

A model's tokens may end in the middle of an emoji, and a client may cut a text there: what is left is a lone
surrogate (`"\ud83d"`) or half of a UTF-8 sequence. JSON in the wild has both; msgspec reads neither.
"""

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

HALVES_MAX = 10_000
"""Halves that are replaced; what holds more of them is no text that was cut."""
MENDED_MAX = 4 << 20
"""Bytes of JSON that are mended."""
_SOUND = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)*+",
    re.DOTALL,
)
"""What holds no half, up to the next one or the end."""
_HALF = len(rb"\ud83d")


def decode_repaired(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON; where it holds half a character, that becomes U+FFFD, as it does in a browser.

    Raises what `decoder` raises: msgspec.DecodeError, msgspec.ValidationError, RecursionError.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _repair(data) if len(data) <= MENDED_MAX else data
        if mended == data:
            raise
        return decoder.decode(mended)


def _repair(data: bytes) -> bytes:
    whole = data.decode("utf-8", "replace").encode()
    if b"\\u" not in whole:
        return whole
    pieces: list[bytes] = []
    place = 0
    while (found := _SOUND.match(whole, place)) is not None and len(pieces) < 2 * HALVES_MAX:
        pieces.append(found[0])
        place = found.end() + _HALF
        if place > len(whole):
            return b"".join(pieces) + whole[found.end() :]
        pieces.append(b"\\ufffd")
    return data
