"""What a local engine reports about itself and its models, beyond the list of models.

It is read seldom, beside the probes that decide on health, and is untrusted: the functions below check types and
limits, and make texts short and printable.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import PROBE_S, BackendKind, Channel, ChannelDeps, HttpClient, Probe
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.model_list import Facts
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import UpstreamError
from meshlight.domain.text import sanitize_line
from meshlight.http_client.reply import Headers, Reply

EVERY_S = 60.0
WARMTH_EVERY_S = 10.0
"""How often engines are asked that load and unload models, and say which ones are in memory."""
DETAILS_S = 1.0
"""All requests of one round together may take this long, and never longer than the probe has left."""
REPLY_LIMIT = 1 << 20
"""Bytes that are read of one answer, and of a list: a longer one costs more than it is worth."""
DETAILS_MAX = 2_000
"""Models of which details are kept."""


class MetadataSnapshot(Struct, frozen=True, kw_only=True):
    """What an engine reports; it replaces the previous snapshot as a whole."""

    details: Mapping[str, ModelDetail]
    about: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    again: bool = False
    """Whether the next probe should read once more: a value is changing, or not everything was read yet."""
    can_load: bool | None = None
    """See `Probe.can_load`."""
    every_s: float = EVERY_S
    """How long it is current."""
    used_every_s: float = EVERY_S
    """The same once a request was sent there."""


class ModelListReply(Struct, frozen=True):
    """The list of models that was read a moment ago."""

    models: Sequence[str]
    body: bytes
    was_used: bool
    """Whether requests were sent there since the metadata was last read."""


class EngineQuery:
    """Sends small requests to one engine, with its key, while there is time; every failure counts as no answer."""

    def __init__(self, upstream: HttpClient, headers: Headers, within_s: float) -> None:
        self._upstream = upstream
        self._headers = headers
        self._until = monotonic() + within_s

    async def __call__(self, path: str, body: bytes = b"") -> bytes | None:
        """Return the body of a 200, or None; with a body of our own it is a POST."""
        left_s = self._until - monotonic()
        if left_s <= 0:
            return None
        headers = (*self._headers, (b"content-type", b"application/json")) if body else self._headers
        try:
            reply = await self._upstream.fetch(
                "POST" if body else "GET",
                path,
                headers=headers,
                body=body,
                timeout_s=left_s,
                limit=REPLY_LIMIT,
            )
        except UpstreamError:
            return None
        return reply.body if reply.status == 200 else None


class MetadataReader(Protocol):
    """How the metadata of one kind of engine is read; one object for each backend."""

    async def read(self, query: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Return what is known now; a value that could not be read this time stays as it was."""


class MetadataChannel(Channel):
    """Probes as the kind does, and reads the metadata when it may have changed.

    That is at the first probe, after an outage, when the list of models has changed, and every 60 s; every 10 s where
    it says which models are in memory. The probe's fact never depends on it; a request that is not answered in time
    is given up.
    """

    def __init__(self, kind: BackendKind, reader: MetadataReader, deps: ChannelDeps) -> None:
        self._kind = kind
        self._reader = reader
        self._upstream = deps.probes
        self._clock = deps.clock
        self._due = float("-inf")
        self._read_at = 0.0
        self._models: tuple[str, ...] = ()
        self._snapshot: MetadataSnapshot | None = None

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Read the list of models, and now and then the metadata."""
        started = monotonic()
        try:
            reply = await self._kind.fetch_list(self._upstream, secret)
        except UpstreamError as error:
            self._due = float("-inf")
            return self._kind.failed_probe(error, backend)
        probe = await in_thread_if_large(len(reply.body), self._kind.judge_list, reply, backend, secret)
        if probe.models is None:
            self._due = float("-inf")
            return probe
        if self._is_due() or probe.models != self._models:
            left_s = min(DETAILS_S, PROBE_S - (monotonic() - started))
            query = EngineQuery(
                self._upstream, self._kind.authorize_at(self._upstream.address, secret), left_s
            )
            listed = ModelListReply(
                probe.models[:DETAILS_MAX],
                reply.body if len(reply.body) <= REPLY_LIMIT else b"",
                self.was_used,
            )
            self.was_used = False
            self._read_at = self._clock()
            self._snapshot = await self._reader.read(query, listed)
            self._models = probe.models
            self._due = self._clock() if self._snapshot.again else self._clock() + self._snapshot.every_s
        if self._snapshot is None:
            return probe
        snapshot = self._snapshot
        return replace(
            probe,
            details=snapshot.details,
            details_at=self._read_at,
            about=snapshot.about,
            warnings=snapshot.warnings,
            can_load=snapshot.can_load,
        )

    def _is_due(self) -> bool:
        if self.was_used and self._snapshot is not None:
            return self._clock() >= min(self._due, self._read_at + self._snapshot.used_every_s)
        return self._clock() >= self._due

    def check_now(self) -> None:
        """Read the metadata with the next probe: a person wants to know, or has changed something."""
        self._due = float("-inf")


WORD_MAX = 40
TOKENS_MAX = 1_000_000_000
"""A longer context is a mistake."""
SLOTS_MAX = 10_000
LOAD_MAX_S = 86_400.0
COUNT_MAX = 10**15
"""The same for parameters, bytes and all other counts."""

_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_MIXES = {"small": "_S", "medium": "_M", "large": "_L"}
_FTYPE = re.compile(r"(?:\(guessed\) )?(?:all )?(\S+)(?: - (.+))?")


def read_object(body: bytes | None) -> Facts:
    """Decode a JSON object; empty if the body is not one."""
    found = decode_or_none(body) if body else None
    return found if isinstance(found, dict) else {}


def read_objects(body: bytes | None) -> list[Facts]:
    """Decode a JSON array of objects; empty if the body is not one."""
    found = decode_or_none(body) if body else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def as_object(found: Facts, *path: str) -> Facts:
    """Return the object at a path inside another; empty if there is none."""
    for step in path:
        inner = found.get(step)
        if not isinstance(inner, dict):
            return {}
        found = inner
    return found


def number(value: object, most: int = COUNT_MAX) -> int | None:
    """Return a whole number from 1 to `most`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= most else None


def tokens(value: object) -> int | None:
    """Return a number of tokens, at most `TOKENS_MAX`; None for anything else."""
    return number(value, TOKENS_MAX)


def short_text(value: object) -> str:
    """Return a text, short enough and safe to be shown; empty if it is none."""
    return sanitize_line(value, WORD_MAX) if isinstance(value, str) else ""


def short_texts(value: object) -> tuple[str, ...]:
    """Return the short texts of a list."""
    return tuple(short_text(item) for item in value[:WORD_MAX]) if isinstance(value, list) else ()


def mapped(words: Iterable[str], meaning: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Translate a server's words for capabilities into ours, each once; unknown words are left out."""
    return tuple(dict.fromkeys(ours for theirs in words for ours in meaning.get(theirs, ())))


def parameters_text(count: int | None) -> str:
    """Return a number of parameters as people write it: `3.2B`, `689K`."""
    for size, unit in _UNITS:
        if count is not None and count >= size:
            value = count / size
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + unit
    return "" if count is None else str(count)


def bytes_text(count: int) -> str:
    """Return a number of bytes as people write it: `2.0 GB`."""
    for size, unit in _SIZES:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def quantization_text(ftype: str) -> str:
    """Return the short form of llama.cpp's name for a file type: `Q4_K - Medium` is `Q4_K_M`."""
    found = _FTYPE.fullmatch(ftype)
    if found is None:
        return ftype
    name, more = found[1], (found[2] or "").lower()
    if more and more not in _MIXES and "bpw" not in more:
        return ftype
    return name + _MIXES.get(more, "")


class _Version(Struct):
    version: str


def version_of(reply: Reply) -> str | None:
    """Return the version from a version endpoint; None if the answer is another.

    vLLM (`/version`) and Ollama (`/api/version`) answer `{"version": "0.12.6"}`.
    """
    if reply.status != 200:
        return None
    page = decode_or_none(reply.body, _Version)
    return (sanitize_line(page.version) or None) if page is not None else None
