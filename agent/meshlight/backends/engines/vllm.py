"""vLLM's OpenAI server.

Beyond the ids it reports the length of a context, and its version. Its `/load` is 0 unless it was started with
`--enable-server-load-tracking`, so it is not read; `root` may be a path on its disk and is not passed on.
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


class Vllm(BackendKind):
    """Recognised by `owned_by: vllm` and by `/version`, since some wrappers use the same owner.

    It listens only once its model is loaded, so a loading state is never seen.
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

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """Two GETs; with `--api-key` the list is refused, but its 401 and the open `/version` show what it is."""
        reply = await fetch_without_key(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        wants_key = reply.status == 401 and message_of(reply) == "Unauthorized"
        if not wants_key and (listing is None or _OWNER not in listing.owners):
            return None
        if version_of(await fetch_without_key(upstream, "/version")) is None:
            return None
        return self.detected(upstream, listing.models if listing else ())

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Read its metadata beside the probes."""
        return MetadataChannel(self, VllmMetadata(), deps)

    def is_own_list(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — the list is enough
        """Whether an owner is vLLM; an empty list has no owner."""
        return not listing.models or _OWNER in listing.owners


class VllmMetadata:
    """One GET of `/version`; the rest is in the list."""

    def __init__(self) -> None:
        self._version = ""

    async def read(self, query: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Read the version; every listed model is in memory, since it listens only then."""
        self._version = short_text(read_object(await query("/version")).get("version")) or self._version
        items = read_items(listed.body)
        details = {
            model: ModelDetail(context=tokens(items.get(model, {}).get("max_model_len")), loaded=True)
            for model in listed.models
        }
        return MetadataSnapshot(details=details, about={"Version": self._version} if self._version else {})
