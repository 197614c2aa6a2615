"""What the local API answers besides the views of the domain, as far as a client reads it."""

from msgspec import Struct

from meshlight.domain.backend import Kind, Ring
from meshlight.domain.health import State
from meshlight.domain.routing import Tier
from meshlight.domain.rules import Policy
from meshlight.domain.view import BackendView, HealthView


class Alive(Struct, frozen=True):
    """`GET /healthz?challenge=…`: the proof that it holds the local key."""

    proof: str


class BackendList(Struct, frozen=True):
    """`GET /mesh/backends`."""

    backends: tuple[BackendView, ...]


class Refreshed(Struct, frozen=True):
    """`POST /mesh/refresh`: the refresh, and how many of its backends have been asked."""

    id: str
    total: int
    done: int = 0


class Check(Struct, frozen=True, kw_only=True):
    """`POST /mesh/backends/{id}/check`: what one probe said."""

    ok: bool
    health: HealthView
    """What is believed after it; one probe alone may not change that."""
    text: str = ""
    fix: str = ""
    latency_ms: float | None = None
    models: tuple[str, ...] = ()


class RouteLine(Struct, frozen=True, kw_only=True):
    """One backend's verdict in a `RouteReply`."""

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
    """`GET /mesh/route`: the backend that would answer now (`answers`), and every verdict, best first."""

    asked: str
    model: str
    policy: Policy
    answers: str | None = None
    routes: tuple[RouteLine, ...] = ()


class TestRun(Struct, frozen=True, kw_only=True):
    """One small request of a trial; either it went well or `error` says why not."""

    __test__ = False  # pytest collects classes by this name's start

    ok: bool
    backend: str | None = None
    first_token_ms: float | None = None
    tokens: int | None = None
    tokens_per_s: float | None = None
    total_ms: float | None = None
    text: str = ""
    error: str | None = None


class Trial(Struct, frozen=True, kw_only=True):
    """`POST /mesh/test`: the model that was asked, and how it went each time."""

    model: str
    runs: tuple[TestRun, ...] = ()


class SessionCode(Struct, frozen=True):
    """`POST /mesh/session/code`: a link that opens the page once, within a minute."""

    url: str


class SessionFile(Struct, frozen=True):
    """`POST /mesh/session/file`: a file that opens the page once, within a minute."""

    path: str


class Failure(Struct, frozen=True):
    """The inside of an error answer."""

    message: str
    code: str = ""
    hint: str = ""


class FailureReply(Struct, frozen=True):
    """An error answer: OpenAI's envelope with Meshlight's hint."""

    error: Failure
