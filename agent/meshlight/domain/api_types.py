"""What the local API answers: the snapshot at `/mesh/snapshot`, and the answers to the other requests.

The gateway encodes these structs and the API client decodes them. Times are ages in seconds, latencies milliseconds.
Apps build on these fields: add to them, but never rename one or change its meaning. Answers with structs of their
own are in `meshlight.domain.peers` (`/mesh/peers`), `app_views` (`/mesh/apps`) and `errors` (`Envelope`).
"""

from collections.abc import Callable, Mapping

from msgspec import UNSET, Struct, UnsetType, field

from meshlight.domain.backend import Backend, Kind, ModelDetail, Ring, Source
from meshlight.domain.health import Health, State
from meshlight.domain.precedence import offered
from meshlight.domain.route_score import Tier
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
    tokens_out_estimated: int = 0
    """Completion tokens of streams without `usage`, by the number of their events; not part of `tokens_out`."""


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
    proxy: str = ""
    """`env`, `none` or the URL of a proxy, as set; empty for the default: `env` for clouds, `none` for all else."""
    slots: int | None = None
    """Requests that it answers at the same time for each model, as set; None without the setting."""
    given_models: tuple[str, ...] = ()
    """The models that the user named because the server has no list; empty for what the server lists."""
    details: Mapping[str, ModelDetail] = field(default_factory=dict)
    """What the backend reports of its models, by id; without the models that it reports nothing of."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Further names of its routes, requested as `backend/NAME`, and the model id of each."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Labelled lines about the backend for people, such as its version."""
    warnings: tuple[str, ...] = ()
    """Sentences about what should be looked at though it works."""
    degraded: str = ""
    """Why it can serve nothing though it answers; empty when it can."""
    can_load: bool = False
    """Whether its models can be loaded and unloaded by request."""


class WaitingCaller(Struct, frozen=True):
    """A program or a peer, and how many requests of it wait."""

    name: str
    waiting: int


class QueueView(Struct, frozen=True, kw_only=True):
    """The requests that wait for a free slot of one model, wherever it becomes free."""

    waiting: int
    longest_s: float
    """How long the one has waited that came first."""
    expected_s: float | None = None
    """How long another one may wait: as long as the last one did that got a slot; None before one has."""
    callers: tuple[WaitingCaller, ...] = ()
    """Whose requests they are, those with most first; a program of this machine by the name it gives itself."""


class DecisionView(Struct, frozen=True, kw_only=True):
    """Where one request was sent (each attempt counts), and why there."""

    model: str
    backend: str
    why: str
    """The deciding word, as in the answer's `x-meshlight-why`."""
    age_s: float
    loaded: bool | None = None
    """Whether the model was in memory there, as far as that was known."""
    kept: bool | None = None
    """Whether its conversation stayed where it was before; None for the first request of one."""
    waited_s: float = 0.0
    """How long it waited for a slot before."""
    count: int = 1
    """Requests of which all this is true: those that had no choice are told together."""


class ModelView(Struct, frozen=True, kw_only=True):
    """One model id, the enabled backends that serve it, and its own counts once it was requested."""

    id: str
    backends: tuple[str, ...]
    requests: Workload | None = None
    waiting: int = 0
    """Requests that wait for a free slot at any of its backends."""
    queue: QueueView | UnsetType = UNSET
    """Who they are and how long they wait; absent while none waits."""


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
    findings: int = 0
    """How many findings `/mesh/findings` has, as of its last look."""
    decisions: tuple[DecisionView, ...] = ()
    """Where the last requests went, and why; the latest last."""


class HealthChange(Struct, frozen=True, kw_only=True):
    """One backend in a `health` event."""

    id: str
    enabled: bool
    health: HealthView
    latency_ms: float | None
    about: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    degraded: str = ""


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
        proxy=backend.proxy,
        slots=backend.slots,
        given_models=backend.models,
        details=node.details,
        names=node.names,
        about=node.about,
        warnings=(*node.warnings, node.slow) if node.slow else node.warnings,
        degraded=node.degraded,
        can_load=node.can_load,
    )


def health_change(node: Node, now: float) -> HealthChange:
    """Return the view of one backend's health alone."""
    return HealthChange(
        id=node.backend.id,
        enabled=node.backend.enabled,
        health=health_view(node.health, now),
        latency_ms=latency_ms(node.health),
        about=node.about,
        warnings=(*node.warnings, node.slow) if node.slow else node.warnings,
        degraded=node.degraded,
    )


def snapshot_view(  # noqa: PLR0913 - all that a snapshot is made of
    snapshot: Snapshot,
    seq: int,
    router: RouterView,
    by_backend: Mapping[str, Workload],
    by_model: Mapping[str, Workload],
    now: float,
    *,
    notices: tuple[str, ...] = (),
    waiting: Mapping[str, int] = {},
    findings: int = 0,
    suffering: str = "",
    queue: Callable[[str], QueueView | None] = lambda _: None,
    decisions: tuple[DecisionView, ...] = (),
) -> SnapshotView:
    """Return the view of the whole mesh at `now`, in monotonic seconds."""
    colour, reason = light(snapshot.nodes, suffering)
    if router.status == "paused":
        colour, reason = "grey", "Routing is paused."
    return SnapshotView(
        seq=seq,
        router=router,
        light=colour,
        light_reason=reason,
        backends=tuple(backend_view(n, by_backend.get(n.backend.id), now) for n in snapshot.nodes.values()),
        models=tuple(
            ModelView(
                id=model,
                backends=ids,
                requests=by_model.get(model),
                waiting=waiting.get(model, 0),
                queue=(queue(model) if model in waiting else None) or UNSET,
            )
            for model, ids in snapshot.routes.items()
        ),
        offered=offered(snapshot),
        notices=notices,
        findings=findings,
        decisions=decisions,
    )


class Identity(Struct, frozen=True, kw_only=True):
    """`GET /healthz`: which service this is. Anybody on this machine may read it, so it has no id of this start."""

    status: str = "ok"
    service: str = "meshlight"
    version: str
    proof: str | UnsetType = UNSET
    """The answer to a challenge; only a holder of the local key can compute it. Absent without a challenge."""


class SignInLink(Struct, frozen=True):
    """`POST /mesh/session/code`: a link that opens the page once, within a minute."""

    url: str


class PendingSignIn(Struct, frozen=True, kw_only=True):
    """A browser that asks to be let in now; with an empty code, none does."""

    code: str = ""
    """Four digits, shown in the browser and in the tray."""
    left_s: float = 0.0


class SignInFile(Struct, frozen=True):
    """`POST /mesh/session/file`: a file that opens the page once, within a minute, in a browser given its path."""

    path: str


class BackendList(Struct, frozen=True):
    """`GET /mesh/backends`: every backend, configured or discovered."""

    backends: tuple[BackendView, ...]


class CheckReport(Struct, frozen=True, kw_only=True):
    """`POST /mesh/backends/{id}/check`: the result of one probe."""

    ok: bool
    text: str
    fix: str
    health: HealthView
    """The backend's health after the probe; one probe alone need not change it."""
    latency_ms: float | None
    models: tuple[str, ...]
    note: str = ""
    """What this check could not check, and when it can."""


class RefreshProgress(Struct, frozen=True):
    """`POST /mesh/refresh`: how far a refresh has come. It is over when done == total.

    The total grows when new engines are found.
    """

    id: str
    done: int
    total: int


class RouteView(Struct, frozen=True, kw_only=True):
    """One route of a `RouteExplanation`, with the reason for its rank."""

    backend: str
    name: str
    model: str
    ring: Ring
    state: State
    tier: Tier
    why: str
    latency_ms: float | None
    in_flight: int
    place: str = ""
    """The service of a cluster that would answer; empty for a backend that is one service itself."""
    loaded: bool | None = None
    """Whether the model is in memory there, as far as that is known."""
    slots: int | None = None
    """Requests that it answers at the same time; null for no known limit."""
    context: int | None = None
    """Tokens of its context."""
    expected_s: float | None = None
    """Seconds until an answer would be complete, learned from earlier ones."""


class RouteExplanation(Struct, frozen=True, kw_only=True):
    """`GET /mesh/route`: the backend that would answer now (`answers`, null for none), and all routes, best first."""

    asked: str
    """The requested name, which may be an alias of `model`."""
    model: str
    policy: Policy
    answers: str | None
    routes: tuple[RouteView, ...]
    instead: str = ""
    """The fallback model that would answer; its routes come first. Empty while the model itself can be used."""
    fallback: str = ""
    """Why that one would answer."""
    fix: str = ""
    """What helps where none would answer."""


class ModelTestRun(Struct, frozen=True, kw_only=True):
    """One request of a model test: times in milliseconds; it succeeded, or `error` says why not.

    `tokens` is the backend's own count, else the number of pieces in which the stream came.
    """

    __test__ = False  # pytest collects classes by this name's start

    backend: str | None
    ok: bool
    first_token_ms: float | None
    tokens: int
    tokens_per_s: float | None
    total_ms: float
    text: str
    error: str | None = None


class ModelTestReport(Struct, frozen=True, kw_only=True):
    """`POST /mesh/test`: the model that was tested, and each run."""

    __test__ = False

    model: str
    runs: tuple[ModelTestRun, ...]
