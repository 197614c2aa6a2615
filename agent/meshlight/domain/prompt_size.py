"""How many tokens a prompt has, estimated from its bytes: decoding it a second time would cost more than it is worth.

English and code have about four bytes a token, other scripts about three, as the tokenizers of today's models count
them. What a model really counts is learned from the `usage` of its answers (`Calibration`).
"""

import re
from statistics import median

ASCII_BYTES_PER_TOKEN = 4.0
OTHER_BYTES_PER_TOKEN = 3.0
ESCAPE_BYTES = 6
"""Bytes of `\\u20ac`, which stands for one character of another script."""
PICTURE_TOKENS = 1_000
"""What a picture counts, whatever its size; models count between 85 and 1,600."""
SAMPLES_KEPT = 15
_SMALLEST_SAMPLE = 50
"""Prompts of fewer tokens say little: their frame and the chat template outweigh them."""
_WIDEST = 4.0
"""An answer that says more than so many times the estimate, or so much less, counted something else."""
_ASCII = bytes(range(128))
_BASE64 = re.compile(rb';base64,[^"\\]*+')


def estimate(body: bytes) -> int:
    """Return the tokens of a request's body, its frame included."""
    pictures = 0
    if b";base64," in body:
        body, pictures = _BASE64.subn(b"", body)
    other = 0 if body.isascii() else len(body.translate(None, _ASCII))
    escapes = body.count(b"\\u") if b"\\u" in body else 0
    plain = len(body) - other - ESCAPE_BYTES * escapes
    return round(
        plain / ASCII_BYTES_PER_TOKEN + other / OTHER_BYTES_PER_TOKEN + escapes + pictures * PICTURE_TOKENS
    )


class Calibration:
    """How a model's own counts relate to the estimates: the median of the last ratios."""

    __slots__ = ("_ratios", "factor")

    def __init__(self) -> None:
        self._ratios: list[float] = []
        self.factor = 1.0

    def learn(self, estimated: int, counted: int) -> None:
        """Take in what an answer said of its prompt."""
        if estimated < _SMALLEST_SAMPLE or counted < _SMALLEST_SAMPLE:
            return
        ratio = counted / estimated
        if not 1 / _WIDEST <= ratio <= _WIDEST:
            return
        self._ratios = [*self._ratios[-(SAMPLES_KEPT - 1) :], ratio]
        self.factor = median(self._ratios)

    def tokens(self, estimated: int) -> int:
        """Return the tokens that this model is expected to count."""
        return round(estimated * self.factor)
