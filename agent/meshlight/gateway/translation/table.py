"""Which faces can be reached by way of another one, where a backend does not have them itself."""

from collections.abc import Mapping
from typing import Protocol

from meshlight.backends.kind import BackendKind, Face
from meshlight.gateway.translation.back import Translated
from meshlight.gateway.translation.bounds import check_request
from meshlight.gateway.translation.messages import translate_count, translate_messages
from meshlight.gateway.translation.ollama_chat import translate_chat
from meshlight.gateway.translation.ollama_embed import translate_embed, translate_embeddings
from meshlight.gateway.translation.ollama_generate import translate_generate
from meshlight.gateway.translation.ollama_immediate import Immediate
from meshlight.gateway.translation.responses_api import translate_responses
from meshlight.gateway.translation.responses_memory import StoredResponses


class Translate(Protocol):
    """Translates one face's requests."""

    def __call__(self, body: bytes, model: str, *, extensions: bool, signs: bool) -> Translated | Immediate:
        """Translate a body for the route's model.

        `extensions` allows fields that are not OpenAI's own; `signs` says that the backend demands its signatures of
        thoughts back. Raises Untranslatable or BadRequest.
        """


_TABLE: Mapping[Face, tuple[Face, Translate]] = {
    "messages": ("chat/completions", translate_messages),
    "messages/count_tokens": ("chat/completions", translate_count),
    "responses": ("chat/completions", translate_responses),
    "api/chat": ("chat/completions", translate_chat),
    "api/generate": ("chat/completions", translate_generate),
    "api/embed": ("embeddings", translate_embed),
    "api/embeddings": ("embeddings", translate_embeddings),
}
_COSTS = frozenset[Face]({"messages/count_tokens"})
"""Counting by way of an answer of one token is free on one's own machines only."""


def is_reachable(face: Face, kind: BackendKind) -> bool:
    """Whether a request to `face` can go to a backend of this kind: as it is, or translated."""
    if kind.speaks(face):
        return True
    entry = _TABLE.get(face)
    return entry is not None and kind.speaks(entry[0]) and not (face in _COSTS and kind.group == "cloud")


def is_translatable(face: Face) -> bool:
    """Whether a backend without this face may be reached by another."""
    return face in _TABLE


def translate(
    face: Face, body: bytes, model: str, kind: BackendKind, stored: StoredResponses | None = None
) -> Translated | Immediate:
    """Translate a request for a backend of this kind; `stored` are the caller's responses.

    Raises Untranslatable (TooMuch for a body of too many bytes or values) or BadRequest.
    """
    check_request(body)
    extensions, signs = kind.group != "cloud", kind.kind == "gemini"
    if face == "responses":
        return translate_responses(body, model, extensions=extensions, signs=signs, stored=stored)
    return _TABLE[face][1](body, model, extensions=extensions, signs=signs)
