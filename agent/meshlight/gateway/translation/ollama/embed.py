"""Ollama's embeddings by way of OpenAI's, for backends that do not speak Ollama's API.

`options`, `keep_alive` and `truncate` are passed over: they concern how Ollama runs the model, and a text that is too
long for it is refused by the engine, in its own words, where Ollama would cut it. No text is answered at once with no
embedding, as Ollama does.
"""

from typing import Any

import msgspec

from meshlight.gateway.translation.back import Translated
from meshlight.gateway.translation.ollama_clock import SYSTEM, Clock
from meshlight.gateway.translation.ollama_embed_back import EmbedBack
from meshlight.gateway.translation.ollama_immediate import Immediate, no_embedding, no_embeddings
from meshlight.gateway.translation.ollama_request import read
from meshlight.gateway.translation.ollama_shape import EmbeddingsRequest, EmbedRequest

_embed = msgspec.json.Decoder(EmbedRequest)
_embeddings = msgspec.json.Decoder(EmbeddingsRequest)
_encode = msgspec.json.Encoder().encode


def translate_embed(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,  # noqa: ARG001 — one of the translations, which are called alike
    signs: bool = False,  # noqa: ARG001 — the same
    clock: Clock = SYSTEM,
) -> Translated | Immediate:
    """Translate a body of `/api/embed`; raises Untranslatable and BadRequest."""
    request = read(body, _embed, EmbedRequest)
    texts = [request.input] if isinstance(request.input, str) else request.input
    if not texts or texts == [""]:
        return no_embeddings(request.model)
    asked: dict[str, Any] = {"model": model, "input": request.input, "encoding_format": "float"}
    if request.dimensions:
        asked["dimensions"] = request.dimensions
    return Translated("embeddings", _encode(asked), EmbedBack(request.model, len(texts), clock))


def translate_embeddings(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,  # noqa: ARG001 — one of the translations, which are called alike
    signs: bool = False,  # noqa: ARG001 — the same
    clock: Clock = SYSTEM,
) -> Translated | Immediate:
    """Translate a body of `/api/embeddings`, the older way of one text; raises Untranslatable and BadRequest."""
    request = read(body, _embeddings, EmbeddingsRequest)
    if not request.prompt:
        return no_embedding()
    asked = {"model": model, "input": request.prompt, "encoding_format": "float"}
    return Translated("embeddings", _encode(asked), EmbedBack(None, 1, clock))
