"""Answers that no backend need be asked for: Ollama's clients say "load this model" by asking nothing of it."""

import msgspec
from msgspec import Struct

from meshlight.gateway.translation.ollama_clock import Clock
from meshlight.gateway.translation.ollama_lines import Ask, End, Piece, Teller

_encode = msgspec.json.Encoder().encode


class Immediate(Struct, frozen=True):
    """The whole answer, with status 200, in place of a request."""

    body: bytes
    content_type: bytes = b"application/json"


def loaded(ask: Ask, clock: Clock) -> Immediate:
    """Return the answer that a model is there; Ollama sends it as one object even where a stream was asked for."""
    return Immediate(Teller(ask, clock).end(Piece(), End("load")))


def no_embeddings(model: str) -> Immediate:
    """Return the answer of `/api/embed` to no text at all."""
    return Immediate(_encode({"model": model, "embeddings": []}))


def no_embedding() -> Immediate:
    """Return the answer of `/api/embeddings` to an empty text."""
    return Immediate(_encode({"embedding": []}))
