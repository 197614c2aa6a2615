"""The list of backends the user has: adding, changing, removing, switching on and off, and following the file."""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from meshlight.backends.address import Address, parse_address, ring_of
from meshlight.backends.kind import Probe
from meshlight.backends.kinds import KINDS, kind_of
from meshlight.backends.upstream import Upstream
from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.config import Config
from meshlight.domain.errors import BadRequest, CheckFailed, Conflict
from meshlight.domain.health import Answered, Loading
from meshlight.mesh.links import Links
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry

MAX_BACKENDS = 1_000
NAME_MAX = 80


class Shelf(Protocol):
    """Where the list lasts: the configuration file and the keyring."""

    async def put_backend(self, backend: Backend) -> None:
        """Write a backend down."""

    async def remove_backend(self, backend_id: str) -> None:
        """Strike a backend out; its secrets go with it."""

    async def put_secret(self, backend_id: str, secret: str) -> None:
        """Keep a backend's secret in the keyring; SecretError when that can't be done."""

    async def ignore(self, url: str) -> None:
        """Never list a found engine at this URL again."""


class Draft(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backend as somebody wants to add it."""

    kind: Kind
    url: str
    name: str | None = None
    api_key: str | None = None
    ring: Ring | None = None
    enabled: bool = True
    save_anyway: bool = False
    """Save it even if it does not answer now."""
    priority: int = 0
    first_byte_s: float = 300.0
    idle_s: float = 300.0


class Patch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants to change of a backend; an unset field stays as it is."""

    name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    api_key: str | UnsetType = UNSET
    ring: Ring | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    first_byte_s: float | UnsetType = UNSET
    idle_s: float | UnsetType = UNSET
    save_anyway: bool = False


class Roster:
    """Changes the list and everything that hangs on it: registry, links, prober, shelf."""

    def __init__(
        self,
        registry: Registry,
        links: Links,
        prober: Prober,
        shelf: Shelf,
        upstream_for: Callable[[Address], Upstream],
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._shelf = shelf
        self._upstream_for = upstream_for
        self._lock = asyncio.Lock()

    async def add(self, draft: Draft) -> Backend:
        """Try a backend, then add it.

        Raises BadRequest, Conflict (the URL is listed already) or CheckFailed (it did not answer as it should).
        """
        if draft.kind not in KINDS:
            known = ", ".join(KINDS)
            raise BadRequest(
                f"Backends of kind {draft.kind!r} can't be added yet.", f"Kinds: {known}.", "kind"
            )
        address = parse_address(draft.url)
        name = _name(draft.name or f"{kind_of(draft.kind).label} {address.authority}")
        self._refuse_duplicate(address, None)
        backend = Backend(
            id=self._free_id(name),
            name=name,
            kind=draft.kind,
            ring=draft.ring or kind_of(draft.kind).default_ring or ring_of(address),
            url=address.url,
            enabled=draft.enabled,
            priority=draft.priority,
            first_byte_s=_limit(draft.first_byte_s, "first_byte_s"),
            idle_s=_limit(draft.idle_s, "idle_s"),
            has_secret=bool(draft.api_key),
        )
        if not draft.save_anyway:
            await self._try(backend, draft.api_key)
        async with self._lock:
            self._refuse_duplicate(address, None)
            backend = replace(backend, id=self._free_id(name))
            if draft.api_key:
                await self._shelf.put_secret(backend.id, draft.api_key)
            await self._shelf.put_backend(backend)
            self._registry.put(backend)
        return backend

    async def change(self, backend_id: str, patch: Patch) -> Backend:
        """Change a backend; a new address or key is tried first. A found backend becomes a configured one."""
        async with self._lock:
            old = self._registry.node(backend_id).backend
            new = self._patched(old, patch)
            touches_wire = new.url != old.url or not isinstance(patch.api_key, UnsetType)
            if touches_wire and not patch.save_anyway and new.enabled:
                key = None if isinstance(patch.api_key, UnsetType) else patch.api_key
                link = self._links.get(backend_id)
                await self._try(new, key if key is not None else (link.secret if link else None))
            if isinstance(patch.api_key, str) and patch.api_key:
                await self._shelf.put_secret(backend_id, patch.api_key)
            await self._shelf.put_backend(new)
            self._registry.put(new)
        if touches_wire:
            await self._prober.check(backend_id)
        return new

    async def switch(self, backend_id: str, *, enabled: bool) -> Backend:
        """Switch a backend on or off; off keeps it listed, and lasts."""
        return await self.change(backend_id, Patch(enabled=enabled))

    async def remove(self, backend_id: str) -> None:
        """Remove a backend with its secrets; a found engine is never listed by itself again."""
        async with self._lock:
            backend = self._registry.node(backend_id).backend
            if backend.source == "found":
                await self._shelf.ignore(backend.url)
            else:
                await self._shelf.remove_backend(backend_id)
            self._registry.remove(backend_id)

    def follow(self, config: Config) -> None:
        """Bring the mesh to what the configuration says now; found engines stay unless they are ignored."""
        wanted = {backend.id: backend for backend in config.backends}
        urls = {parse_address(backend.url) for backend in config.backends}
        for node in tuple(self._registry.snapshot.nodes.values()):
            backend = node.backend
            is_found = backend.source == "found"
            doubled = is_found and (
                parse_address(backend.url) in urls or backend.url in config.discovery.ignored
            )
            if doubled or (not is_found and backend.id not in wanted):
                self._registry.remove(backend.id)
        for backend in wanted.values():
            self._registry.put(backend)
        self._registry.route_by(config.routing)

    async def _try(self, backend: Backend, secret: str | None) -> Probe:
        upstream = self._upstream_for(parse_address(backend.url))
        try:
            probe = await kind_of(backend.kind).probe(upstream, backend, secret)
        finally:
            upstream.close()
        if not isinstance(probe.fact, Answered | Loading):
            reason = probe.fact.reason
            raise CheckFailed(reason.text, reason.fix)
        return probe

    def _patched(self, old: Backend, patch: Patch) -> Backend:
        fields = {
            key: value
            for key in ("ring", "enabled", "priority")
            if not isinstance(value := getattr(patch, key), UnsetType)
        }
        for key in ("first_byte_s", "idle_s"):
            if not isinstance(value := getattr(patch, key), UnsetType):
                fields[key] = _limit(value, key)
        if isinstance(patch.name, str):
            fields["name"] = _name(patch.name)
        if isinstance(patch.url, str):
            address = parse_address(patch.url)
            self._refuse_duplicate(address, old.id)
            fields["url"] = address.url
        if isinstance(patch.api_key, str):
            fields["has_secret"] = bool(patch.api_key)
        return replace(old, source="config", **fields)

    def _refuse_duplicate(self, address: Address, but: str | None) -> None:
        nodes = self._registry.snapshot.nodes.values()
        if but is None and len(nodes) >= MAX_BACKENDS:
            raise Conflict(f"There are {MAX_BACKENDS} backends already.", "Remove one first.")
        for node in nodes:
            if node.backend.id != but and parse_address(node.backend.url) == address:
                raise Conflict(
                    f"{node.backend.name} is at {address.url} already.",
                    f"Change that one instead (id {node.backend.id!r}).",
                )

    def _free_id(self, name: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "backend"
        taken = self._registry.snapshot.nodes
        return (
            slug
            if slug not in taken
            else next(i for n in range(2, 10_000) if (i := f"{slug}-{n}") not in taken)
        )


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise BadRequest(f"A name has 1 to {NAME_MAX} printable characters.", "Choose another name.", "name")
    return name


def _limit(seconds: float, field: str) -> float:
    if not 0 < seconds <= 86_400:
        raise BadRequest(f"{field} is {seconds:g}; it must be above 0 and at most 86400 seconds.", "", field)
    return seconds
