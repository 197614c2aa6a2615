"""Limits of untrusted JSON that is translated: its values are counted before it is decoded.

A value costs far more as a Python object than as text: `[],` is three bytes of a body and seventy of memory. So a
body is limited by its bytes *and* by its values. A long text or an image is one value.
"""

import re
from typing import Final

from meshlight.domain.errors import TooMuch, TranslationFailed

BODY_MAX = 32 << 20
"""Bytes of a request that is translated; Anthropic's own service accepts no more."""
VALUES_MAX: Final = 100_000
"""Values of such a request; a conversation of a million tokens has some ten thousand."""
ANSWER_VALUES_MAX: Final = 200_000
"""Values of one event of an answer, or of an answer in one piece."""
SMALL = 1 << 16
"""Bytes that can't hold enough values to matter."""
_WINDOW = 1 << 18
"""Bytes that are counted in one step; between two steps, other threads can run."""
_TEXT: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def check_request(body: bytes) -> None:
    """Raise TooMuch for a request that is too large to translate."""
    if len(body) > BODY_MAX:
        raise _too_much(f"is over {BODY_MAX >> 20} MB")
    if has_more_values(body, VALUES_MAX):
        raise _too_much(f"has more than {VALUES_MAX} values")


def check_answer(data: bytes) -> None:
    """Raise TranslationFailed for an event, or an answer in one piece, with too many values."""
    if has_more_values(data, ANSWER_VALUES_MAX):
        raise TranslationFailed(f"It sent more than {ANSWER_VALUES_MAX} values at once.")


def has_more_values(data: bytes, most: int) -> bool:
    """Whether JSON has more than `most` values; the time is linear in its bytes, whatever they are."""
    if len(data) <= SMALL:
        return False
    rough = 0
    for start in range(0, len(data), _WINDOW):
        rough += _marks(data, start, start + _WINDOW)
        if rough > most:  # some may be inside texts: count exactly
            return _has_more_outside_texts(data, most)
    return False


def _has_more_outside_texts(data: bytes, most: int) -> bool:
    position, end, left = 0, len(data), most
    while position < end:
        stop = min(position + _WINDOW, end)
        quote = data.find(b'"', position, stop)
        left -= _marks(data, position, stop if quote == -1 else quote)
        if left < 0:
            return True
        position = stop if quote == -1 else _after_text(data, quote + 1, end)
    return False


def _marks(data: bytes, start: int, stop: int) -> int:
    return data.count(b",", start, stop) + data.count(b"[", start, stop) + data.count(b"{", start, stop)


def _after_text(data: bytes, position: int, end: int) -> int:
    """Return the position behind the closing quote of the text that begins at `position`."""
    while position < end:
        found = _TEXT.match(data, position, min(position + _WINDOW, end))
        stop = position if found is None else found.end()
        if data[stop : stop + 1] == b'"':
            return stop + 1
        if stop == position:  # the last byte is a backslash: not JSON, which the decoder reports
            return end
        position = stop
    return end


def _too_much(what: str) -> TooMuch:
    return TooMuch(
        f"The request {what}, too much to be translated for this model's backend.",
        "Send less, or use a model of a backend that speaks this protocol itself.",
    )
