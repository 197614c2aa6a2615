"""Any server that speaks OpenAI's API: SGLang, LocalAI, TabbyAPI, a company's own."""

import re
from collections.abc import Mapping

from msgspec.structs import replace

from meshlight.backends.base import (
    MODELS,
    MODELS_FIELD,
    PROXY_FIELD,
    BackendKind,
    DetectedEngine,
    Field,
    HttpClient,
    fetch_without_key,
    token_of,
)
from meshlight.backends.model_list import Listing, read_models
from meshlight.domain.errors import UpstreamError
from meshlight.domain.operations import Operation
from meshlight.http_client.address import Address
from meshlight.http_client.reply import Headers

_NAMES: Mapping[str, str] = {
    "sglang": "SGLang",
    "lemonade": "Lemonade",
    "koboldcpp": "KoboldCpp",
    "localai": "LocalAI",
    "humanity": "GPT4All",
    "gpt4all": "GPT4All",
    "jan": "Jan",
    "tabbyapi": "TabbyAPI",
}
"""What such a server calls itself, as the owner of its models or in its page's title, and its name.

No others: an owner may be any text, and people trust a name in the list of backends."""
_AZURE = re.compile(r"(^|&)api-version=")
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,200})<", re.IGNORECASE)
_TITLE_WITHIN = 4_096
"""Bytes of the front page that are searched for its title."""


class OpenAICompatible(BackendKind):
    """Given by URL; a base with a version of its own (`/api/paas/v4`) has its list at `/models` below it.

    All operations are tried there, since it is not known which it has.
    """

    kind = "openai-compatible"
    label = "OpenAI-compatible"
    start = "Start the server"

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its address and key; the models if it has no list of them; the proxy if it is reached through one."""
        return (*super().fields, MODELS_FIELD, PROXY_FIELD)

    def authorize_at(
        self, address: Address, secret: str | None, operation: Operation | None = None
    ) -> Headers:
        """Carry the key as a bearer token; Azure's API with `api-version` in the query has a header of its own.

        Source: learn.microsoft.com/azure/ai-foundry/openai/reference, "Authentication".
        """
        token = token_of(secret)
        if token and _AZURE.search(address.query):
            return ((b"api-key", token),)
        return self.authorize(secret, operation)

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """One GET for a list of models that is certainly OpenAI's; one more for the server's name."""
        reply = await fetch_without_key(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        if listing is None or not listing.is_openai:
            return None
        found = self.detected(upstream, listing.models)
        name = await _name(upstream, listing)
        return replace(found, name=f"{name} :{upstream.address.port}") if name else found


async def _name(upstream: HttpClient, listing: Listing) -> str:
    """Return the server's name; empty if it names itself in no known way."""
    words = [owner.lower() for owner in sorted(listing.owners)]
    if not any(word in _NAMES for word in words):
        try:
            front = await fetch_without_key(upstream, "/")
        except UpstreamError:
            return ""
        title = _TITLE.search(front.body[:_TITLE_WITHIN])
        words = re.findall(r"[a-z0-9]+", title[1].decode("latin-1").lower()) if title else []
    return next((_NAMES[word] for word in words if word in _NAMES), "")
