"""What it takes to talk to one backend: its upstream client, its kind, its credentials."""

from collections.abc import Callable
from typing import Protocol

from meshlight.backends.address import Address, parse_address
from meshlight.backends.kind import BackendKind
from meshlight.backends.kinds import kind_of
from meshlight.backends.upstream import Headers, Upstream
from meshlight.domain.backend import Backend


class SecretSource(Protocol):
    """Where the secrets of backends come from; never blocks the loop."""

    async def secret(self, backend_id: str) -> str | None:
        """Return the secret of a backend, or None when it has none; SecretError when it can't be read."""

    def retry_secrets(self) -> None:
        """Ask the keyring anew at the next need, even if it failed a moment ago: the user wants to know now."""


class Link:
    """The live means of talking to one backend, made anew when its address changes."""

    __slots__ = ("address", "auth", "backend", "kind", "probes", "secret", "upstream")

    def __init__(self, backend: Backend, upstream: Upstream, probes: Upstream) -> None:
        self.backend = backend
        self.kind: BackendKind = kind_of(backend.kind)
        self.address: Address = upstream.address
        self.upstream = upstream
        self.probes = probes
        """A connection of its own for probes: it may rest longer, since a probe can be sent twice."""
        self.secret: str | None = None
        self.auth: Headers = ()
        """The headers that carry the secret, ready for the relay; empty until the first probe read it."""

    def close(self) -> None:
        """Close the connections; requests that run on them end first."""
        self.upstream.close()
        self.probes.close()

    def know(self, secret: str | None) -> None:
        """Use this secret from now on."""
        if secret != self.secret:
            self.secret = secret
            self.auth = tuple(self.kind.authorize(secret))


class Links:
    """All links by backend id."""

    def __init__(
        self,
        secrets: SecretSource,
        upstream_for: Callable[[Address], Upstream],
        probes_for: Callable[[Address], Upstream],
    ) -> None:
        self._secrets = secrets
        self._upstream_for = upstream_for
        self._probes_for = probes_for
        self._links: dict[str, Link] = {}

    def put(self, backend: Backend) -> Link:
        """Return the link of a backend, made anew if its address or kind is another than before."""
        old = self._links.get(backend.id)
        if old is not None and old.backend is backend:
            return old
        address = parse_address(backend.url)
        if old is not None and old.address == address and old.backend.kind == backend.kind:
            old.backend = backend
            return old
        link = Link(backend, self._upstream_for(address), self._probes_for(address))
        if old is not None:
            old.close()
            link.know(old.secret)
        self._links[backend.id] = link
        return link

    def get(self, backend_id: str) -> Link | None:
        """Return a backend's link, if there is one."""
        return self._links.get(backend_id)

    def remove(self, backend_id: str) -> None:
        """Close a link; requests that run on it end first."""
        link = self._links.pop(backend_id, None)
        if link is not None:
            link.close()

    async def read_secret(self, link: Link) -> str | None:
        """Read a backend's secret and hand it to its link; SecretError when it can't be read."""
        secret = await self._secrets.secret(link.backend.id)
        link.know(secret)
        return secret

    def retry_secrets(self) -> None:
        """Ask the keyring anew at the next need."""
        self._secrets.retry_secrets()

    def close(self) -> None:
        """Close every link."""
        for backend_id in tuple(self._links):
            self.remove(backend_id)
