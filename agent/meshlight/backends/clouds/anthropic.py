"""Anthropic."""

from urllib.parse import quote

from msgspec import Raw, Struct

from meshlight.backends.base import token_of
from meshlight.backends.clouds.base import Cloud, Page, is_cursor
from meshlight.backends.metadata import as_object, tokens
from meshlight.backends.model_list import Facts, read_items
from meshlight.domain.backend import ModelDetail
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.operations import ANTHROPIC_OPERATIONS, Operation
from meshlight.http_client.reply import Headers

VERSION = (b"anthropic-version", b"2023-06-01")
"""For clients that name none: it accepts the most (2026-10-21 refuses `temperature`, `top_p`, `top_k`)."""
_LIST = "/v1/models?limit=1000"
_CAPABILITIES = {"image_input": "vision", "thinking": "thinking"}
"""Its list's name of a capability → ours."""


class _Envelope(Struct):
    data: Raw
    has_more: bool | None = False
    last_id: str | None = None


class Anthropic(Cloud):
    """Its own API has a key header of its own; its OpenAI-compatible endpoint takes a bearer token.

    Sources: platform.claude.com/docs/en/api/overview, …/versioning, …/models-list, …/openai-sdk.
    """

    kind = "anthropic"
    label = "Anthropic"
    about = "Claude by Anthropic's own API, with a key of your account"
    default_url = "https://api.anthropic.com"
    key_placeholder = "sk-ant-…"
    list_path = _LIST
    has_other_paths = False
    operations = frozenset[Operation]({"chat/completions", *ANTHROPIC_OPERATIONS})

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:
        """Return the key in the header of the API that has the operation; a probe also names the version."""
        if operation is not None and operation not in ANTHROPIC_OPERATIONS:
            return super().authorize(secret, operation)
        token = token_of(secret)
        key: Headers = ((b"x-api-key", token),) if token else ()
        return (*key, VERSION) if operation is None else key

    def default_headers(self, operation: Operation) -> Headers:
        """Return a version of the API, which every native request must name; most clients do."""
        return (VERSION,) if operation in ANTHROPIC_OPERATIONS else ()

    def read_page(self, body: bytes) -> Page | None:
        """Read a page of the list, without the retired models: those can't be used any more."""
        envelope = decode_or_none(body, _Envelope)
        if envelope is None:
            return None
        items = {id_: item for id_, item in read_items(body).items() if item.get("lifecycle") != "retired"}
        path = f"{_LIST}&after_id={quote(envelope.last_id or '', safe='')}"
        return Page(
            tuple(items),
            {id_: _detail(item) for id_, item in items.items()},
            path if envelope.has_more and is_cursor(envelope.last_id) else "",
        )


def _detail(item: Facts) -> ModelDetail:
    """Return what the list says about a model; each of them can chat."""
    listed = as_object(item, "capabilities")
    more = tuple(
        word for name, word in _CAPABILITIES.items() if as_object(listed, name).get("supported") is True
    )
    return ModelDetail(
        context=tokens(item.get("max_input_tokens")), capabilities=("chat", *more) if listed else ()
    )
