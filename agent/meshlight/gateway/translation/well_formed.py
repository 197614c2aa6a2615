r"""JSON that holds half a character, made readable.

A model's tokens may end in the middle of an emoji, and a client may cut a text there: what is left is a lone
surrogate (`"\ud83d"`) or half of a UTF-8 sequence. JSON in the wild has both; msgspec reads neither.
"""

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
)


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON; where it holds half a character, that becomes U+FFFD, as it does in a browser.

    Raises what `decoder` raises: msgspec.DecodeError, msgspec.ValidationError, RecursionError.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _mend(data)
        if mended == data:
            raise
        return decoder.decode(mended)


def _mend(data: bytes) -> bytes:
    whole = data.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(_whole, whole) if b"\\u" in whole else whole


def _whole(match: re.Match[bytes]) -> bytes:
    escape = match[0]
    is_lone = len(escape) == 6 and escape[2:3] in b"dD" and escape[3:4] not in b"01234567"
    return b"\\ufffd" if is_lone else escape
