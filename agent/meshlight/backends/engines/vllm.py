"""vLLM's OpenAI server.

Beyond the ids it reports the length of a context, its version, and in `/metrics` how many requests of all its clients
run and wait (docs.vllm.ai, "Production Metrics"). How many it would run at once is not told: `--max-num-seqs` is the
most, but the memory left for caches is less, depending on the prompts. So while some wait, as many as run are its
slots. Its `/load` is 0 unless it was started with `--enable-server-load-tracking`, so it is not read; `root` may be a
path on its disk and is not passed on.
"""

import re

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
    COUNT_MAX,
    EVERY_S,
    WARMTH_EVERY_S,
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
from meshlight.http_client.reply import Reply

_OWNER = "vllm"
_GAUGE = re.compile(
    rb"^vllm:num_requests_(running|waiting)(?:\{[^\n]*\})?"
    rb"[ \t]{1,8}(\d{1,9})(?:\.\d{0,17})?(?:[ \t]{1,8}\d{1,17})?\r?$",
    re.MULTILINE,
)
"""A line for each model and engine of it. Its parts are bounded: a line without end would be split in every way."""


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
    """GETs of `/version` and `/metrics`; the rest is in the list.

    The metrics are read every 10 s only while it is used or has work: they are a few thousand lines.
    """

    def __init__(self) -> None:
        self._version = ""

    async def read(self, query: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Read the version; every listed model is in memory, since it listens only then."""
        self._version = short_text(read_object(await query("/version")).get("version")) or self._version
        running, waiting = _load(await query("/metrics"))
        items = read_items(listed.body)
        details = {
            model: ModelDetail(
                context=tokens(items.get(model, {}).get("max_model_len")),
                loaded=True,
                running=running if waiting else None,
                waiting=waiting or None,
            )
            for model in listed.models
        }
        about = {
            "Version": self._version,
            "Its queue": f"{waiting:,} wait, {running:,} run" if waiting else "",
        }
        return MetadataSnapshot(
            details=details,
            about={label: text for label, text in about.items() if text},
            every_s=WARMTH_EVERY_S if running or waiting else EVERY_S,
            used_every_s=WARMTH_EVERY_S,
        )


def _load(metrics: bytes | None) -> tuple[int, int]:
    """Return how many requests run and wait, of all models and engines; zeros where that is not told."""
    found = {b"running": 0, b"waiting": 0}
    for name, value in _GAUGE.findall(metrics or b""):
        found[name] = min(found[name] + int(value), COUNT_MAX)
    return found[b"running"], found[b"waiting"]
