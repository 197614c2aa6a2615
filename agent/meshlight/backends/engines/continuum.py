"""Continuum Router by Lablup, a router with backends of its own.

It serves OpenAI's API below `/v1` and Anthropic's below `/anthropic/v1`, over TCP or a Unix socket.
Sources: docs.continuum.lablup.ai/en/api, /en/admin-api, /en/configuration/backends, and for Anthropic's paths
go.backend.ai/en/manual/api-server/router-statistics-coverage.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import (
    BackendKind,
    Channel,
    ChannelDeps,
    DetectedEngine,
    Field,
    HttpClient,
    Probe,
)
from meshlight.backends.clouds.base import open_key_warnings
from meshlight.backends.diagnostics import where
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import UpstreamError
from meshlight.domain.health import Answered, Loading
from meshlight.domain.operations import ANTHROPIC_OPERATIONS, OPENAI_OPERATIONS, Operation
from meshlight.domain.text import sanitize_line
from meshlight.http_client.error_text import message_of
from meshlight.http_client.reply import Reply

_ADMIN = "/admin/backends"
_ADMIN_S = 1.0
ADMIN_EVERY_S = 30.0
"""The router checks its own backends no more often."""
ADMIN_REFUSED_S = 600.0
"""Pause after a refusal, in seconds: refused calls fill the router's log."""
_WARMING = ("warm", "starting", "initializ", "initialis", "loading", "not ready")
_GOOD = frozenset({"healthy", "up", "ok", "online", "ready"})
_BODY_MAX = 1 << 20
_ITEMS_MAX = 1_000
_NAMED_MAX = 3
_NAME_MAX = 60
_WHY_MAX = 80


class Continuum(BackendKind):
    """Probed by its list of models; the state of its own backends is shown if the key permits reading it."""

    kind = "continuum"
    label = "Continuum Router"
    about = "Lablup's router: many backends behind one address, or behind a socket on this machine"
    group = "router"
    start = "Start it (`continuum-router --config config.yaml`)"
    operations = frozenset[Operation]({*OPENAI_OPERATIONS, *ANTHROPIC_OPERATIONS}) - {
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
    }

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its address, which may be a Unix socket, and a key if it requires one."""
        return (
            Field(
                name="url",
                label="Address",
                required=True,
                hint="http://HOST:8080, or unix:///PATH of its socket on this machine.",
                placeholder="http://router.example:8080",
            ),
            Field(
                name="api_key",
                label="API key",
                is_secret=True,
                hint="One of its `api_keys`; with an admin's, the health of its own backends is shown too.",
            ),
        )

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:  # noqa: ARG002 — nothing is sent
        """Detect nothing: its list looks like any server's, so a person adds it."""
        return None

    def path(self, operation: Operation, path: str) -> str:
        """Return the path of an operation; Anthropic's are below `/anthropic`."""
        return f"/anthropic{path}" if operation in ANTHROPIC_OPERATIONS else path

    def judge_list(self, reply: Reply, backend: Backend, secret: str | None) -> Probe:
        """Return the probe's result; a 503 that says that it is warming up is no failure."""
        if reply.status == 503 and any(mark in message_of(reply).lower() for mark in _WARMING):
            text = f"{self.label} at {where(backend)} is warming up."
            return Probe(fact=Loading(Reason("loading", text, "Wait: it is checking its backends.")))
        probe = super().judge_list(reply, backend, secret)
        if isinstance(probe.fact, Answered):
            warnings = open_key_warnings(backend, has_key=bool(self.authorize(secret)))
            return replace(probe, warnings=warnings)
        return probe

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Remember when the state of the router's own backends was read."""
        return _ContinuumChannel(self, deps.probes, deps.clock)


class _ContinuumChannel(Channel):
    """Probes a router, and now and then reads the health of its own backends."""

    def __init__(self, kind: Continuum, probes: HttpClient, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._probes = probes
        self._clock = clock
        self._due = float("-inf")

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Check the health, and read that of the backends behind it if it is time."""
        probe = await self._kind.probe(self._probes, backend, secret)
        if not isinstance(probe.fact, Answered) or self._clock() < self._due:
            return probe
        self._due = self._clock() + ADMIN_EVERY_S
        try:
            reply = await self._probes.fetch(
                "GET", _ADMIN, headers=self._kind.authorize(secret), timeout_s=_ADMIN_S, limit=_BODY_MAX
            )
        except UpstreamError:
            return probe
        behind = read_backends(reply.body) if reply.status == 200 else None
        if behind is None:
            self._due = self._clock() + ADMIN_REFUSED_S
            return replace(probe, about={})
        return replace(probe, about={"Backends": admin_lines(behind)})


class RoutedBackend(Struct, frozen=True):
    """One backend of the router, as the router reports it."""

    name: str
    is_healthy: bool
    why: str = ""


def read_backends(body: bytes) -> list[RoutedBackend] | None:
    """Read the answer to `GET /admin/backends`; None if it is no such list."""
    found = decode_or_none(body)
    items = found.get("backends") if isinstance(found, dict) else found
    if not isinstance(items, list):
        return None
    return [_routed_backend(item) for item in items[:_ITEMS_MAX] if isinstance(item, dict)]


def admin_lines(behind: list[RoutedBackend]) -> str:
    """Return the health of all of them in one line: `3 of 4 healthy (gpu2: timed out)`."""
    unhealthy = [each for each in behind if not each.is_healthy]
    line = f"{len(behind) - len(unhealthy)} of {len(behind)} healthy"
    if not unhealthy:
        return line
    named = [f"{each.name}: {each.why}" if each.why else each.name for each in unhealthy[:_NAMED_MAX]]
    if len(unhealthy) > _NAMED_MAX:
        named.append(f"and {len(unhealthy) - _NAMED_MAX} more")
    return f"{line} ({', '.join(named)})"


def _routed_backend(item: dict[str, Any]) -> RoutedBackend:
    name = next(
        (item[key] for key in ("name", "id", "url") if isinstance(item.get(key), str) and item[key]), "?"
    )
    state = next((item[key] for key in ("is_healthy", "healthy", "status", "health") if key in item), None)
    is_healthy = state is True or (isinstance(state, str) and state.lower() in _GOOD)
    why = next((item[key] for key in ("last_error", "error", "reason") if isinstance(item.get(key), str)), "")
    return RoutedBackend(_shown_name(name), is_healthy, "" if is_healthy else sanitize_line(why, _WHY_MAX))


def _shown_name(name: str) -> str:
    """Return a name that can be shown; of a URL only host and port, since it may contain a password."""
    if "://" not in name:
        return sanitize_line(name, _NAME_MAX)
    try:
        parts = urlsplit(name)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "?"
    return sanitize_line(f"{host}:{port}" if port else host, _NAME_MAX)
