"""The operations that a backend without them can still serve, by translation to another operation.

Each translation is imported by its first request: it is large, and many services are asked for none.
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import Mapping
from typing import Protocol

from meshlight.domain.backend import Kind
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.bounds import check_request
from meshlight.gateway.translation.ollama.writer import Immediate
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


_TARGETS: Mapping[Operation, Operation] = {
    "messages": "chat/completions",
    "messages/count_tokens": "chat/completions",
    "responses": "chat/completions",
    "api/chat": "chat/completions",
    "api/generate": "chat/completions",
    "api/embed": "embeddings",
    "api/embeddings": "embeddings",
}
_COSTS = frozenset[Operation]({"messages/count_tokens"})
"""Counting tokens by an answer of one token is free on one's own machines only."""


def is_reachable(operation: Operation, kind: Target) -> bool:
    """Whether a backend of this kind can serve an operation: itself, or by translation."""
    if kind.speaks(operation):
        return True
    target = _TARGETS.get(operation)
    return target is not None and kind.speaks(target) and not (operation in _COSTS and kind.group == "cloud")


def is_translatable(operation: Operation) -> bool:
    """Whether an operation can be translated to another."""
    return operation in _TARGETS


def translate(
    operation: Operation, body: bytes, model: str, kind: Target, stored: StoredResponses | None = None
) -> TranslatedRequest | Immediate:
    """Translate a request for a backend of this kind; `stored` are the caller's responses.

    Raises Untranslatable (TooMuch for a body of too many bytes or values) or BadRequest.
    """
    check_request(body)
    extensions, signs = kind.group != "cloud", kind.kind == "gemini"
    if operation == "responses":
        from meshlight.gateway.translation.responses.api import translate_responses

        return translate_responses(body, model, extensions=extensions, signs=signs, stored=stored)
    if operation in {"messages", "messages/count_tokens"}:
        from meshlight.gateway.translation.anthropic import api

        anthropic = api.translate_messages if operation == "messages" else api.translate_count
        return anthropic(body, model, extensions=extensions, signs=signs)
    if operation in {"api/chat", "api/generate"}:
        from meshlight.gateway.translation.ollama import generate

        ollama = generate.translate_chat if operation == "api/chat" else generate.translate_generate
        return ollama(body, model, extensions=extensions, signs=signs)
    from meshlight.gateway.translation.ollama import embed

    embedding = embed.translate_embed if operation == "api/embed" else embed.translate_embeddings
    return embedding(body, model, extensions=extensions, signs=signs)
