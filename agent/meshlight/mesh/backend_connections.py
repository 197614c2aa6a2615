"""What requests to a backend go through: its HTTP clients, its kind, its credentials; one connection per backend."""

from collections.abc import Callable
from time import monotonic, time
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import (
    BackendKind,
    Channel,
    ChannelDeps,
    LocalRoutes,
    OnDemand,
    Paced,
    Places,
    Probe,
    TokenStore,
)
from meshlight.backends.kinds import kind_of
from meshlight.domain.backend import Backend
from meshlight.domain.clock import Clock
from meshlight.domain.errors import SecretError
from meshlight.domain.health import Answered, Fact
from meshlight.domain.operations import Operation
from meshlight.http_client.address import Address, parse_address
from meshlight.http_client.client import Headers, Upstream
from meshlight.mesh.settings_store import SettingsStore

MISSING_OPERATIONS_MAX = 1_000
"""Missing operations (or declined fields) of models that are remembered for one backend."""


class ClientFactory(Protocol):
    """Makes HTTP clients."""

    def __call__(self, address: Address, backend: Backend | None = None, /) -> Upstream:
        """Return a client for an address; the backend decides which certificates are accepted."""


class RequestTemplate(Struct, frozen=True):
    """What all requests for one operation of one backend have in common, computed once."""

    auth: Headers
    """The headers that carry the secret."""
    defaults: Headers
    """The headers that are added where the client sent none of that name."""
    changes_path: bool
    """Whether the operation has another path there."""
    speaks: bool
    """Whether the kind has this operation at all."""


class BackendConnection:
    """The clients and credentials of one backend; made anew when its address changes."""

    __slots__ = (
        "_templates",
        "address",
        "backend",
        "channel",
        "declined_fields",
        "found",
        "has_routes",
        "is_metered",
        "is_proven",
        "kind",
        "missing_operations",
        "on_demand",
        "places",
        "probes",
        "secret",
        "upstream",
        "version",
    )

    def __init__(self, backend: Backend, upstream: Upstream, probes: Upstream) -> None:
        self.backend = backend
        self.is_metered = backend.is_metered
        """The same as of its backend, which works it out anew each time."""
        self.kind: BackendKind = kind_of(backend.kind)
        self.address: Address = upstream.address
        self.upstream = upstream
        self.probes = probes
        """A client of its own for probes: its connections may stay idle longer, since a probe can be sent twice."""
        self.channel: Channel | None = None
        """What its kind keeps for one backend, if it keeps anything."""
        self.has_routes = False
        """Whether that channel knows another address, or other credentials, for each model."""
        self.places: Places | None = None
        """The same channel, where the backend consists of several places."""
        self.on_demand: OnDemand | None = None
        """The same channel, where each model has an engine of its own."""
        self.is_proven = False
        """Whether a request was served with this secret."""
        self.secret: str | None = None
        """None until the first probe has read it, and where there is none."""
        self.missing_operations: set[tuple[Operation, str]] = set()
        """Operations that its kind has and this backend turned out not to have for a model, being an old version."""
        self.declined_fields: dict[str, frozenset[str]] = {}
        """Fields that it turned out not to accept for a model, where a translation had written them."""
        self.found: dict[str, str] = {}
        """Labelled lines for people about what answers have shown; they stay until it is down."""
        self.version = 0
        """Grows whenever its requests have to be built anew."""
        self._templates: dict[Operation, RequestTemplate] = {}

    def template(self, operation: Operation) -> RequestTemplate:
        """Return what all requests for an operation have in common."""
        found = self._templates.get(operation)
        if found is None:
            kind, probe = self.kind, "/v1/x"
            found = self._templates[operation] = RequestTemplate(
                auth=tuple(kind.authorize_at(self.address, self.secret, operation)),
                defaults=tuple(kind.default_headers(operation)),
                changes_path=kind.path(operation, probe) != probe,
                speaks=kind.speaks(operation),
            )
        return found

    def auth(self, operation: Operation) -> Headers:
        """Return the headers that carry the secret for an operation."""
        return self.template(operation).auth

    def speaks(self, operation: Operation, model: str) -> bool:
        """Whether a request for this operation can be sent untranslated."""
        return self.template(operation).speaks and not (
            self.missing_operations and (operation, model) in self.missing_operations
        )

    def record_missing_operation(self, operation: Operation, model: str) -> None:
        """Remember that an operation is missing for a model."""
        if len(self.missing_operations) >= MISSING_OPERATIONS_MAX:
            self.missing_operations.clear()
        self.missing_operations.add((operation, model))
        self.version += 1

    def record_declined_fields(self, model: str, fields: frozenset[str]) -> None:
        """Remember which fields are not accepted for a model."""
        if len(self.declined_fields) >= MISSING_OPERATIONS_MAX:
            self.declined_fields.clear()
        self.declined_fields[model] = fields

    def declined_lines(self) -> dict[str, str]:
        """Return the declined fields as a labelled line for people; empty without any."""
        fields = sorted({name for names in self.declined_fields.values() for name in names})
        return {"Does not take": ", ".join(fields)} if fields else {}

    def close(self) -> None:
        """Close the clients; requests that run on them end first."""
        if self.channel is not None:
            self.channel.close()
        self.upstream.close()
        self.probes.close()

    def set_secret(self, secret: str | None) -> None:
        """Use this secret from now on."""
        if secret != self.secret:
            self.secret = secret
            self.is_proven = False
            self.version += 1
            self._templates.clear()


class BackendConnections:
    """All connections, by backend id.

    `probe_soon` is called with the id of a backend whose channel asks for a probe; `on_part_fact` with a backend's
    id, a place behind it, and what was observed there. `clock` is monotonic seconds, `wall` Unix seconds; `local` are
    this machine's own models.
    """

    def __init__(  # noqa: PLR0913 - most are given by name
        self,
        store: SettingsStore,
        upstream_for: ClientFactory,
        probes_for: ClientFactory,
        *,
        probe_soon: Callable[[str], None] = lambda _: None,
        on_part_fact: Callable[[str, str, Fact], None] = lambda _, __, ___: None,
        clock: Clock = monotonic,
        wall: Clock = time,
        token_store: TokenStore | None = None,
        local: LocalRoutes | None = None,
    ) -> None:
        self._store = store
        self._upstream_for = upstream_for
        self._probes_for = probes_for
        self._clock = clock
        self._wall = wall
        self._token_store = token_store
        self._local = local
        self._connections: dict[str, BackendConnection] = {}
        self._probe_soon = probe_soon
        self._on_part_fact = on_part_fact

    def put(self, backend: Backend) -> BackendConnection:
        """Return the connection of a backend, made anew if its address, its account or its kind has changed."""
        old = self._connections.get(backend.id)
        if old is not None and old.backend is backend:
            return old
        if old is not None and _route(old.backend) == _route(backend):
            old.backend = backend
            old.is_metered = backend.is_metered
            return old
        connection = self.make(backend)
        if old is not None:
            old.close()
            if old.backend.kind == backend.kind and old.address.origin == connection.address.origin:
                connection.set_secret(old.secret)
        self._connections[backend.id] = connection
        return connection

    def make(self, backend: Backend) -> BackendConnection:
        """Return a connection that is not listed: for a backend that is tried before it is added."""
        address = parse_address(backend.url)
        connection = BackendConnection(
            backend, self._upstream_for(address, backend), self._probes_for(address, backend)
        )
        # Where a server has one thread, the connection that rests after a probe would hold up all requests.
        connection.upstream.share_room(connection.probes)

        def upstream_for(address: Address) -> Upstream:
            return self._upstream_for(address, backend)

        deps = ChannelDeps(
            backend,
            connection.probes,
            upstream_for,
            self._clock,
            self._wall,
            lambda: self._probe_soon(backend.id),
            lambda place, fact: self._on_part_fact(backend.id, place, fact),
            self._token_store,
            self._local,
        )
        connection.channel = channel = connection.kind.open_channel(deps)
        connection.has_routes = channel is not None and type(channel).route is not Channel.route
        connection.places = _places(channel)
        connection.on_demand = _on_demand(channel)
        return connection

    def check_now(self, backend_id: str) -> None:
        """Have the next probe of a backend send a request, or say when it can, where it could answer from memory."""
        connection = self._connections.get(backend_id)
        channel: object = None if connection is None else connection.channel
        if isinstance(channel, Paced):
            channel.check_now()

    async def probe(self, connection: BackendConnection, secret: str | None) -> Probe:
        """Check a backend's health once."""
        if connection.backend.models and connection.kind.takes_models:
            probe = await connection.kind.probe_without_list(connection.probes, connection.backend, secret)
        elif connection.channel is not None:
            probe = await connection.channel.probe(connection.backend, secret)
        else:
            probe = await connection.kind.probe(connection.probes, connection.backend, secret)
        if probe.can_load is None and connection.kind.can_load:
            probe = replace(probe, can_load=True)
        if not isinstance(probe.fact, Answered):
            connection.missing_operations.clear()  # it may come back as a newer version
            connection.declined_fields.clear()
            connection.found.clear()
        elif (connection.declined_fields or connection.found) and probe.about is not None:
            probe = replace(probe, about={**probe.about, **connection.declined_lines(), **connection.found})
        return probe

    def get(self, backend_id: str) -> BackendConnection | None:
        """Return a backend's connection, if there is one."""
        return self._connections.get(backend_id)

    def remove(self, backend_id: str) -> None:
        """Remove a connection; requests that run on it end first."""
        connection = self._connections.pop(backend_id, None)
        if connection is not None:
            connection.close()

    async def read_secret(self, connection: BackendConnection) -> str | None:
        """Read a backend's secret and return it; its connection uses it from now on.

        Raises SecretError when it can't be read, or was saved for another origin.
        """
        try:
            secret = await self._store.secret(connection.backend.id, connection.address.origin)
        except SecretError as error:
            if error.state == "other-address":
                connection.set_secret(None)
            raise
        connection.set_secret(secret)
        return secret

    def retry_secrets(self) -> None:
        """Ask the keyring again at the next need."""
        self._store.retry_secrets()

    def close(self) -> None:
        """Close all."""
        for backend_id in tuple(self._connections):
            self.remove(backend_id)


def _places(channel: object) -> Places | None:
    return channel if isinstance(channel, Places) else None


def _on_demand(channel: object) -> OnDemand | None:
    return channel if isinstance(channel, OnDemand) else None


def _route(backend: Backend) -> tuple[object, ...]:
    """Return what a connection depends on."""
    return (
        parse_address(backend.url),
        backend.kind,
        backend.ca_file,
        backend.proxy_setting,
        backend.access_key,
        backend.follow_clock,
        backend.node_id,
    )
