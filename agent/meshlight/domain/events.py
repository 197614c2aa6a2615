"""The events of the mesh, as `/mesh/events` sends them: each has the next number (`seq`).

They never contain a prompt, a key or a body. Fields may be added, not renamed.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from meshlight.domain.api_types import BackendView, DecisionView, HealthChange, QueueView, Requests
from meshlight.domain.health import State
from meshlight.domain.local_views import DownloadView, LocalModelView, MemoryView
from meshlight.domain.peers import PeersView
from meshlight.domain.snapshot import Light

EventName = Literal[
    "snapshot",
    "health",
    "topology",
    "traffic",
    "refresh",
    "incident",
    "peers",
    "local",
    "settings",
    "sign-in",
]


class HealthEvent(Struct, frozen=True, kw_only=True):
    """The health or latency of these backends changed."""

    seq: int
    backends: tuple[HealthChange, ...]
    light: Light | None = None
    """The colour of the whole mesh after this event, as in the snapshot; None from an older service."""
    light_reason: str = ""


class TopologyEvent(Struct, frozen=True, kw_only=True):
    """Backends that were added or changed (complete), and removed ones (ids)."""

    seq: int
    backends: tuple[BackendView, ...]
    removed: tuple[str, ...] = ()
    offered: Mapping[str, tuple[str, ...]] = {}
    """All that is offered and not used now, as in the snapshot."""
    light: Light | None = None
    """The colour of the whole mesh after this event, as in the snapshot; None from an older service."""
    light_reason: str = ""


class RouteTraffic(Struct, frozen=True, kw_only=True):
    """One route in a `traffic` event: counts since the last such event, and what is in flight now."""

    backend: str
    model: str
    started: int = 0
    ok: int = 0
    failed: int = 0
    in_flight: int = 0


class TrafficEvent(Struct, frozen=True, kw_only=True):
    """What happened on the routes in the last 250 ms."""

    seq: int
    routes: tuple[RouteTraffic, ...]
    router: Requests
    waiting: Mapping[str, int] | UnsetType = UNSET
    """Requests that wait for a free slot now, by model; only the models where that has changed."""
    queues: Mapping[str, QueueView] | UnsetType = UNSET
    """Who they are and how long they wait, of those models for which some do."""
    decisions: tuple[DecisionView, ...] | UnsetType = UNSET
    """Where requests went since the last such event, and why: the last few."""
    apps: tuple[str, ...] | UnsetType = UNSET
    """Client apps whose requests were noticed, by their ids in `/mesh/apps`; while that was asked for."""


class RefreshEvent(Struct, frozen=True, kw_only=True):
    """The progress of a refresh; it is over when `done == total`."""

    seq: int
    id: str
    done: int
    total: int


class IncidentEvent(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A backend changed its state."""

    seq: int
    backend: str
    from_: State
    to: State
    reason: str
    text: str


class PeersEvent(Struct, frozen=True, kw_only=True):
    """The paired or discovered peers, or a pairing, have changed; contains all of them."""

    seq: int
    peers: PeersView


class LocalEvent(Struct, frozen=True, kw_only=True):
    """This machine's models that were added or changed (complete), removed ones (ids), memory and all downloads.

    At most four a second. `revision` is that of the whole view: another one than in the last answer of `/mesh/models`
    means that there is more to ask for.
    """

    seq: int
    models: tuple[LocalModelView, ...] = ()
    removed: tuple[str, ...] = ()
    memory: MemoryView = MemoryView()
    downloads: tuple[DownloadView, ...] = ()
    revision: int = 0


class SettingsEvent(Struct, frozen=True, kw_only=True):
    """Something that `/mesh/settings` tells has changed: ask for it again."""

    seq: int


class SignInRequestEvent(Struct, frozen=True, kw_only=True):
    """A browser asks to be let in, or no longer does (with an empty code)."""

    seq: int
    code: str
    left_s: float


Event = (
    LocalEvent
    | PeersEvent
    | HealthEvent
    | TopologyEvent
    | TrafficEvent
    | RefreshEvent
    | IncidentEvent
    | SettingsEvent
    | SignInRequestEvent
)
EVENT_NAMES: dict[type[Event], EventName] = {
    HealthEvent: "health",
    TopologyEvent: "topology",
    TrafficEvent: "traffic",
    RefreshEvent: "refresh",
    IncidentEvent: "incident",
    PeersEvent: "peers",
    LocalEvent: "local",
    SettingsEvent: "settings",
    SignInRequestEvent: "sign-in",
}
