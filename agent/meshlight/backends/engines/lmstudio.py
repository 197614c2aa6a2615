"""LM Studio's local server.

What LM Studio's own list tells (`GET /api/v0/models`, described at lmstudio.ai/docs/developer/rest/endpoints).
"""

from meshlight.backends.base import MODELS, Channel, ChannelDeps, DetectedEngine, Engine, HttpClient, ask
from meshlight.backends.metadata import (
    EngineQuery,
    MetadataChannel,
    MetadataSnapshot,
    ModelListReply,
    mapped,
    short_text,
    short_texts,
    tokens,
)
from meshlight.backends.model_list import Facts, Listing, read_items, read_models
from meshlight.domain.backend import ModelDetail
from meshlight.domain.operations import Operation
from meshlight.http_client.error_text import message_of
from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Reply

_NATIVE = "/api/v0/models"
_OTHER_OWNERS = frozenset({"llamacpp", "vllm", "library", "lemonade", "koboldcpp", "sglang", "humanity"})
_OTHER_SERVERS = ("llama.cpp", "basehttp/", "uvicorn")


class LmStudio(Engine):
    """It answers unknown paths with 200 and `{"error": "Unexpected endpoint or method. …"}`.

    Its list at `/v1/models` is what can be served: all that is downloaded, or, with just-in-time loading off,
    all that is loaded. The native list knows more, but not that.
    """

    kind = "lmstudio"
    label = "LM Studio"
    start = "Start its server (LM Studio → Developer → Start server, or `lms server start`)"
    usual_ports = (1234,)
    operations = frozenset[Operation](
        {"chat/completions", "completions", "embeddings", "responses", "messages", "messages/count_tokens"}
    )

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """Two GETs; the second, to its native list, only of a server that may be it."""
        reply = await ask(upstream, MODELS)
        if reply.status == 401 and "LM Studio" in message_of(reply):
            return self.found(upstream, ())
        listing = read_models(reply.body) if reply.status == 200 else None
        if listing is None or not self.is_mine(reply, listing):
            return None
        native = await ask(upstream, _NATIVE)
        if native.status != 200 or read_models(native.body) is None:
            return None
        return self.found(upstream, listing.models)

    def open(self, means: ChannelDeps) -> Channel:
        """Keep what it tells of itself and its models."""
        return MetadataChannel(self, LmStudioMetadata(), means)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:
        """Whether the answer bears no other engine's mark; its own has changed over time."""
        server = header_value(reply.headers, b"server").lower()
        return not listing.owners & _OTHER_OWNERS and not server.startswith(_OTHER_SERVERS)


NATIVE_LIST = "/api/v0/models"
_LOADED = {"loaded": True, "not-loaded": False, "loading": False}
_TYPES = {
    "llm": ("chat", "completion"),
    "vlm": ("chat", "completion", "vision"),
    "embeddings": ("embeddings",),
    "embedding": ("embeddings",),
}
_CAN = {"tool_use": ("tools",), "vision": ("vision",), "reasoning": ("thinking",)}


class LmStudioMetadata:
    """One GET; it says neither its version nor how large a model is."""

    def __init__(self) -> None:
        self._items: dict[str, Facts] = {}

    async def tell(self, ask: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Ask for the native list; a model that is not loaded is loaded when it is asked for."""
        body = await ask(NATIVE_LIST)
        self._items = (read_items(body) if body else {}) or self._items
        details = {model: _detail(item) for model in listed.models if (item := self._items.get(model))}
        loaded = sum(detail.loaded is True for detail in details.values())
        about = {"Loaded": f"{loaded} of {len(listed.models)} models"} if details else {}
        return MetadataSnapshot(details=details, about=about)


def _detail(item: Facts) -> ModelDetail:
    most = tokens(item.get("max_context_length"))
    can = (
        *mapped((short_text(item.get("type")),), _TYPES),
        *mapped(short_texts(item.get("capabilities")), _CAN),
    )
    return ModelDetail(
        context=tokens(item.get("loaded_context_length")) or most,
        loaded=_LOADED.get(short_text(item.get("state"))),
        quantization=short_text(item.get("quantization")),
        capabilities=tuple(dict.fromkeys(can)),
    )
