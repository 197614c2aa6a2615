"""How much of a stranger's JSON is translated: its values are counted before any object is made of them.

A value costs far more as a Python object than as text: `[],` is three bytes of a body and seventy of memory. So a
body is bounded by its bytes *and* by its values. Long texts and pictures are one value each.
"""

import re

from meshlight.domain.errors import TooMuch, TranslationFailed

BODY_MAX = 32 << 20
"""Bytes of a request that is translated; Anthropic's own service takes no more."""
VALUES_MAX = 100_000
"""Values of such a request: a conversation of a million tokens has some ten thousand."""
ANSWER_VALUES_MAX = 200_000
"""Values of one event of an answer, or of one that comes whole."""
SMALL = 1 << 16
"""Bytes that can't hold enough values to trouble anybody."""
_WINDOW = 1 << 18
"""Bytes that are looked at in one step: between two of them, other threads have their turn."""
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def check_request(body: bytes) -> None:
    """Raise TooMuch for a request that is too large to be translated."""
    if len(body) > BODY_MAX:
        raise _too_much(f"is over {BODY_MAX >> 20} MB")
    if has_more_values(body, VALUES_MAX):
        raise _too_much(f"has more than {VALUES_MAX} values")


def check_answer(data: bytes) -> None:
    """Raise TranslationFailed for an event, or a whole answer, of too many values."""
    if has_more_values(data, ANSWER_VALUES_MAX):
        raise TranslationFailed(f"It sent more than {ANSWER_VALUES_MAX} values at once.")


def has_more_values(data: bytes, most: int) -> bool:
    """Whether JSON has more than `most` values; the time grows with its bytes, however they are arranged."""
    if len(data) <= SMALL:
        return False
    rough = 0
    for start in range(0, len(data), _WINDOW):
        rough += _marks(data, start, start + _WINDOW)
        if rough > most:  # some may stand in texts: look more closely
            return _exceeds(data, most)
    return False


def _exceeds(data: bytes, most: int) -> bool:
    place, end, left = 0, len(data), most
    while place < end:
        stop = min(place + _WINDOW, end)
        quote = data.find(b'"', place, stop)
        left -= _marks(data, place, stop if quote == -1 else quote)
        if left < 0:
            return True
        place = stop if quote == -1 else _after_text(data, quote + 1, end)
    return False


def _marks(data: bytes, start: int, stop: int) -> int:
    return data.count(b",", start, stop) + data.count(b"[", start, stop) + data.count(b"{", start, stop)


def _after_text(data: bytes, place: int, end: int) -> int:
    """Return the place behind the closing quote of the text that begins at `place`."""
    while place < end:
        found = _TEXT.match(data, place, min(place + _WINDOW, end))
        stop = place if found is None else found.end()
        if data[stop : stop + 1] == b'"':
            return stop + 1
        if stop == place:  # a backslash is the last byte: that is no JSON, as its reader will say
            return end
        place = stop
    return end


def _too_much(what: str) -> TooMuch:
    return TooMuch(
        f"The request {what}, too much to be translated for this model's backend.",
        "Send less, or use a model of a backend that speaks this protocol itself.",
    )
