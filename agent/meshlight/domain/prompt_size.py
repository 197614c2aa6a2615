"""How many tokens a prompt has, estimated from its bytes: decoding it a second time would cost more than it is worth.

English and code have about four bytes a token, other scripts about three, as the tokenizers of today's models count
them. What a model really counts is learned from the `usage` of its answers (`Calibration`).
A file in base64 counts as a picture, in a data URL as well as in a field of its own.
"""

import re

from msgspec import Struct

from meshlight.domain.median import median

ASCII_BYTES_PER_TOKEN = 4.0
OTHER_BYTES_PER_TOKEN = 3.0
ESCAPE_BYTES = 6
"""Bytes of an escape by four hexadecimal digits, which stands for one character of another script."""
PICTURE_TOKENS = 1_000
"""What a picture counts, whatever its size; models count between 85 and 1,600."""
FEWEST_OF_PICTURE = 64
ASCII_BYTES_AT_MOST, OTHER_BYTES_AT_MOST, ESCAPES_AT_MOST = 6.7, 7.5, 4.0
"""Bytes (or escapes) of a token at the most, over a whole prompt: tokenizers with large vocabularies take long words
of most languages as one token."""
SAMPLES_KEPT = 15
_SMALLEST_SAMPLE = 50
"""Prompts of fewer tokens say little: their frame and the chat template outweigh them."""
_WIDEST = 4.0
"""An answer that says more than so many times the estimate, or so much less, counted something else."""
_ASCII = bytes(range(128))
_BASE64 = re.compile(rb';base64,[^"\\]*+')
_BARE_BASE64 = re.compile(rb'"(?:[A-Za-z0-9+/_-]|\\/){1024,}+={0,2}"')
_BARE_MIN = 1_024
"""Characters of a file in base64; anything shorter may be a word."""


class PromptSize(Struct, frozen=True):
    """What a request's body is made of, its frame included."""

    plain: int
    """Bytes of ASCII."""
    other: int
    """Bytes of other scripts."""
    escapes: int
    """Characters of other scripts that are written as escapes."""
    pictures: int
    """Pictures, sounds and documents in it."""

    @property
    def tokens(self) -> int:
        """How many tokens it has, as a rule."""
        return round(
            self.plain / ASCII_BYTES_PER_TOKEN
            + self.other / OTHER_BYTES_PER_TOKEN
            + self.escapes
            + self.pictures * PICTURE_TOKENS
        )

    @property
    def fewest(self) -> int:
        """How many tokens it has at least, whatever the tokenizer."""
        return int(
            self.plain / ASCII_BYTES_AT_MOST
            + self.other / OTHER_BYTES_AT_MOST
            + self.escapes / ESCAPES_AT_MOST
            + self.pictures * FEWEST_OF_PICTURE
        )


def measure(body: bytes) -> PromptSize:
    """Return what a request's body is made of; takes about 20 ms for 4 MB."""
    pictures = bare = 0
    if body.find(b";base64,") != -1:
        body, pictures = _BASE64.subn(b"", body)
    if len(body) > _BARE_MIN:
        body, bare = _BARE_BASE64.subn(b"", body)
    other = 0 if body.isascii() else len(body.translate(None, _ASCII))
    escapes = body.count(b"\\u") if body.find(b"\\") != -1 else 0
    plain = max(len(body) - other - ESCAPE_BYTES * escapes, 0)
    return PromptSize(plain, other, escapes, pictures + bare)


def estimate(body: bytes) -> int:
    """Return the tokens of a request's body, its frame included."""
    return measure(body).tokens


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
