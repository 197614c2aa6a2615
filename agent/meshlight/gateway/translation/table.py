"""The operations that a backend without them can still serve, by translation to another operation."""

from collections.abc import Mapping
from typing import Protocol

from meshlight.domain.backend import Kind
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.anthropic.api import translate_count, translate_messages
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.bounds import check_request
from meshlight.gateway.translation.ollama.embed import translate_embed, translate_embeddings
from meshlight.gateway.translation.ollama.generate import translate_chat, translate_generate
from meshlight.gateway.translation.ollama.writer import Immediate
from meshlight.gateway.translation.responses.api import translate_responses
from meshlight.gateway.translation.responses.memory import StoredResponses


class Target(Protocol):
    """What a translation needs to know of the kind of backend that a request goes to."""

    @property
    def kind(self) -> Kind:
        """The kind's name in the configuration and in the API."""

    @property
    def group(self) -> str:
        """The group of the kind; `cloud` means strict about unknown fields, and billed per token."""

    def speaks(self, operation: Operation) -> bool:
        """Whether the kind has this operation itself."""


class Translate(Protocol):
    """Translates the requests of one operation."""

    def __call__(
        self, body: bytes, model: str, *, extensions: bool, signs: bool
    ) -> TranslatedRequest | Immediate:
        """Translate a body for the route's model.

        `extensions` allows fields that are not OpenAI's; `signs` says that the backend demands its signatures of
        thoughts back. Raises Untranslatable or BadRequest.
        """


_TABLE: Mapping[Operation, tuple[Operation, Translate]] = {
    "messages": ("chat/completions", translate_messages),
    "messages/count_tokens": ("chat/completions", translate_count),
    "responses": ("chat/completions", translate_responses),
    "api/chat": ("chat/completions", translate_chat),
    "api/generate": ("chat/completions", translate_generate),
    "api/embed": ("embeddings", translate_embed),
    "api/embeddings": ("embeddings", translate_embeddings),
}
_COSTS = frozenset[Operation]({"messages/count_tokens"})
"""Counting tokens by an answer of one token is free on one's own machines only."""


def is_reachable(operation: Operation, kind: Target) -> bool:
    """Whether a backend of this kind can serve an operation: itself, or by translation."""
    if kind.speaks(operation):
        return True
    entry = _TABLE.get(operation)
    return entry is not None and kind.speaks(entry[0]) and not (operation in _COSTS and kind.group == "cloud")


def is_translatable(operation: Operation) -> bool:
    """Whether an operation can be translated to another."""
    return operation in _TABLE


def translate(
    operation: Operation, body: bytes, model: str, kind: Target, stored: StoredResponses | None = None
) -> TranslatedRequest | Immediate:
    """Translate a request for a backend of this kind; `stored` are the caller's responses.

    Raises Untranslatable (TooMuch for a body of too many bytes or values) or BadRequest.
    """
    check_request(body)
    extensions, signs = kind.group != "cloud", kind.kind == "gemini"
    if operation == "responses":
        return translate_responses(body, model, extensions=extensions, signs=signs, stored=stored)
    return _TABLE[operation][1](body, model, extensions=extensions, signs=signs)
