"""What a local engine tells of itself and its models, asked seldom, beside the probes that keep its health."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.aside import aside
from meshlight.backends.engine import PROBE_S, Engine
from meshlight.backends.kind import Asks, Means, Probe, Way
from meshlight.backends.response import Headers
from meshlight.domain.backend import Backend
from meshlight.domain.errors import UpstreamError
from meshlight.domain.model import ModelDetail

EVERY_S = 60.0
DETAILS_S = 1.0
"""All questions of one round together may take this long, and never longer than the probe has left."""
REPLY_LIMIT = 1 << 20
"""Bytes that are read of one answer, and of a list: what is longer costs more than it tells."""
DETAILS_MAX = 2_000
"""Models of which details are kept."""


class Told(Struct, frozen=True, kw_only=True):
    """What an engine told; all of it is shown from now on, in the place of what it told before."""

    details: Mapping[str, ModelDetail]
    about: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    again: bool = False
    """Whether the next probe should ask once more: something moves, or not everything was asked yet."""


class Listed(Struct, frozen=True):
    """The list of models that was read a moment ago."""

    models: Sequence[str]
    body: bytes
    was_used: bool
    """Whether requests went there since it was last asked to tell."""


class Ask:
    """Asks one engine, with its key, for as long as there is time; whatever goes wrong is no answer."""

    def __init__(self, upstream: Asks, headers: Headers, within_s: float) -> None:
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


class Teller(Protocol):
    """What one kind of engine can be asked beyond its list; one object for each backend."""

    async def tell(self, ask: Ask, listed: Listed) -> Told:
        """Ask, and say what is known now: what got no answer this time is told as it was."""


class DetailChannel:
    """Probes as the kind does, and asks for details when they may be new.

    That is at first sight, after an outage, when the list of models has changed, and every 60 s. The probe's
    fact is never touched by it; a question that is not answered in time is simply not answered.
    """

    def __init__(self, engine: Engine, teller: Teller, means: Means) -> None:
        self._engine = engine
        self._teller = teller
        self._upstream = means.probes
        self._clock = means.clock
        self._due = float("-inf")
        self._models: tuple[str, ...] = ()
        self._was_used = False
        self._told: Told | None = None

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Ask for the models, and now and then for more."""
        started = monotonic()
        try:
            reply = await self._engine.ask_list(self._upstream, secret)
        except UpstreamError as error:
            self._due = float("-inf")
            return self._engine.missed(error, backend)
        probe = await aside(len(reply.body), self._engine.judge, reply, backend, secret)
        if probe.models is None:
            self._due = float("-inf")
            return probe
        if self._clock() >= self._due or probe.models != self._models:
            left_s = min(DETAILS_S, PROBE_S - (monotonic() - started))
            ask = Ask(self._upstream, self._engine.authorize(secret), left_s)
            listed = Listed(
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

    async def way(self, model: str, secret: str | None) -> Way | None:  # noqa: ARG002 — there is one way
        """Have every request go where the kind sends it, and note that one went."""
        self._was_used = True
        return None

    def renew(self, model: str, status: int, body: bytes) -> bool:  # noqa: ARG002 — nothing expires
        """Know no better way."""
        return False

    def close(self) -> None:
        """Have nothing to let go of."""
