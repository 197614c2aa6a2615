"""What every kind of backend can do: `BackendKind`, and what it works with.

To add a kind, write one file, one test and one line:

1. Add its name to `Kind` in `domain/backend.py`.
2. Write a subclass of `BackendKind` in `engines/` or `clouds/` (of `Cloud`, for a provider's API). It needs `kind`,
   `label`, `start` and `detect`; whatever else it does differently from a server with `GET /v1/models` and a bearer
   token, it overrides.
3. Add it to the table in `kinds.py`. Configuration, CLI, page and API follow from there.
4. Test it under the same path in `tests/backends`, with the server's real answers (`playback.Playback`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Protocol, runtime_checkable

from msgspec import Struct

from meshlight.backends.diagnostics import no_list_reason, not_this_kind, reason, status_fact
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.model_control import cannot
from meshlight.backends.model_list import BODY_LIMIT, Listing, read_models
from meshlight.backends.rate_limits import rate_limits
from meshlight.domain.account_limits import Limit, LimitKind
from meshlight.domain.backend import Backend, Kind, ModelDetail, Reason, Ring
from meshlight.domain.errors import ReadTimeout, ResponseTooLarge, UpstreamError
from meshlight.domain.health import Answered, Fact, Failed, ProbeFact
from meshlight.domain.local_models import Demand
from meshlight.domain.operations import OPERATIONS, Operation
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.reply import Headers, Reply

Group = Literal["engine", "local", "router", "cluster", "cloud", "peer"]
NOT_ADDED = frozenset[Group]({"local", "peer"})
"""The groups whose backends nobody adds: they are there by themselves, or by pairing."""

PROBE_S = 2.0
DETECT_S = 1.0
MODELS = "/v1/models"


class Field(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input of the form that adds a backend; `name` is the field of the API request that adds it."""

    name: str
    label: str
    required: bool = False
    is_secret: bool = False
    """Never shown, stored in the keyring."""
    hint: str = ""
    placeholder: str = ""
    default: str = ""


PROXY_FIELD = Field(
    name="proxy",
    label="Proxy",
    hint="env for HTTPS_PROXY and NO_PROXY, none, or http://HOST:PORT. Empty: env for clouds, none for all else.",
    placeholder="env",
)
MODELS_FIELD = Field(
    name="models",
    label="Models",
    hint="Only if its server has no list of models: their names, with commas between.",
)


class Probe(Struct, frozen=True, kw_only=True):
    """The result of one health check; None means "not found out this time", so the last known value stays."""

    fact: ProbeFact
    models: tuple[str, ...] | None = None
    """The ids served now, in the backend's own order."""
    is_busy: bool = False
    """Whether it accepted the connection but did not answer: for `busy_grace_s` that means busy, not down."""
    details: Mapping[str, ModelDetail] | None = None
    """What the backend reports about its models, by id."""
    details_at: float | None = None
    """When that was read, in monotonic seconds, where it is older than the probe."""
    about: Mapping[str, str] | None = None
    """Labelled lines about the backend for people, in order: `{"Version": "b6500"}`."""
    warnings: tuple[str, ...] | None = None
    """Sentences about a backend that works, but needs attention."""
    names: Mapping[str, str] | None = None
    """Further names of its routes (`backend/NAME`), and the id that each serves, or "" while unknown."""
    places: Mapping[str, tuple[str, ...]] | None = None
    """The services behind it that serve a model or a further name: each is a route of its own."""
    unusable: Mapping[str, Reason] | None = None
    """Models and further names that exist there and can't be used now, and why."""
    degraded: str | None = None
    """Why it can serve nothing though it answers; empty when it can."""
    note: str = ""
    """What a check that a person asked for could not check, and when it can."""
    can_load: bool | None = None
    """Whether this backend can be asked to load and unload models; None for what its kind says of all."""


class DetectedEngine(Struct, frozen=True):
    """A server whose kind was recognised by its answers."""

    kind: Kind
    url: str
    name: str
    models: tuple[str, ...]


class HttpClient(Protocol):
    """The part of `Upstream` that a kind needs: the address, and small exchanges."""

    @property
    def address(self) -> Address:
        """Where it connects to."""

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 2.0,
        limit: int = 1 << 20,
    ) -> Reply:
        """Send one request and read the complete answer; raises an UpstreamError."""


class TokenStore(Protocol):
    """Keeps the tokens of an account over a restart, sealed: the store can't read them."""

    def read(self, account: str) -> bytes:
        """Return what was written last for an account; empty when nothing was, or it can't be read."""

    def write(self, account: str, sealed: bytes) -> None:
        """Store this for an account, in the place of what was there."""


def _no_probe() -> None:
    """Stand for a missing prober."""


def _no_report(place: str, fact: Fact) -> None:
    """Stand for a missing reader of reports."""


class LocalRoutes(Protocol):
    """This machine's own models, as far as their backend needs them."""

    def probe(self) -> Probe:
        """Return their health and list, from memory."""

    async def route(self, model: str, demand: Demand) -> "ModelRoute":
        """Return the route to a model's engine, started if need be; raises RouteUnavailable with the reason."""

    def route_now(self, model: str, demand: Demand) -> "ModelRoute | None":
        """Return the same if the engine runs, else None."""

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        """Return why the engine behind a route has ended; None if it runs, or nobody knows."""


class ChannelDeps(Struct, frozen=True):
    """What a channel is made of."""

    backend: Backend
    probes: HttpClient
    upstream_for: Callable[[Address], Upstream]
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds, by this machine's clock."""
    probe_soon: Callable[[], None] = _no_probe
    """Requests a probe soon, because something has changed there."""
    report: Callable[[str, Fact], None] = _no_report
    """Reports what was observed of one service behind the backend."""
    token_store: TokenStore | None = None
    """Keeps tokens over a restart; None: they are issued anew."""
    local: LocalRoutes | None = None
    """This machine's own models; None where there are none."""


class ModelRoute(Struct, frozen=True):
    """Where the requests for one model go: which server, with which credentials, under which name."""

    upstream: Upstream
    auth: Headers
    model: str
    """The model's name at that server."""

    def __repr__(self) -> str:
        return f"ModelRoute({self.upstream.address.url}, ***, {self.model!r})"


class Channel(ABC):
    """The state that a kind keeps for one backend: tokens, clocks, the server of each model.

    It is made together with the connection to the backend, and closed with it.
    """

    was_used = False
    """Whether a request has gone to the backend since the channel looked last."""

    @abstractmethod
    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Check the health once, instead of the kind's own `probe`."""

    async def route(self, model: str, secret: str | None) -> ModelRoute | None:  # noqa: ARG002 — for those with routes
        """Return the route to a model; None for the backend's own address with the kind's own credentials.

        Raises RouteUnavailable, or the UpstreamError of a request that was needed to find the route.
        """
        return None

    def renew(self, model: str, status: int, body: bytes) -> bool:  # noqa: ARG002 — for those with credentials that expire
        """Drop what a refusal proves to be out of date; return whether a new `route` may succeed.

        Called at most once for a request.
        """
        return False

    def close(self) -> None:  # noqa: B027 — most have nothing to close
        """Release everything."""


@runtime_checkable
class Paced(Protocol):
    """What a channel has in addition if its probes may answer from memory, because requests are counted there."""

    def check_now(self) -> None:
        """Have the next probe send a request, or say when it can: a person wants to know."""


@runtime_checkable
class OnDemand(Protocol):
    """What a channel has in addition if each model has an engine of its own, which requests start."""

    async def route_for(self, model: str, demand: Demand) -> ModelRoute:
        """Return the route to a model, loaded if need be; raises as `Channel.route` does."""

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """Return the same if the model is loaded, else None; the same object as long as that stays so."""

    async def why_lost(self, model: str, route: ModelRoute) -> Reason | None:
        """Return why a connection to a model's engine has ended; None if nobody knows."""


@runtime_checkable
class Places(Protocol):
    """What a channel has in addition if the backend consists of several services, each with a health of its own."""

    async def route_at(self, place: str, model: str) -> ModelRoute:
        """Return the route to a model at one service; raises as `Channel.route` does."""

    def renew_at(self, place: str, status: int, body: bytes) -> bool:
        """Do for one service what `Channel.renew` does."""

    def check_soon(self, place: str) -> None:
        """Check a service soon, because traffic gave reason to."""

    def refusal_reason(self, place: str, refusal: Reply) -> Reason:
        """Say why a service still refuses a request with 401 or 403 after `renew_at`."""


class BackendKind(ABC):
    """How to talk to one kind of backend; by default a server with `GET /v1/models`, and all else below `/v1`.

    A kind holds no state of a single backend, since one object serves them all; `open_channel` is for that.

    The list of models is read by every probe: it proves more than a health page, costs the same, and shows a newly
    pulled model. The latency is the time from sending the request to the answer's head. It excludes connecting, so it
    means the same on new and on reused connections, and servers that close after each answer have one too.
    """

    kind: ClassVar[Kind]
    """Its name in configuration and API."""
    label: ClassVar[str]
    """Its name for people."""
    about: ClassVar[str] = ""
    """What it is, in a few words."""
    group: ClassVar[Group] = "engine"
    """Among which others it is listed."""
    default_url: ClassVar[str] = ""
    """Where it is if no URL is given; empty if one must be given."""
    start: ClassVar[str]
    """How a person starts it, as the beginning of a sentence: "Start Ollama (`ollama serve`)"."""
    usual_ports: ClassVar[tuple[int, ...]] = ()
    """The ports on which it usually listens on this machine; empty if it is never searched for."""
    busy_grace_s: ClassVar[float] = 0.0
    """For how long silence on an accepted connection means busy, in seconds."""
    default_ring: ClassVar[Ring | None] = None
    """The ring that it is always in; None if its address decides."""
    operations: ClassVar[frozenset[Operation]] = frozenset(OPERATIONS)
    """What it has a path for; whether a model can do it is another question."""
    has_other_paths: ClassVar[bool] = True
    """Whether it may have paths of its own below `/v1` that take OpenAI's form of request."""
    list_path: ClassVar[str] = MODELS
    probe_s: ClassVar[float] = PROBE_S
    """How long a probe may take, in seconds."""
    key_hint: ClassVar[str] = "Only if the server asks for one."
    takes_models: ClassVar[bool] = True
    """Whether a user may name its models by hand."""
    can_load: ClassVar[bool] = False
    """Whether every backend of this kind can be asked to load and unload models; see `Probe.can_load`."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a person fills in to add one: the address, and a key, which few engines want."""
        port = self.usual_ports[0] if self.usual_ports else 8000
        return (
            Field(name="url", label="Address", required=True, placeholder=f"http://127.0.0.1:{port}"),
            Field(name="api_key", label="API key", is_secret=True, hint=self.key_hint),
        )

    @abstractmethod
    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """Return what is there if its answers show that it is of this kind, by two or three GETs at most.

        The port proves nothing, and no model name or key is sent. Raises the UpstreamErrors of `upstream`.
        """

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Check the health once, by the list of models; every failure becomes the fact, with cause and fix."""
        try:
            reply = await self.fetch_list(upstream, secret)
        except UpstreamError as error:
            return self.failed_probe(error, backend)
        return await in_thread_if_large(len(reply.body), self.judge_list, reply, backend, secret)

    async def probe_without_list(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Check the health of a server whose models the user named, by a request for the list that it may not have.

        Every answer counts as healthy but a refused key (401), too many requests (429), a model being loaded and a
        failing server (5xx; 501 is no failure, it is about the path alone).
        """
        latency_s: float | None = None
        try:
            reply = await self.fetch_list(upstream, secret)
        except ResponseTooLarge:
            pass  # it answers
        except UpstreamError as error:
            return self.failed_probe(error, backend)
        else:
            latency_s = reply.elapsed_s
            if reply.status in {401, 429} or (reply.status >= 500 and reply.status != 501):
                return Probe(fact=status_fact(reply, backend, self.label, secret))
        return Probe(
            fact=Answered(latency_s), models=backend.models, details={}, about={"Models": "named by hand"}
        )

    async def fetch_list(self, upstream: HttpClient, secret: str | None) -> Reply:
        """Request the list of models; raises an UpstreamError."""
        headers = self.authorize_at(upstream.address, secret)
        return await upstream.fetch(
            "GET", self.list_path, headers=headers, timeout_s=self.probe_s, limit=BODY_LIMIT
        )

    def failed_probe(self, error: UpstreamError, backend: Backend) -> Probe:
        """Return the result of a probe that got no answer."""
        return Probe(fact=Failed(self.explain(error, backend)), is_busy=isinstance(error, ReadTimeout))

    def judge_list(self, reply: Reply, backend: Backend, secret: str | None) -> Probe:
        """Return the result of a probe from the answer to `fetch_list`."""
        if reply.status != 200:
            return Probe(fact=status_fact(reply, backend, self.label, secret))
        listing = self.read_list(reply.body)
        if listing is None:
            return Probe(fact=Failed(no_list_reason(reply, backend, self.label, secret)))
        if not self.is_own_list(reply, listing):
            return Probe(fact=Failed(not_this_kind(backend, self.label)))
        return Probe(fact=Answered(reply.elapsed_s), models=listing.models)

    def read_list(self, body: bytes) -> Listing | None:
        """Read the list of models in this kind's shape; None if it is no such list."""
        return read_models(body)

    def is_own_list(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — for kinds that can tell
        """Whether a valid list may be this kind's; False only if it is certainly another engine's."""
        return True

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:  # noqa: ARG002 — some kinds differ
        """Return the headers that carry the secret upstream; without an operation, those of a probe.

        By default a bearer token. A text with line breaks is not a key, and is not sent.
        """
        token = token_of(secret)
        return ((b"authorization", b"Bearer " + token),) if token else ()

    def authorize_at(
        self,
        address: Address,  # noqa: ARG002 — for kinds where it matters
        secret: str | None,
        operation: Operation | None = None,
    ) -> Headers:
        """Return the headers that carry the secret to an address; by default the same for all."""
        return self.authorize(secret, operation)

    def default_headers(self, operation: Operation) -> Headers:  # noqa: ARG002 — for kinds that want some
        """Return the headers that are added to a request whose client sent none of that name."""
        return ()

    def speaks(self, operation: Operation) -> bool:
        """Whether this kind has a path for an operation at all; what a model can do is another question."""
        return operation in self.operations or (operation == "other" and self.has_other_paths)

    def path(self, operation: Operation, path: str) -> str:  # noqa: ARG002 — for kinds that moved it
        """Return the path of an operation there, given the path to which it is posted here."""
        return path

    def open_channel(self, deps: ChannelDeps) -> Channel | None:  # noqa: ARG002 — for kinds with state
        """Return the state that is kept for one backend; None if there is none."""
        return None

    async def load_model(
        self,
        upstream: HttpClient,  # noqa: ARG002 — for kinds that can
        backend: Backend,
        secret: str | None,  # noqa: ARG002 — the same
        model: str,  # noqa: ARG002 — the same
        *,
        stays: bool = True,  # noqa: ARG002 — for kinds where that is asked for
    ) -> None:
        """Load a model, within `backend.first_byte_s`; returns when it is loaded or, if that is not told, under way.

        Where the engine unloads idle models by itself, the model `stays` until it is unloaded, or is as any other.
        Raises an UpstreamError, NotFound, Conflict (this one can't) or BackendCheckFailed (it did not).
        """
        raise cannot(backend, f"{self.label} has no such request.")

    async def unload_model(
        self,
        upstream: HttpClient,  # noqa: ARG002 — for kinds that can
        backend: Backend,
        secret: str | None,  # noqa: ARG002 — the same
        model: str,  # noqa: ARG002 — the same
    ) -> None:
        """Unload a model; one that is not loaded is no error. Raises as `load_model` does."""
        raise cannot(backend, f"{self.label} has no such request.")

    def explain(self, error: UpstreamError, backend: Backend) -> Reason:
        """Say why a backend gave no answer."""
        return reason(error, backend, self.label, self.start)

    def limits_from_headers(self, headers: Headers) -> Mapping[LimitKind, Limit]:
        """Return what an answer's headers say of the limits of the backend's account; empty for nothing."""
        return rate_limits(headers)

    def detected(self, upstream: HttpClient, models: tuple[str, ...]) -> DetectedEngine:
        """Return a detected server, named by label and port as in `llama.cpp :8080`."""
        address = upstream.address
        return DetectedEngine(self.kind, address.url, f"{self.label} :{address.port}", models)


async def fetch_without_key(upstream: HttpClient, path: str) -> Reply:
    """Send one GET to a server that is not known yet; raises an UpstreamError."""
    return await upstream.fetch("GET", path, timeout_s=DETECT_S, limit=BODY_LIMIT)


def token_of(secret: str | None) -> bytes:
    """Return a key as it goes into a header; empty for none, and for a text with line breaks."""
    token = (secret or "").strip()
    return token.encode() if token.isprintable() else b""
