"""The operations that a backend without them can still serve, by translation to another operation."""

from collections.abc import Mapping
from typing import Final, Protocol

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


class Translate(Protocol):
    """Translates the requests of one operation."""

    def __call__(
        self, body: bytes, model: str, *, extensions: bool, signs: bool
    ) -> TranslatedRequest | Immediate:
        """Translate a body for the route's model.

        `extensions` allows fields that are not OpenAI's; `signs` says that the backend demands its signatures of
        thoughts back. Raises Untranslatable or BadRequest.
        """


_TABLE: Final[Mapping[Operation, Operation]] = {
    "messages": "chat/completions",
    "messages/count_tokens": "chat/completions",
    "responses": "chat/completions",
    "api/chat": "chat/completions",
    "api/generate": "chat/completions",
    "api/embed": "embeddings",
    "api/embeddings": "embeddings",
}
_imported: Final[dict[Operation, Translate]] = {}
"""What translates an operation, since there was a first request for it: the modules take two megabytes."""
_COSTS: Final = frozenset[Operation]({"messages/count_tokens"})
"""Counting tokens by an answer of one token is free on one's own machines only."""


def is_reachable(operation: Operation, kind: Target) -> bool:
    """Whether a backend of this kind can serve an operation: itself, or by translation."""
    if kind.speaks(operation):
        return True
    other = _TABLE.get(operation)
    return other is not None and kind.speaks(other) and not (operation in _COSTS and kind.group == "cloud")


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
        from meshlight.gateway.translation.responses.api import translate_responses  # noqa: PLC0415 - see `_imported`

        return translate_responses(body, model, extensions=extensions, signs=signs, stored=stored)
    made = _imported.get(operation)
    if made is None:
        made = _imported[operation] = _import(operation)
    return made(body, model, extensions=extensions, signs=signs)


def _import(operation: Operation) -> Translate:
    if operation in {"messages", "messages/count_tokens"}:
        from meshlight.gateway.translation.anthropic.api import (  # noqa: PLC0415 - see `_imported`
            translate_count,
            translate_messages,
        )

        return translate_messages if operation == "messages" else translate_count
    if operation in {"api/chat", "api/generate"}:
        from meshlight.gateway.translation.ollama.generate import (  # noqa: PLC0415
            translate_chat,
            translate_generate,
        )

        return translate_chat if operation == "api/chat" else translate_generate
    from meshlight.gateway.translation.ollama.embed import (  # noqa: PLC0415
        translate_embed,
        translate_embeddings,
    )

    return translate_embed if operation == "api/embed" else translate_embeddings
