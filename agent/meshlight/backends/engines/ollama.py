"""Ollama.

What Ollama tells beyond its list: its version, what is in memory, what each model can do.

Fields by Ollama's API documentation (`docs/api.md`) and `api/types.go`.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from meshlight.backends.base import Channel, ChannelDeps, DetectedEngine, Engine, HttpClient, ask
from meshlight.backends.metadata import (
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
from meshlight.backends.model_list import Facts, Listing, read_items, read_tags
from meshlight.domain.backend import ModelDetail
from meshlight.domain.operations import OLLAMA_OPERATIONS, Operation

_TAGS = "/api/tags"
_GREETING = b"Ollama is running"


class Ollama(Engine):
    """Its own list (`/api/tags`) is asked rather than `/v1/models`: nobody else answers there."""

    kind = "ollama"
    label = "Ollama"
    start = "Start Ollama (`ollama serve`)"
    usual_ports = (11434,)
    list_path = _TAGS
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

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """A GET of the front page tells strangers apart; only Ollama is asked for version and models."""
        front = await ask(upstream, "/")
        if front.status != 200 or not front.body.lstrip().startswith(_GREETING):
            return None
        if version_of(await ask(upstream, "/api/version")) is None:
            return None
        reply = await ask(upstream, _TAGS)
        listing = read_tags(reply.body) if reply.status == 200 else None
        return self.found(upstream, listing.models if listing else ())

    def open(self, means: ChannelDeps) -> Channel:
        """Keep what it tells of itself and its models."""
        return MetadataChannel(self, OllamaMetadata(), means)

    def read(self, body: bytes) -> Listing | None:
        """Read `/api/tags`."""
        return read_tags(body)


SHOWN_PER_ROUND = 2
"""Models that are asked about in one round: each costs Ollama a look into a file."""
_NAMED = 3
_CAN = {
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
    """What `/api/show` said of one model; it holds for as long as the model's digest is the same."""

    can: tuple[str, ...]
    context: int | None
    """What its Modelfile sets; without, Ollama decides when it loads the model."""


class OllamaMetadata:
    """GETs of `/api/ps` and `/api/version`, and a POST of `/api/show` for each model, two at a time and once.

    None of these loads a model. A new Ollama lists the capabilities itself, and is not asked for them.
    """

    def __init__(self) -> None:
        self._version = ""
        self._running: dict[str, Facts] | None = None
        """What is in memory, by model; None while nobody has said."""
        self._shown: dict[str, _Shown] = {}
        """By digest."""
        self._mute: dict[str, None] = {}
        """Digests about which nothing was said: they are asked after the others, the latest last."""

    async def tell(self, ask: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Ask what is in memory, then about models not yet known."""
        tags = read_items(listed.body, "models")
        running = await ask("/api/ps")
        if running is not None:
            self._running = read_items(running, "models")
        self._version = short_text(read_object(await ask("/api/version")).get("version")) or self._version
        again = await self._show(ask, listed, tags)
        details = {model: self._detail(model, tags.get(model, {})) for model in listed.models}
        about = {"Version": self._version} if self._version else {}
        if listed.models and self._running is not None:
            about["Loaded"] = _loaded_text(self._running, len(listed.models))
        return MetadataSnapshot(details=details, about=about, warnings=_elsewhere(tags), again=again)

    async def _show(self, ask: EngineQuery, listed: ModelListReply, tags: Mapping[str, Facts]) -> bool:
        """Ask about some models that are not known; True when others are left."""
        by_digest = {
            _digest(model, tag): model
            for model in listed.models
            if not isinstance((tag := tags.get(model, {})).get("capabilities"), list)
        }
        self._shown = {digest: shown for digest, shown in self._shown.items() if digest in by_digest}
        self._mute = {digest: None for digest in self._mute if digest in by_digest}
        fresh = [digest for digest in by_digest if digest not in self._shown and digest not in self._mute]
        for digest in (*fresh, *self._mute)[:SHOWN_PER_ROUND]:
            self._mute.pop(digest, None)
            said = read_object(await ask("/api/show", msgspec.json.encode({"model": by_digest[digest]})))
            if said:
                self._shown[digest] = _read_show(said)
            else:
                self._mute[digest] = None
        return len(fresh) > SHOWN_PER_ROUND

    def _detail(self, model: str, tag: Facts) -> ModelDetail:
        running = self._running.get(model) if self._running is not None else None
        shown = self._shown.get(_digest(model, tag))
        listed_can = mapped(short_texts(tag.get("capabilities")), _CAN)
        is_here = not tag.get("remote_host")
        context = tokens(running.get("context_length")) if running else None
        return ModelDetail(
            context=context or (shown.context if shown else None),
            loaded=running is not None if is_here and self._running is not None else None,
            quantization=short_text(as_object(tag, "details").get("quantization_level")),
            parameters=short_text(as_object(tag, "details").get("parameter_size")),
            capabilities=listed_can or (shown.can if shown else ()),
        )


def _loaded_text(running: Mapping[str, Facts], total: int) -> str:
    size = sum(number(model.get("size")) or 0 for model in running.values())
    on_gpu = sum(number(model.get("size_vram")) or 0 for model in running.values())
    said = f"{min(len(running), total)} of {total} models"
    if not size:
        return said
    share = "" if on_gpu >= size else f", {100 * on_gpu // size}% of it on the GPU"
    return f"{said}, {bytes_text(size)}{share}"


def _read_show(said: Facts) -> _Shown:
    parameters = said.get("parameters")
    found = _NUM_CTX.search(parameters) if isinstance(parameters, str) else None
    return _Shown(
        mapped(short_texts(said.get("capabilities")), _CAN), tokens(int(found[1])) if found else None
    )


def _elsewhere(tags: Mapping[str, Facts]) -> tuple[str, ...]:
    """Warn of models that Ollama only passes on: whoever reads "this machine" must know."""
    away = [short_text(model) for model, tag in tags.items() if tag.get("remote_host")]
    if not away:
        return ()
    named = ", ".join(away[:_NAMED]) + (f" and {len(away) - _NAMED} more" if len(away) > _NAMED else "")
    runs = "runs" if len(away) == 1 else "run"
    return (f"{named} {runs} in Ollama's cloud: what is sent to such a model leaves that machine.",)


def _digest(model: str, tag: Facts) -> str:
    digest = tag.get("digest")
    return digest[:128] if isinstance(digest, str) and digest else model
