"""What a local engine tells of itself and its models, asked seldom, beside the probes that keep its health.

What a stranger says of itself, made fit to be shown: of the right type, in bounds, short, printable.

The version page that vLLM (`/version`) and Ollama (`/api/version`) share: `{"version": "0.12.6"}`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import PROBE_S, ChannelDeps, Engine, HttpClient, ModelRoute, Probe
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.model_list import Facts
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import UpstreamError
from meshlight.domain.text import sanitize_line
from meshlight.http_client.response import Headers, Reply

EVERY_S = 60.0
DETAILS_S = 1.0
"""All questions of one round together may take this long, and never longer than the probe has left."""
REPLY_LIMIT = 1 << 20
"""Bytes that are read of one answer, and of a list: what is longer costs more than it tells."""
DETAILS_MAX = 2_000
"""Models of which details are kept."""


class MetadataSnapshot(Struct, frozen=True, kw_only=True):
    """What an engine told; all of it is shown from now on, in the place of what it told before."""

    details: Mapping[str, ModelDetail]
    about: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    again: bool = False
    """Whether the next probe should ask once more: something moves, or not everything was asked yet."""


class ModelListReply(Struct, frozen=True):
    """The list of models that was read a moment ago."""

    models: Sequence[str]
    body: bytes
    was_used: bool
    """Whether requests went there since it was last asked to tell."""


class EngineQuery:
    """Asks one engine, with its key, for as long as there is time; whatever goes wrong is no answer."""

    def __init__(self, upstream: HttpClient, headers: Headers, within_s: float) -> None:
        self._upstream = upstream
        self._headers = headers
        self._until = monotonic() + within_s

    async def __call__(self, path: str, body: bytes = b"") -> bytes | None:
        """Return the body of a good answer; with a body of our own it is a POST."""
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
    """What one kind of engine can be asked beyond its list; one object for each backend."""

    async def tell(self, ask: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Ask, and say what is known now: what got no answer this time is told as it was."""


class MetadataChannel:
    """Probes as the kind does, and asks for details when they may be new.

    That is at first sight, after an outage, when the list of models has changed, and every 60 s. The probe's
    fact is never touched by it; a question that is not answered in time is simply not answered.
    """

    def __init__(self, engine: Engine, teller: MetadataReader, means: ChannelDeps) -> None:
        self._engine = engine
        self._teller = teller
        self._upstream = means.probes
        self._clock = means.clock
        self._due = float("-inf")
        self._models: tuple[str, ...] = ()
        self._was_used = False
        self._told: MetadataSnapshot | None = None

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Ask for the models, and now and then for more."""
        started = monotonic()
        try:
            reply = await self._engine.ask_list(self._upstream, secret)
        except UpstreamError as error:
            self._due = float("-inf")
            return self._engine.missed(error, backend)
        probe = await in_thread_if_large(len(reply.body), self._engine.judge, reply, backend, secret)
        if probe.models is None:
            self._due = float("-inf")
            return probe
        if self._clock() >= self._due or probe.models != self._models:
            left_s = min(DETAILS_S, PROBE_S - (monotonic() - started))
            ask = EngineQuery(self._upstream, self._engine.authorize(secret), left_s)
            listed = ModelListReply(
                probe.models[:DETAILS_MAX],
                reply.body if len(reply.body) <= REPLY_LIMIT else b"",
                self._was_used,
            )
            self._was_used = False
            self._told = await self._teller.tell(ask, listed)
            self._models = probe.models
            self._due = self._clock() if self._told.again else self._clock() + EVERY_S
        if self._told is None:
            return probe
        told = self._told
        return replace(probe, details=told.details, about=told.about, warnings=told.warnings)

    async def way(self, model: str, secret: str | None) -> ModelRoute | None:  # noqa: ARG002 — there is one way
        """Have every request go where the kind sends it, and note that one went."""
        self._was_used = True
        return None

    def renew(self, model: str, status: int, body: bytes) -> bool:  # noqa: ARG002 — nothing expires
        """Know no better way."""
        return False

    def close(self) -> None:
        """Have nothing to let go of."""


WORD_MAX = 40
TOKENS_MAX = 1_000_000_000
"""A context beyond this is a mistake or a joke."""
COUNT_MAX = 10**15
"""The same for parameters, bytes and whatever else is counted."""

_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_MIXES = {"small": "_S", "medium": "_M", "large": "_L"}
_FTYPE = re.compile(r"(?:\(guessed\) )?(?:all )?(\S+)(?: - (.+))?")


def read_object(body: bytes | None) -> Facts:
    """Read a JSON object; empty when it is none."""
    found = decode_or_none(body) if body else None
    return found if isinstance(found, dict) else {}


def read_objects(body: bytes | None) -> list[Facts]:
    """Read a JSON array of objects; empty when it is none."""
    found = decode_or_none(body) if body else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def as_object(found: Facts, *path: str) -> Facts:
    """Return the object at a path inside another; empty when there is none."""
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
    """Return how many tokens a context holds; None when that can't be."""
    return number(value, TOKENS_MAX)


def short_text(value: object) -> str:
    """Return a short text fit to be shown; empty when there is none."""
    return sanitize_line(value, WORD_MAX) if isinstance(value, str) else ""


def short_texts(value: object) -> tuple[str, ...]:
    """Return the short texts of a list."""
    return tuple(short_text(item) for item in value[:WORD_MAX]) if isinstance(value, list) else ()


def mapped(said: Iterable[str], meaning: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return what a server's words mean in ours, each once; words without a meaning are left out."""
    return tuple(dict.fromkeys(ours for theirs in said for ours in meaning.get(theirs, ())))


def parameters_text(count: int | None) -> str:
    """Return a number of parameters as people say it: `3.2B`, `689K`."""
    for size, unit in _UNITS:
        if count is not None and count >= size:
            value = count / size
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + unit
    return "" if count is None else str(count)


def bytes_text(count: int) -> str:
    """Return a number of bytes as people say it: `2.0 GB`."""
    for size, unit in _SIZES:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def quantization_text(ftype: str) -> str:
    """Return llama.cpp's long name of a file type as files are called: `Q4_K - Medium` is `Q4_K_M`."""
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
    """Return the version that a version page tells; None when the answer is no such page."""
    if reply.status != 200:
        return None
    page = decode_or_none(reply.body, _Version)
    return (sanitize_line(page.version) or None) if page is not None else None
