"""Translates Ollama's two embedding APIs to OpenAI's and back, for backends that do not have Ollama's API.

`options`, `keep_alive` and `truncate` are ignored: they concern how Ollama runs the model. A text that is too long is
refused by the engine, with its own message, where Ollama would truncate it. A request without text is answered at
once without embeddings, as by Ollama.
"""

import base64
import binascii
import sys
from array import array
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.chat import BufferedTranslator, count, error_message, read, reported_error
from meshlight.gateway.translation.ollama.request import read_body
from meshlight.gateway.translation.ollama.schema import EmbeddingsRequest, EmbedRequest
from meshlight.gateway.translation.ollama.writer import (
    SYSTEM,
    Clock,
    Immediate,
    error_body,
    nanoseconds,
    no_embedding,
    no_embeddings,
)

_embed = msgspec.json.Decoder(EmbedRequest)
_embeddings = msgspec.json.Decoder(EmbeddingsRequest)
_encode = msgspec.json.Encoder().encode


def translate_embed(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,  # noqa: ARG001 — all translations have the same parameters
    signs: bool = False,  # noqa: ARG001 — the same
    clock: Clock = SYSTEM,
) -> TranslatedRequest | Immediate:
    """Translate a body of `/api/embed`; raises Untranslatable and BadRequest."""
    request = read_body(body, _embed, EmbedRequest)
    texts = [request.input] if isinstance(request.input, str) else request.input
    if not texts or texts == [""]:
        return no_embeddings(request.model)
    fields: dict[str, Any] = {"model": model, "input": request.input, "encoding_format": "float"}
    if request.dimensions:
        fields["dimensions"] = request.dimensions
    return TranslatedRequest(
        "embeddings", _encode(fields), EmbeddingTranslator(request.model, len(texts), clock)
    )


def translate_embeddings(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,  # noqa: ARG001 — all translations have the same parameters
    signs: bool = False,  # noqa: ARG001 — the same
    clock: Clock = SYSTEM,
) -> TranslatedRequest | Immediate:
    """Translate a body of `/api/embeddings`, the older API for one text; raises Untranslatable and BadRequest."""
    request = read_body(body, _embeddings, EmbeddingsRequest)
    if not request.prompt:
        return no_embedding()
    fields = {"model": model, "input": request.prompt, "encoding_format": "float"}
    return TranslatedRequest("embeddings", _encode(fields), EmbeddingTranslator(None, 1, clock))


class _Vector(Struct, frozen=True):
    embedding: Raw
    index: int | None = None


class _Vectors(Struct, frozen=True):
    data: list[_Vector] | None = None
    usage: Any = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Vectors)
_text = msgspec.json.Decoder(str)
_NUMBERS = b"0123456789+-.eE, \t\r\n"
_AT_ONCE = 4_096
"""Numbers that are decoded at one time."""
_BESIDE = 1_000
"""Values of an answer besides its embeddings."""


class EmbeddingTranslator(BufferedTranslator):
    """Translates one answer; `model` is the name that the caller fields for, None for the older API for one text."""

    __slots__ = ("_clock", "_count", "_model", "_started")

    def __init__(self, model: str | None, count: int, clock: Clock) -> None:
        super().__init__()
        self._model = model
        self._count = count
        """How many texts were fields about."""
        self._clock = clock
        self._started = clock.steady()

    def end(self) -> bytes:
        """Return the embeddings in the order of their texts; raises TranslationFailed if some are missing."""
        data = self._body.take()
        # The numbers are not looked at, so they don't count; each vector, and little else, is an object.
        if data.count(b"{") > self._count + _BESIDE:
            raise TranslationFailed(f"It sent more than {self._count} embeddings for {self._count} texts.")
        found = read(data, _decoder, counted=False)
        if found.error:
            raise reported_error(data)
        listed = found.data or []
        if len(listed) != self._count:
            raise TranslationFailed(f"It sent {len(listed)} embeddings for {self._count} texts.")
        if all(vector.index is not None for vector in listed):
            listed.sort(key=lambda vector: vector.index or 0)
        vectors = [_numbers(vector.embedding) for vector in listed]
        if self._model is None:
            return _encode({"embedding": vectors[0]})
        answer: dict[str, Any] = {"model": self._model, "embeddings": vectors}
        answer["total_duration"] = nanoseconds(self._clock.steady() - self._started)
        if tokens := count(found.usage, "prompt_tokens"):
            answer["prompt_eval_count"] = tokens
        return _encode(answer)

    def broken(self, why: str) -> None:
        """Return None: half a JSON object can't be repaired."""

    def error(self, status: int, body: bytes) -> bytes:
        """Return Ollama's error object with the backend's own message."""
        return error_body(error_message(body, status))


def _numbers(found: Raw) -> Raw:
    """Return the numbers as they stand; some servers send base64 of 32-bit floats whatever they were fields for."""
    data = bytes(found).strip()
    if data[:1] == b"[" and not data[1:-1].translate(None, _NUMBERS):
        return Raw(data)
    try:
        numbers = array("f", base64.b64decode(_text.decode(data), validate=True))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise TranslationFailed("It sent an embedding that is neither numbers nor base64.") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    pieces = (numbers[start : start + _AT_ONCE].tolist() for start in range(0, len(numbers), _AT_ONCE))
    return Raw(b"[%b]" % b",".join(_encode(piece)[1:-1] for piece in pieces))
