"""What it takes to talk to one backend: its upstream client, its kind, its credentials."""

from collections.abc import Callable
from time import monotonic, time
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import BackendKind, Channel, ChannelDeps, Places, Probe
from meshlight.backends.kinds import kind_of
from meshlight.domain.backend import Backend
from meshlight.domain.errors import SecretError
from meshlight.domain.health import Answered, Fact
from meshlight.domain.operations import Operation
from meshlight.http_client.address import Address, parse_address
from meshlight.http_client.client import Headers, Upstream

MISSING_OPERATIONS_MAX = 1_000
"""Faces of models that are remembered as missing."""


class SecretSource(Protocol):
    """Where the secrets of backends come from; never blocks the loop."""

    async def secret(self, backend_id: str, origin: str) -> str | None:
        """Return the secret of a backend, or None when it has none.

        Raises SecretError when it can't be read, or was given for another origin (see `Address.origin`).
        """

    def retry_secrets(self) -> None:
        """Ask the keyring anew at the next need, even if it failed a moment ago: the user wants to know now."""


class ClientFactory(Protocol):
    """Makes upstream clients."""

    def __call__(self, address: Address, backend: Backend | None = None, /) -> Upstream:
        """Return a client for an address; the backend says what the certificate is checked against."""


class RequestTemplate(Struct, frozen=True):
    """What every request to one face of one backend has in common, worked out once."""

    auth: Headers
    """The headers that carry the secret."""
    defaults: Headers
    """The headers that it gets where its client sent none of that name."""
    moves: bool
    """Whether the face lives elsewhere there."""
    speaks: bool
    """Whether the kind has this face at all."""


class BackendConnection:
    """The live means of talking to one backend, made anew when its address changes."""

    __slots__ = (
        "_lanes",
        "address",
        "backend",
        "channel",
        "declines",
        "is_proven",
        "kind",
        "lacks",
        "places",
        "probes",
        "secret",
        "upstream",
    )

    def __init__(self, backend: Backend, upstream: Upstream, probes: Upstream) -> None:
        self.backend = backend
        self.kind: BackendKind = kind_of(backend.kind)
        self.address: Address = upstream.address
        self.upstream = upstream
        self.probes = probes
        """A connection of its own for probes: it may rest longer, since a probe can be sent twice."""
        self.channel: Channel | None = None
        """What its kind keeps for it, if it keeps anything."""
        self.places: Places | None = None
        """The same channel, where the backend is several places."""
        self.is_proven = False
        """Whether a request was served with this secret."""
        self.secret: str | None = None
        """Known once the first probe has read it."""
        self.lacks: set[tuple[Operation, str]] = set()
        """Faces that its kind has and this one turned out not to have for a model: an old version serves it."""
        self.declines: dict[str, frozenset[str]] = {}
        """Fields that it turned out not to take for a model, where a translation had written them."""
        self._lanes: dict[Operation, RequestTemplate] = {}

    def lane(self, operation: Operation) -> RequestTemplate:
        """Return what every request to a face has in common."""
        found = self._lanes.get(operation)
        if found is None:
            kind, probe = self.kind, "/v1/x"
            found = self._lanes[operation] = RequestTemplate(
                auth=tuple(kind.authorize_at(self.address, self.secret, operation)),
                defaults=tuple(kind.default_headers(operation)),
                moves=kind.path(operation, probe) != probe,
                speaks=kind.speaks(operation),
            )
        return found

    def auth(self, operation: Operation) -> Headers:
        """Return the headers that carry the secret to a face."""
        return self.lane(operation).auth

    def speaks(self, operation: Operation, model: str) -> bool:
        """Whether a request to this face can be sent as it is."""
        return self.lane(operation).speaks and not (self.lacks and (operation, model) in self.lacks)

    def learn_lack(self, operation: Operation, model: str) -> None:
        """Know from now on that a face is not there for a model."""
        if len(self.lacks) >= MISSING_OPERATIONS_MAX:
            self.lacks.clear()
        self.lacks.add((operation, model))

    def learn_declined(self, model: str, fields: frozenset[str]) -> None:
        """Know from now on which fields are not taken for a model."""
        if len(self.declines) >= MISSING_OPERATIONS_MAX:
            self.declines.clear()
        self.declines[model] = fields

    def notes(self) -> dict[str, str]:
        """Return what was learnt about it on the way, as labelled lines for people."""
        fields = sorted({name for names in self.declines.values() for name in names})
        return {"Does not take": ", ".join(fields)} if fields else {}

    def close(self) -> None:
        """Close the connections; requests that run on them end first."""
        if self.channel is not None:
            self.channel.close()
        self.upstream.close()
        self.probes.close()

    def know(self, secret: str | None) -> None:
        """Use this secret from now on."""
        if secret != self.secret:
            self.secret = secret
            self.is_proven = False
            self._lanes.clear()


class BackendConnections:
    """All links by backend id.

    `clock` is monotonic seconds, `wall` Unix seconds.
    """

    def __init__(
        self,
        secrets: SecretSource,
        upstream_for: ClientFactory,
        probes_for: ClientFactory,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self._secrets = secrets
        self._upstream_for = upstream_for
        self._probes_for = probes_for
        self._clock = clock
        self._wall = wall
        self._links: dict[str, BackendConnection] = {}
        self.probe_soon: Callable[[str], None] = lambda _: None
        """Called with the id of a backend that should be probed soon; the prober sets it."""
        self.tell: Callable[[str, str, Fact], None] = lambda _, __, ___: None
        """Called with a backend's id, a place behind it, and what was seen there; the prober sets it."""

    def put(self, backend: Backend) -> BackendConnection:
        """Return the link of a backend, made anew if it leads elsewhere, or as somebody else, than before."""
        old = self._links.get(backend.id)
        if old is not None and old.backend is backend:
            return old
        if old is not None and _route(old.backend) == _route(backend):
            old.backend = backend
            return old
        link = self.make(backend)
        if old is not None:
            old.close()
            if old.backend.kind == backend.kind and old.address.origin == link.address.origin:
                link.know(old.secret)
        self._links[backend.id] = link
        return link

    def make(self, backend: Backend) -> BackendConnection:
        """Return a link that nobody else gets: for a backend that is tried before it is kept."""
        address = parse_address(backend.url)
        link = BackendConnection(
            backend, self._upstream_for(address, backend), self._probes_for(address, backend)
        )

        def upstream_for(address: Address) -> Upstream:
            return self._upstream_for(address, backend)

        means = ChannelDeps(
            backend,
            link.probes,
            upstream_for,
            self._clock,
            self._wall,
            lambda: self.probe_soon(backend.id),
            lambda place, fact: self.tell(backend.id, place, fact),
        )
        link.channel = link.kind.open_channel(means)
        link.places = _places(link.channel)
        return link

    async def probe(self, link: BackendConnection, secret: str | None) -> Probe:
        """Check a backend's health once."""
        if link.backend.models and link.kind.takes_models:
            probe = await link.kind.probe_without_list(link.probes, link.backend, secret)
        elif link.channel is not None:
            probe = await link.channel.probe(link.backend, secret)
        else:
            probe = await link.kind.probe(link.probes, link.backend, secret)
        if not isinstance(probe.fact, Answered):
            link.lacks.clear()  # it may come back as a newer version
            link.declines.clear()
        elif link.declines and probe.about is not None:
            probe = replace(probe, about={**probe.about, **link.notes()})
        return probe

    def get(self, backend_id: str) -> BackendConnection | None:
        """Return a backend's link, if there is one."""
        return self._links.get(backend_id)

    def remove(self, backend_id: str) -> None:
        """Close a link; requests that run on it end first."""
        link = self._links.pop(backend_id, None)
        if link is not None:
            link.close()

    async def read_secret(self, link: BackendConnection) -> str | None:
        """Read a backend's secret and hand it to its link; SecretError when it can't be read, or isn't for there."""
        try:
            secret = await self._secrets.secret(link.backend.id, link.address.origin)
        except SecretError as error:
            if error.state == "other-address":
                link.know(None)
            raise
        link.know(secret)
        return secret

    def retry_secrets(self) -> None:
        """Ask the keyring anew at the next need."""
        self._secrets.retry_secrets()

    def close(self) -> None:
        """Close every link."""
        for backend_id in tuple(self._links):
            self.remove(backend_id)


def _places(channel: object) -> Places | None:
    return channel if isinstance(channel, Places) else None


def _route(backend: Backend) -> tuple[object, ...]:
    """Return what a link is made of."""
    return (
        parse_address(backend.url),
        backend.kind,
        backend.ca_file,
        backend.proxy_setting,
        backend.access_key,
        backend.follow_clock,
        backend.node_id,
    )
