"""LM Studio's local server.

Its own list (`GET /api/v0/models`, lmstudio.ai/docs/developer/rest/endpoints) says more about the models.
"""

from meshlight.backends.base import (
    MODELS,
    BackendKind,
    Channel,
    ChannelDeps,
    DetectedEngine,
    HttpClient,
    fetch_without_key,
)
from meshlight.backends.metadata import (
    WARMTH_EVERY_S,
    EngineQuery,
    MetadataChannel,
    MetadataSnapshot,
    ModelListReply,
    mapped,
    short_text,
    short_texts,
    tokens,
)
from meshlight.backends.model_control import ask, cannot, fields_of, refusal
from meshlight.backends.model_list import Facts, Listing, read_items, read_models
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.operations import Operation
from meshlight.http_client.error_text import message_of
from meshlight.http_client.headers import header_value
from meshlight.http_client.reply import Reply

NATIVE_LIST = "/api/v0/models"
_CONTROL = "/api/v1/models"
"""Its newer own API (0.4, lmstudio.ai/docs/developer/rest): a list with the loaded instances, `/load`, `/unload`."""
_LIST_S = 5.0
_INSTANCES_MAX = 16
_TOO_OLD = "its version lacks the requests for that.", "Update LM Studio to 0.4 or later."
_OTHER_OWNERS = frozenset({"llamacpp", "vllm", "library", "lemonade", "koboldcpp", "sglang", "humanity"})
_OTHER_SERVERS = ("llama.cpp", "basehttp/", "uvicorn")


class LmStudio(BackendKind):
    """It answers unknown paths with 200 and `{"error": "Unexpected endpoint or method. …"}`.

    Its list at `/v1/models` holds what can be served: every downloaded model or, with just-in-time loading off, every
    loaded one. Its own list says more, but not that.
    """

    kind = "lmstudio"
    label = "LM Studio"
    start = "Start its server (LM Studio → Developer → Start server, or `lms server start`)"
    usual_ports = (1234,)
    can_load = True
    operations = frozenset[Operation](
        {"chat/completions", "completions", "embeddings", "responses", "messages", "messages/count_tokens"}
    )

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """Two GETs; the second, for its own list, only to a server that may be LM Studio."""
        reply = await fetch_without_key(upstream, MODELS)
        if reply.status == 401 and "LM Studio" in message_of(reply):
            return self.detected(upstream, ())
        listing = read_models(reply.body) if reply.status == 200 else None
        if listing is None or not self.is_own_list(reply, listing):
            return None
        native = await fetch_without_key(upstream, NATIVE_LIST)
        if native.status != 200 or read_models(native.body) is None:
            return None
        return self.detected(upstream, listing.models)

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Read its metadata beside the probes."""
        return MetadataChannel(self, LmStudioMetadata(), deps)

    def is_own_list(self, reply: Reply, listing: Listing) -> bool:
        """Whether nothing in the answer is certainly another engine's; its own marks have changed over time."""
        server = header_value(reply.headers, b"server").lower()
        return not listing.owners & _OTHER_OWNERS and not server.startswith(_OTHER_SERVERS)

    async def load_model(
        self,
        upstream: HttpClient,
        backend: Backend,
        secret: str | None,
        model: str,
        *,
        stays: bool = True,  # noqa: ARG002 — here every loaded model does
    ) -> None:
        """Load a model, unless an instance of it is loaded: another would take its memory again."""
        if await self._instances(upstream, backend, secret, model, "load"):
            return
        headers = self.authorize_at(upstream.address, secret)
        reply = await ask(upstream, f"{_CONTROL}/load", {"model": model}, headers, backend.first_byte_s)
        self._check(reply, backend, model, "load", secret)

    async def unload_model(
        self, upstream: HttpClient, backend: Backend, secret: str | None, model: str
    ) -> None:
        """Unload every instance of a model."""
        headers = self.authorize_at(upstream.address, secret)
        for instance in await self._instances(upstream, backend, secret, model, "unload"):
            body: dict[str, object] = {"instance_id": instance}
            reply = await ask(upstream, f"{_CONTROL}/unload", body, headers, backend.first_byte_s)
            self._check(reply, backend, model, "unload", secret)

    async def _instances(
        self, upstream: HttpClient, backend: Backend, secret: str | None, model: str, verb: str
    ) -> list[str]:
        """Return the ids of the loaded instances of a model, which is named by its key or by one of these."""
        reply = await ask(upstream, _CONTROL, None, self.authorize_at(upstream.address, secret), _LIST_S)
        self._check(reply, backend, model, verb, secret)
        listed = fields_of(reply).get("models")
        if not isinstance(listed, list):
            raise cannot(backend, *_TOO_OLD)
        found: list[str] = []
        for item in listed:
            if isinstance(item, dict):
                ids = _instance_ids(item)
                found += ids if item.get("key") == model else [one for one in ids if one == model]
        return found[:_INSTANCES_MAX]

    @staticmethod
    def _check(reply: Reply, backend: Backend, model: str, verb: str, secret: str | None) -> None:
        """Raise the error for a refusal; for an unknown path it answers 200 with an error in the body."""
        said = message_of(reply)
        if "Unexpected endpoint" in said or (reply.status == 404 and not said):
            raise cannot(backend, *_TOO_OLD)
        if reply.status != 200 or "error" in fields_of(reply):
            raise refusal(reply, backend, model, verb, secret)


def _instance_ids(item: Facts) -> list[str]:
    loaded = item.get("loaded_instances")
    ids = [one.get("id") for one in loaded if isinstance(one, dict)] if isinstance(loaded, list) else []
    return [text for text in ids if isinstance(text, str) and text]


_LOADED = {"loaded": True, "not-loaded": False, "loading": False}
_TYPES = {
    "llm": ("chat", "completion"),
    "vlm": ("chat", "completion", "vision"),
    "embeddings": ("embeddings",),
    "embedding": ("embeddings",),
}
_CAPABILITIES = {"tool_use": ("tools",), "vision": ("vision",), "reasoning": ("thinking",)}


class LmStudioMetadata:
    """One GET, which says neither the version nor the size of a model."""

    def __init__(self) -> None:
        self._items: dict[str, Facts] = {}

    async def read(self, query: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Read its own list; a model that is not loaded is loaded by the first request for it."""
        body = await query(NATIVE_LIST)
        self._items = (read_items(body) if body else {}) or self._items
        details = {model: _detail(item) for model in listed.models if (item := self._items.get(model))}
        loaded = sum(detail.loaded is True for detail in details.values())
        about = {"Loaded": f"{loaded} of {len(listed.models)} models"} if details else {}
        return MetadataSnapshot(details=details, about=about, every_s=WARMTH_EVERY_S)


def _detail(item: Facts) -> ModelDetail:
    longest = tokens(item.get("max_context_length"))
    capabilities = (
        *mapped((short_text(item.get("type")),), _TYPES),
        *mapped(short_texts(item.get("capabilities")), _CAPABILITIES),
    )
    return ModelDetail(
        context=tokens(item.get("loaded_context_length")) or longest,
        loaded=_LOADED.get(short_text(item.get("state"))),
        quantization=short_text(item.get("quantization")),
        capabilities=tuple(dict.fromkeys(capabilities)),
    )
