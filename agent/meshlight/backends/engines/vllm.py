"""vLLM's OpenAI server.

What vLLM tells beyond the ids: the length of a context, and its version.

Its `/load` says 0 unless it was started with `--enable-server-load-tracking`, so nothing can be told by it;
`root` may be a path on its disk and is not passed on.
"""

from meshlight.backends.base import MODELS, Channel, ChannelDeps, DetectedEngine, Engine, HttpClient, ask
from meshlight.backends.metadata import (
    EngineQuery,
    MetadataChannel,
    MetadataSnapshot,
    ModelListReply,
    read_object,
    short_text,
    tokens,
    version_of,
)
from meshlight.backends.model_list import Listing, read_items, read_models
from meshlight.domain.backend import ModelDetail
from meshlight.domain.operations import Operation
from meshlight.http_client.error_text import message_of
from meshlight.http_client.response import Reply

_OWNER = "vllm"


class Vllm(Engine):
    """Its models say `owned_by: vllm`, as do some wrappers' that borrowed the word: `/version` confirms it.

    It listens only when its model is loaded, so it never warms up visibly.
    """

    kind = "vllm"
    label = "vLLM"
    start = "Start it (`vllm serve MODEL`)"
    usual_ports = (8000,)
    operations = frozenset[Operation](
        {
            "chat/completions",
            "completions",
            "embeddings",
            "responses",
            "rerank",
            "messages",
            "messages/count_tokens",
            "audio/transcriptions",
            "audio/translations",
        }
    )

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """Two GETs; with `--api-key` the list is refused, but its 401 and the open version page tell."""
        reply = await ask(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        wants_key = reply.status == 401 and message_of(reply) == "Unauthorized"
        if not wants_key and (listing is None or _OWNER not in listing.owners):
            return None
        if version_of(await ask(upstream, "/version")) is None:
            return None
        return self.found(upstream, listing.models if listing else ())

    def open(self, means: ChannelDeps) -> Channel:
        """Keep what it tells of itself and its models."""
        return MetadataChannel(self, VllmMetadata(), means)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — the list alone tells
        """A list with models of which none is vLLM's is another engine's."""
        return not listing.models or _OWNER in listing.owners


class VllmMetadata:
    """One GET of `/version`; the rest is in the list."""

    def __init__(self) -> None:
        self._version = ""

    async def tell(self, ask: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Ask for the version; a model that it lists is in memory: it listens only then."""
        self._version = short_text(read_object(await ask("/version")).get("version")) or self._version
        items = read_items(listed.body)
        details = {
            model: ModelDetail(context=tokens(items.get(model, {}).get("max_model_len")), loaded=True)
            for model in listed.models
        }
        return MetadataSnapshot(details=details, about={"Version": self._version} if self._version else {})
