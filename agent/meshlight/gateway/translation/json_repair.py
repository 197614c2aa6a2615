r"""Repairs JSON that contains half a character.

A model's tokens may end in the middle of an emoji, and a client may cut a text there: that leaves a lone surrogate
(`"\ud83d"`) or half of a UTF-8 sequence. Real JSON has both; msgspec decodes neither.
"""

import re
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

HALVES_MAX: Final = 10_000
"""Halves that are replaced; a text that was merely cut has fewer."""
REPAIRED_MAX: Final = 4 << 20
"""Bytes of JSON that is repaired."""
_VALID: Final = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)*+",
    re.DOTALL,
)
"""Everything up to the next half character, or the end."""
_HALF: Final = len(rb"\ud83d")


def decode_repaired(data: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON; half a character becomes U+FFFD, as in a browser.

    Raises what `decoder` raises: msgspec.DecodeError, msgspec.ValidationError, RecursionError.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        broken = bytes(data)
        repaired = _repair(broken) if len(broken) <= REPAIRED_MAX else broken
        if repaired == broken:
            raise
        return decoder.decode(repaired)


def _repair(data: bytes) -> bytes:
    decoded = data.decode("utf-8", "replace").encode()
    if b"\\u" not in decoded:
        return decoded
    pieces: list[bytes] = []
    position = 0
    while (found := _VALID.match(decoded, position)) is not None and len(pieces) < 2 * HALVES_MAX:
        pieces.append(found[0])
        position = found.end() + _HALF
        if position > len(decoded):
            return b"".join(pieces) + decoded[found.end() :]
        pieces.append(b"\\ufffd")
    return data
