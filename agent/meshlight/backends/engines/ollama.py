"""Ollama.

Beyond its list it reports its version, the models in memory, and what each model can do. Fields are those of Ollama's
API documentation (`docs/api.md`) and `api/types.go`.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from meshlight.backends.base import (
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
    as_object,
    bytes_text,
    mapped,
    number,
    read_object,
    short_text,
    short_texts,
    tokens,
    version_of,
)
from meshlight.backends.model_control import ask, refusal
from meshlight.backends.model_list import Facts, Listing, read_items, read_tags
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.operations import OLLAMA_OPERATIONS, Operation
from meshlight.http_client.error_text import message_of

_TAGS = "/api/tags"
_GREETING = b"Ollama is running"
_FOR_EVER = -1
_CANNOT_GENERATE = "does not support generate"
"""What it says of an embedding model, which is loaded by another path."""


class Ollama(BackendKind):
    """Probed by its own list (`/api/tags`) rather than `/v1/models`: no other engine answers there."""

    kind = "ollama"
    label = "Ollama"
    start = "Start Ollama (`ollama serve`)"
    usual_ports = (11434,)
    list_path = _TAGS
    can_load = True
    operations = frozenset[Operation](
        {
            "chat/completions",
            "completions",
            "embeddings",
            "responses",
            "messages",
            "images/generations",
            "audio/speech",
            "audio/transcriptions",
            *OLLAMA_OPERATIONS,
        }
    )

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """A GET of the front page excludes other servers; only Ollama gets requests for version and models."""
        front = await fetch_without_key(upstream, "/")
        if front.status != 200 or not front.body.lstrip().startswith(_GREETING):
            return None
        if version_of(await fetch_without_key(upstream, "/api/version")) is None:
            return None
        reply = await fetch_without_key(upstream, _TAGS)
        listing = read_tags(reply.body) if reply.status == 200 else None
        return self.detected(upstream, listing.models if listing else ())

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Read its metadata beside the probes."""
        return MetadataChannel(self, OllamaMetadata(), deps)

    def read_list(self, body: bytes) -> Listing | None:
        """Read `/api/tags`."""
        return read_tags(body)

    async def load_model(
        self,
        upstream: HttpClient,
        backend: Backend,
        secret: str | None,
        model: str,
        *,
        stays: bool = True,
    ) -> None:
        """Load a model by a request without a prompt, to stay until it is unloaded or for Ollama's usual time."""
        await self._keep(upstream, backend, secret, model, _FOR_EVER if stays else None)

    async def unload_model(
        self, upstream: HttpClient, backend: Backend, secret: str | None, model: str
    ) -> None:
        """Unload a model: Ollama lets its running answers end first."""
        await self._keep(upstream, backend, secret, model, 0)

    async def _keep(
        self, upstream: HttpClient, backend: Backend, secret: str | None, model: str, keep_alive: int | None
    ) -> None:
        headers = self.authorize_at(upstream.address, secret)
        body: dict[str, object] = {"model": model}
        if keep_alive is not None:
            body["keep_alive"] = keep_alive
        reply = await ask(upstream, "/api/generate", body, headers, backend.first_byte_s)
        if reply.status == 400 and _CANNOT_GENERATE in message_of(reply):
            reply = await ask(upstream, "/api/embed", body, headers, backend.first_byte_s)
        if reply.status != 200:
            raise refusal(reply, backend, model, "unload" if keep_alive == 0 else "load", secret)


SHOWN_PER_ROUND = 2
"""Models whose details are read in one round: for each, Ollama reads a file."""
_SHOWN_MAX = 3
VERSION_EVERY = 6
"""Rounds from one look at its version to the next."""
_CAPABILITIES = {
    "completion": ("chat", "completion"),
    "embedding": ("embeddings",),
    "vision": ("vision",),
    "audio": ("audio",),
    "tools": ("tools",),
    "thinking": ("thinking",),
    "image": ("image",),
    "speech": ("speech",),
}
_NUM_CTX = re.compile(r"^num_ctx\s+(\d{1,10})\s*$", re.MULTILINE)


class _Shown(Struct, frozen=True):
    """What `/api/show` answered about one model; valid as long as the model's digest is the same."""

    capabilities: tuple[str, ...]
    context: int | None
    """As set in its Modelfile; without, Ollama decides when it loads the model."""


class OllamaMetadata:
    """GETs of `/api/ps` and `/api/version`, and a POST of `/api/show` for each model, two at a time and once.

    None of these loads a model. A new Ollama has the capabilities in its list: then `/api/show` is not needed.
    """

    def __init__(self) -> None:
        self._version = ""
        self._reads = 0
        self._running: dict[str, Facts] | None = None
        """The models in memory, by name; None while unknown."""
        self._shown: dict[str, _Shown] = {}
        """By digest."""
        self._unanswered: dict[str, None] = {}
        """Digests without an answer: they are tried again after the others, the latest last."""

    async def read(self, query: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Read which models are in memory, then the details of those not yet known."""
        tags = read_items(listed.body, "models")
        running = await query("/api/ps")
        if running is not None:
            self._running = read_items(running, "models")
        if self._reads % VERSION_EVERY == 0 or not self._version:
            version = short_text(read_object(await query("/api/version")).get("version"))
            self._version = version or self._version
        self._reads += 1
        again = await self._read_details(query, listed, tags)
        details = {model: self._detail(model, tags.get(model, {})) for model in listed.models}
        about = {"Version": self._version} if self._version else {}
        if listed.models and self._running is not None:
            about["Loaded"] = _loaded_text(self._running, len(listed.models))
        return MetadataSnapshot(
            details=details,
            about=about,
            warnings=_cloud_warnings(tags),
            again=again,
            every_s=WARMTH_EVERY_S,
        )

    async def _read_details(
        self, query: EngineQuery, listed: ModelListReply, tags: Mapping[str, Facts]
    ) -> bool:
        """Read the details of some models that are not known; returns whether others are left."""
        by_digest = {
            _digest(model, tag): model
            for model in listed.models
            if not isinstance((tag := tags.get(model, {})).get("capabilities"), list)
        }
        self._shown = {digest: shown for digest, shown in self._shown.items() if digest in by_digest}
        self._unanswered = {digest: None for digest in self._unanswered if digest in by_digest}
        fresh = [
            digest for digest in by_digest if digest not in self._shown and digest not in self._unanswered
        ]
        for digest in (*fresh, *self._unanswered)[:SHOWN_PER_ROUND]:
            self._unanswered.pop(digest, None)
            answer = read_object(await query("/api/show", msgspec.json.encode({"model": by_digest[digest]})))
            if answer:
                self._shown[digest] = _read_show(answer)
            else:
                self._unanswered[digest] = None
        return len(fresh) > SHOWN_PER_ROUND

    def _detail(self, model: str, tag: Facts) -> ModelDetail:
        running = self._running.get(model) if self._running is not None else None
        shown = self._shown.get(_digest(model, tag))
        listed = mapped(short_texts(tag.get("capabilities")), _CAPABILITIES)
        is_local = not tag.get("remote_host")
        context = tokens(running.get("context_length")) if running else None
        return ModelDetail(
            context=context or (shown.context if shown else None),
            loaded=running is not None if is_local and self._running is not None else None,
            quantization=short_text(as_object(tag, "details").get("quantization_level")),
            parameters=short_text(as_object(tag, "details").get("parameter_size")),
            capabilities=listed or (shown.capabilities if shown else ()),
        )


def _loaded_text(running: Mapping[str, Facts], total: int) -> str:
    size = sum(number(model.get("size")) or 0 for model in running.values())
    on_gpu = sum(number(model.get("size_vram")) or 0 for model in running.values())
    text = f"{min(len(running), total)} of {total} models"
    if not size:
        return text
    share = "" if on_gpu >= size else f", {100 * on_gpu // size}% of it on the GPU"
    return f"{text}, {bytes_text(size)}{share}"


def _read_show(answer: Facts) -> _Shown:
    parameters = answer.get("parameters")
    found = _NUM_CTX.search(parameters) if isinstance(parameters, str) else None
    return _Shown(
        mapped(short_texts(answer.get("capabilities")), _CAPABILITIES),
        tokens(int(found[1])) if found else None,
    )


def _cloud_warnings(tags: Mapping[str, Facts]) -> tuple[str, ...]:
    """Warn of models that Ollama forwards to its cloud: they do not run on the machine where Ollama does."""
    remote = [short_text(model) for model, tag in tags.items() if tag.get("remote_host")]
    if not remote:
        return ()
    named = ", ".join(remote[:_SHOWN_MAX]) + (
        f" and {len(remote) - _SHOWN_MAX} more" if len(remote) > _SHOWN_MAX else ""
    )
    runs = "runs" if len(remote) == 1 else "run"
    return (f"{named} {runs} in Ollama's cloud: what is sent to such a model leaves that machine.",)


def _digest(model: str, tag: Facts) -> str:
    digest = tag.get("digest")
    return digest[:128] if isinstance(digest, str) and digest else model
