"""The JSON of the local API: the snapshot (`/mesh/snapshot`), and the replies that Meshlight's own clients read.

Times are ages in seconds, latencies are milliseconds. Apps rely on these fields: new ones may be added, but none
renamed or changed in meaning.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from meshlight.domain.backend import Backend, Kind, ModelDetail, Ring, Source
from meshlight.domain.health import Health, State
from meshlight.domain.precedence import offered
from meshlight.domain.routing import Tier
from meshlight.domain.rules import Policy
from meshlight.domain.snapshot import Light, Node, Snapshot, light


class Requests(Struct, frozen=True, kw_only=True):
    """Counts of requests since the service started: total = successful + failed + cancelled + in flight."""

    total: int = 0
    successful: int = 0
    failed: int = 0
    cancelled: int = 0
    """The client left before the response was complete; counts as nobody's failure."""
    in_flight: int = 0


class Workload(Requests, frozen=True, kw_only=True):
    """Counts of one backend or model, with figures from its responses."""

    first_byte_ms: float | None = None
    """Median time to the first body byte of the last responses, in milliseconds."""
    tokens_in: int = 0
    """Prompt tokens, where `usage` reports them."""
    tokens_out: int = 0
    """Completion tokens, where `usage` reports them."""


class HealthView(Struct, frozen=True, kw_only=True):
    """The state with its reason: code for programs, text and fix for people."""

    state: State
    reason: str
    text: str
    fix: str
    since_s: float


class BackendView(Struct, frozen=True, kw_only=True):
    """One backend; `latency_ms` is the median of the last five probes on a warm connection."""

    id: str
    name: str
    kind: Kind
    ring: Ring
    url: str
    enabled: bool
    source: Source
    health: HealthView
    latency_ms: float | None
    models: tuple[str, ...]
    in_flight: int
    requests: Workload
    access_key: str = ""
    ca_file: str = ""
    details: Mapping[str, ModelDetail] = field(default_factory=dict)
    """What the backend reports of its models, by id; without the models that it reports nothing of."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Further names of its routes, requested as `backend/NAME`, and the model id of each."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Labelled lines about the backend for people, such as its version."""
    warnings: tuple[str, ...] = ()
    """Sentences about problems of a backend that works."""


class ModelView(Struct, frozen=True, kw_only=True):
    """One model id, the enabled backends that serve it, and its own counts once it was requested."""

    id: str
    backends: tuple[str, ...]
    requests: Workload | None = None


class RouterView(Struct, frozen=True, kw_only=True):
    """The node itself."""

    node_id: str
    name: str
    version: str
    status: str
    """`running`, or `paused` while requests are rejected."""
    uptime_s: float
    requests: Requests


class SnapshotView(Struct, frozen=True, kw_only=True):
    """The whole mesh, as `/mesh/snapshot` gives it."""

    seq: int
    router: RouterView
    light: Light
    light_reason: str
    backends: tuple[BackendView, ...]
    models: tuple[ModelView, ...]
    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models of the user's own backends, and the ids of the found engines and peers that offer them too and are not
    used; `/mesh/route` says why, and how to use them."""
    notices: tuple[str, ...] = field(default_factory=tuple)
    """Problems of the service itself, such as a configuration file that can't be read."""


class HealthChange(Struct, frozen=True, kw_only=True):
    """One backend in a `health` event."""

    id: str
    enabled: bool
    health: HealthView
    latency_ms: float | None
    about: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


_IDLE = Workload()


def health_view(health: Health, now: float) -> HealthView:
    """Return the view of a health at `now`, in monotonic seconds."""
    return HealthView(
        state=health.state,
        reason=health.reason.code,
        text=health.reason.text,
        fix=health.reason.fix,
        since_s=round(max(now - health.since, 0.0), 1),
    )


def latency_ms(health: Health) -> float | None:
    """Return the latency in milliseconds."""
    return None if health.latency_s is None else round(health.latency_s * 1000, 1)


def backend_view(node: Node, work: Workload | None, now: float) -> BackendView:
    """Return the view of one backend."""
    backend: Backend = node.backend
    workload = work or _IDLE
    return BackendView(
        id=backend.id,
        name=backend.name,
        kind=backend.kind,
        ring=backend.ring,
        url=backend.url,
        enabled=backend.enabled,
        source=backend.source,
        health=health_view(node.health, now),
        latency_ms=latency_ms(node.health),
        models=node.models,
        in_flight=workload.in_flight,
        requests=workload,
        access_key=backend.access_key,
        ca_file=backend.ca_file,
        details=node.details,
        names=node.names,
        about=node.about,
        warnings=node.warnings,
    )


def health_change(node: Node, now: float) -> HealthChange:
    """Return the view of one backend's health alone."""
    return HealthChange(
        id=node.backend.id,
        enabled=node.backend.enabled,
        health=health_view(node.health, now),
        latency_ms=latency_ms(node.health),
        about=node.about,
        warnings=node.warnings,
    )


def snapshot_view(
    snapshot: Snapshot,
    seq: int,
    router: RouterView,
    by_backend: Mapping[str, Workload],
    by_model: Mapping[str, Workload],
    now: float,
    notices: tuple[str, ...] = (),
) -> SnapshotView:
    """Return the view of the whole mesh at `now`, in monotonic seconds."""
    colour, reason = light(snapshot.nodes)
    if router.status == "paused":
        colour, reason = "grey", "Routing is paused."
    return SnapshotView(
        seq=seq,
        router=router,
        light=colour,
        light_reason=reason,
        backends=tuple(backend_view(n, by_backend.get(n.backend.id), now) for n in snapshot.nodes.values()),
        models=tuple(
            ModelView(id=model, backends=ids, requests=by_model.get(model))
            for model, ids in snapshot.routes.items()
        ),
        offered=offered(snapshot),
        notices=notices,
    )


class HealthzReply(Struct, frozen=True):
    """`GET /healthz?challenge=…`: the proof that the service has the local key."""

    proof: str


class BackendList(Struct, frozen=True):
    """`GET /mesh/backends`."""

    backends: tuple[BackendView, ...]


class RefreshReply(Struct, frozen=True):
    """`POST /mesh/refresh`: the refresh, and how many of its backends are done."""

    id: str
    total: int
    done: int = 0


class CheckReport(Struct, frozen=True, kw_only=True):
    """`POST /mesh/backends/{id}/check`: the result of one probe."""

    ok: bool
    health: HealthView
    """The health after the probe; one probe alone may not change it."""
    text: str = ""
    fix: str = ""
    latency_ms: float | None = None
    models: tuple[str, ...] = ()


class RouteLine(Struct, frozen=True, kw_only=True):
    """One route in a `RouteReply`: its tier, and why."""

    backend: str
    name: str
    model: str
    tier: Tier
    why: str
    kind: Kind | None = None
    ring: Ring | None = None
    state: State = "unknown"
    latency_ms: float | None = None
    in_flight: int = 0


class RouteReply(Struct, frozen=True, kw_only=True):
    """`GET /mesh/route`: the backend that would answer now (`answers`), and every route, best first."""

    asked: str
    model: str
    policy: Policy
    answers: str | None = None
    routes: tuple[RouteLine, ...] = ()


class ModelTestRun(Struct, frozen=True, kw_only=True):
    """One small request of a model test; `error` says why it failed."""

    __test__ = False  # pytest would collect a class with this name

    ok: bool
    backend: str | None = None
    first_token_ms: float | None = None
    tokens: int | None = None
    tokens_per_s: float | None = None
    total_ms: float | None = None
    text: str = ""
    error: str | None = None


class ModelTestReport(Struct, frozen=True, kw_only=True):
    """`POST /mesh/test`: the tested model, and the result of each request."""

    model: str
    runs: tuple[ModelTestRun, ...] = ()


class SessionCode(Struct, frozen=True):
    """`POST /mesh/session/code`: a link that opens the page once, within a minute."""

    url: str


class SessionFile(Struct, frozen=True):
    """`POST /mesh/session/file`: a file that opens the page once, within a minute."""

    path: str


class Failure(Struct, frozen=True):
    """The content of an error response."""

    message: str
    code: str = ""
    hint: str = ""


class FailureReply(Struct, frozen=True):
    """An error response: OpenAI's envelope with Meshlight's hint."""

    error: Failure
