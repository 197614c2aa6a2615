"""Continuum Router by Lablup: a router of its own, with backends behind it.

It serves OpenAI's faces below `/v1`, Anthropic's below `/anthropic/v1`, over TCP or a Unix socket.
Sources: docs.continuum.lablup.ai/en/api, /en/admin-api, /en/configuration/backends, and for the paths of Anthropic's
faces go.backend.ai/en/manual/api-server/router-statistics-coverage.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import (
    Channel,
    ChannelDeps,
    DetectedEngine,
    Engine,
    Field,
    HttpClient,
    ModelRoute,
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
from meshlight.http_client.response import Reply

_ADMIN = "/admin/backends"
_ADMIN_S = 1.0
ADMIN_EVERY_S = 30.0
"""Its own checks of its backends are no more frequent."""
ADMIN_REFUSED_S = 600.0
"""Where the key may not look, it is seldom tried again: refused calls stand in the router's log."""
_WARMING = ("warm", "starting", "initializ", "initialis", "loading", "not ready")
_GOOD = frozenset({"healthy", "up", "ok", "online", "ready"})
_BODY_MAX = 1 << 20
_ITEMS_MAX = 1_000
_NAMED_MAX = 3
_NAME_MAX = 60
_WHY_MAX = 80


class Continuum(Engine):
    """Its list of models is the probe; what it says of its own backends is shown where the key allows a look."""

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
        """Its address, which may be a socket, and a key where it wants one."""
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

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:  # noqa: ARG002 — nothing is asked
        """Its list looks like anybody's and no mark of it is certain: a person adds it."""
        return None

    def path(self, operation: Operation, path: str) -> str:
        """Return where Anthropic's faces are; all others stay."""
        return f"/anthropic{path}" if operation in ANTHROPIC_OPERATIONS else path

    def judge(self, reply: Reply, backend: Backend, secret: str | None) -> Probe:
        """Judge the list; a 503 by which it says that it warms up is no failure."""
        if reply.status == 503 and any(mark in message_of(reply).lower() for mark in _WARMING):
            text = f"{self.label} at {where(backend)} is warming up."
            return Probe(fact=Loading(Reason("loading", text, "Wait: it is checking its backends.")))
        probe = super().judge(reply, backend, secret)
        if isinstance(probe.fact, Answered):
            warnings = open_key_warnings(backend, has_key=bool(self.authorize(secret)))
            return replace(probe, warnings=warnings)
        return probe

    def open(self, means: ChannelDeps) -> Channel:
        """Remember when the router's own backends were looked at."""
        return _ContinuumChannel(self, means.probes, means.clock)


class _ContinuumChannel:
    """Probes a router, and now and then asks it for the health of its own backends."""

    def __init__(self, kind: Continuum, probes: HttpClient, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._probes = probes
        self._clock = clock
        self._due = float("-inf")

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Check the health, and look behind it if it is time."""
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

    async def way(self, model: str, secret: str | None) -> ModelRoute | None:  # noqa: ARG002 — it is the same for all
        """Everything goes to the router itself."""
        return None

    def renew(self, model: str, status: int, body: bytes) -> bool:  # noqa: ARG002 — nothing here can be renewed
        """Nothing would be another."""
        return False

    def close(self) -> None:
        """There is nothing to let go of."""


class RoutedBackend(Struct, frozen=True):
    """One backend of the router, as the router sees it."""

    name: str
    is_healthy: bool
    why: str = ""


def read_backends(body: bytes) -> list[RoutedBackend] | None:
    """Read the answer to `GET /admin/backends`; None when it is no such list."""
    found = decode_or_none(body)
    items = found.get("backends") if isinstance(found, dict) else found
    if not isinstance(items, list):
        return None
    return [_behind(item) for item in items[:_ITEMS_MAX] if isinstance(item, dict)]


def admin_lines(behind: list[RoutedBackend]) -> str:
    """Return the health of all of them in one line: `3 of 4 healthy (gpu2: timed out)`."""
    ill = [each for each in behind if not each.is_healthy]
    line = f"{len(behind) - len(ill)} of {len(behind)} healthy"
    if not ill:
        return line
    named = [f"{each.name}: {each.why}" if each.why else each.name for each in ill[:_NAMED_MAX]]
    if len(ill) > _NAMED_MAX:
        named.append(f"and {len(ill) - _NAMED_MAX} more")
    return f"{line} ({', '.join(named)})"


def _behind(item: dict[str, Any]) -> RoutedBackend:
    name = next(
        (item[key] for key in ("name", "id", "url") if isinstance(item.get(key), str) and item[key]), "?"
    )
    said = next((item[key] for key in ("is_healthy", "healthy", "status", "health") if key in item), None)
    is_healthy = said is True or (isinstance(said, str) and said.lower() in _GOOD)
    why = next((item[key] for key in ("last_error", "error", "reason") if isinstance(item.get(key), str)), "")
    return RoutedBackend(_short(name), is_healthy, "" if is_healthy else sanitize_line(why, _WHY_MAX))


def _short(name: str) -> str:
    """Return a name; of a URL only host and port, as a password may stand before them."""
    if "://" not in name:
        return sanitize_line(name, _NAME_MAX)
    try:
        parts = urlsplit(name)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "?"
    return sanitize_line(f"{host}:{port}" if port else host, _NAME_MAX)
