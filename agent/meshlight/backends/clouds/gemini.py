"""Google's Gemini API (not Vertex AI, which has other keys and addresses)."""

from urllib.parse import quote

from msgspec import Raw, Struct

from meshlight.backends.base import token_of
from meshlight.backends.clouds.base import Cloud, Page, is_cursor
from meshlight.backends.metadata import mapped, short_texts, tokens
from meshlight.backends.model_list import Facts, read_items
from meshlight.domain.backend import ModelDetail
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.operations import GEMINI_OPERATIONS, Operation
from meshlight.http_client.reply import Headers

_LIST = "/v1beta/models?pageSize=1000"
_OPENAI = "/v1beta/openai"
_PREFIX = "models/"
_METHODS = {"generateContent": ("chat",), "embedContent": ("embeddings",), "predict": ("image",)}
"""Its methods that an operation can use → our names of capabilities; others are live audio, video or old."""


class _Envelope(Struct, rename="camel"):
    models: Raw
    next_page_token: str | None = None


class Gemini(Cloud):
    """Its own API takes the key in a header of its own; its OpenAI-compatible one is below another path.

    The key is never sent in a query, since queries end up in logs.
    Sources: ai.google.dev/api/models, ai.google.dev/gemini-api/docs/openai, ai.google.dev/gemini-api/docs/api-key.
    """

    kind = "gemini"
    label = "Gemini"
    about = "Google's Gemini by its own API, with a key from AI Studio"
    default_url = "https://generativelanguage.googleapis.com"
    key_placeholder = "AIza…"
    list_path = _LIST
    has_other_paths = False
    operations = frozenset[Operation](
        {"chat/completions", "embeddings", "images/generations", *GEMINI_OPERATIONS}
    )

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:
        """Return the key in the header of the API that has the operation."""
        if operation is not None and operation not in GEMINI_OPERATIONS:
            return super().authorize(secret, operation)
        token = token_of(secret)
        return ((b"x-goog-api-key", token),) if token else ()

    def path(self, operation: Operation, path: str) -> str:
        """Return the path of an operation.

        Gemini's own are below `/v1beta`: google-genai uses `/v1` when it is given a base URL; there Gemini refuses
        system instructions, tools and thinking.
        """
        if operation not in GEMINI_OPERATIONS:
            return _OPENAI + path.removeprefix("/v1")
        return f"/v1beta/{path.removeprefix('/v1/')}" if path.startswith("/v1/") else path

    def read_page(self, body: bytes) -> Page | None:
        """Read a page of the list, without what no operation can use (video, live audio)."""
        envelope = decode_or_none(body, _Envelope)
        if envelope is None:
            return None
        details = {
            name.removeprefix(_PREFIX): _detail(item)
            for name, item in read_items(body, "models").items()
            if _is_usable(item)
        }
        token = envelope.next_page_token
        path = f"{_LIST}&pageToken={quote(token or '', safe='')}"
        return Page(tuple(details), details, path if is_cursor(token) else "")


def _is_usable(item: Facts) -> bool:
    methods = item.get("supportedGenerationMethods")
    return not isinstance(methods, list) or any(method in _METHODS for method in short_texts(methods))


def _detail(item: Facts) -> ModelDetail:
    capabilities = mapped(short_texts(item.get("supportedGenerationMethods")), _METHODS)
    return ModelDetail(
        context=tokens(item.get("inputTokenLimit")),
        capabilities=(*capabilities, "thinking") if item.get("thinking") is True else capabilities,
    )
