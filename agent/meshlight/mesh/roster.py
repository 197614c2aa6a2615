"""The list of backends the user has: adding, changing, removing, switching on and off, and following the file."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Protocol

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from meshlight.backends.address import URL_MAX, Address, parse_address, ring_of
from meshlight.backends.kinds import KINDS, kind_of
from meshlight.backends.upstream import Upstream
from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.config import Config
from meshlight.domain.errors import BadRequest, CheckFailed, Conflict, MeshlightError, SecretError
from meshlight.domain.health import Answered, Loading
from meshlight.mesh.links import Links
from meshlight.mesh.place import place_of
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry

MAX_BACKENDS = 1_000
NAME_MAX = 80

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Url = Annotated[str, Meta(min_length=1, max_length=URL_MAX)]
ApiKey = Annotated[str, Meta(max_length=16_384)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Shelf(Protocol):
    """Where the list lasts: the configuration file and the keyring."""

    async def put_backend(self, backend: Backend) -> None:
        """Write a backend down."""

    async def remove_backend(self, backend_id: str) -> None:
        """Strike a backend out; its secrets go with it."""

    async def put_secret(self, backend_id: str, secret: str) -> None:
        """Keep a backend's secret in the keyring; SecretError when that can't be done."""

    async def remove_secret(self, backend_id: str) -> None:
        """Forget a backend's secret; SecretError when that can't be done."""

    async def ignore(self, url: str) -> None:
        """Never list a found engine at this URL again."""


class Draft(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backend as somebody wants to add it; `save_anyway` saves it even if it does not answer now."""

    kind: Kind
    url: Url
    name: Name | None = None
    api_key: ApiKey | None = None
    ring: Ring | None = None
    enabled: bool = True
    save_anyway: bool = False
    priority: Priority = 0
    first_byte_s: Seconds = 300.0
    idle_s: Seconds = 300.0


class Patch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants to change of a backend; an unset field stays as it is, an empty key is none."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    api_key: ApiKey | UnsetType = UNSET
    ring: Ring | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    first_byte_s: Seconds | UnsetType = UNSET
    idle_s: Seconds | UnsetType = UNSET
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
        most: int = MAX_BACKENDS,
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._shelf = shelf
        self._upstream_for = upstream_for
        self._most = most
        self._lock = asyncio.Lock()

    async def add(self, draft: Draft) -> Backend:
        """Try a backend, then add it.

        Raises BadRequest, Conflict (the URL is listed already) or CheckFailed (it did not answer as it should).
        """
        if draft.kind not in KINDS:
            known = f"Use one of {', '.join(KINDS)}."
            raise BadRequest(f"Backends of kind {draft.kind!r} can't be added yet.", known, "kind")
        address = parse_address(draft.url)
        key = _key(draft.api_key or "")
        name = _name(draft.name or f"{kind_of(draft.kind).label} {address.authority}"[:NAME_MAX])
        self._refuse_duplicate(address, None)
        backend = Backend(
            id=self._free_id(name),
            name=name,
            kind=draft.kind,
            ring=draft.ring or _ring(draft.kind, address),
            url=address.url,
            enabled=draft.enabled,
            priority=draft.priority,
            first_byte_s=draft.first_byte_s,
            idle_s=draft.idle_s,
            has_secret=bool(key),
        )
        if not draft.save_anyway:
            await self._try(backend, key)
        async with self._lock:
            self._refuse_duplicate(address, None)
            backend = replace(backend, id=self._free_id(name))
            if key:
                await self._shelf.put_secret(backend.id, key)
            try:
                await self._shelf.put_backend(backend)
            except MeshlightError:
                if key:
                    with suppress(SecretError):
                        await self._shelf.remove_secret(backend.id)
                raise
            self._registry.put(backend)
        return backend

    async def change(self, backend_id: str, patch: Patch) -> Backend:
        """Change a backend; a new address or key is tried first. A found backend becomes a configured one."""
        async with self._lock:
            old = self._registry.node(backend_id).backend
            new = self._patched(old, patch)
            touches_wire = new.url != old.url or not isinstance(patch.api_key, UnsetType)
            if touches_wire and new.enabled and not patch.save_anyway:
                await self._try(new, await self._key_for(old, patch))
            if isinstance(patch.api_key, str):
                await self._keep_key(old, patch.api_key)
            await self._shelf.put_backend(new)
            self._registry.put(new)
            if touches_wire:
                self._registry.renew(backend_id)
        if touches_wire and new.enabled:
            await self._prober.check(backend_id, anew=True)
        return new

    async def switch(self, backend_id: str, *, enabled: bool) -> Backend:
        """Switch a backend on or off; off keeps it listed, and lasts."""
        return await self.change(backend_id, Patch(enabled=enabled))

    async def remove(self, backend_id: str) -> None:
        """Remove a backend with its secrets; what would be found on this machine is not listed by itself again."""
        async with self._lock:
            backend = self._registry.node(backend_id).backend
            address = parse_address(backend.url)
            if backend.source == "found" or _may_be_found(address):
                await self._shelf.ignore(address.url)
            if backend.source != "found":
                await self._shelf.remove_backend(backend_id)
            self._registry.remove(backend_id)

    def follow(self, config: Config) -> tuple[Backend, ...]:
        """Bring the mesh to what the configuration says now; found engines stay unless they are ignored.

        Returns the backends of kinds that can't be spoken to yet: they are left out.
        """
        unknown = tuple(backend for backend in config.backends if backend.kind not in KINDS)
        wanted = {backend.id: backend for backend in config.backends if backend.kind in KINDS}
        taken = {place_of(backend.url) for backend in wanted.values()}
        taken |= {place_of(url) for url in config.discovery.ignored}
        for node in tuple(self._registry.snapshot.nodes.values()):
            backend = node.backend
            is_wanted = backend.source == "found" and place_of(backend.url) not in taken
            if backend.id not in wanted and not is_wanted:
                self._registry.remove(backend.id)
        for backend in wanted.values():
            self._registry.put(backend)
        self._registry.route_by(config.routing)
        return unknown

    async def _try(self, backend: Backend, key: str) -> None:
        upstream = self._upstream_for(parse_address(backend.url))
        try:
            probe = await kind_of(backend.kind).probe(upstream, backend, key)
        finally:
            upstream.close()
        if not isinstance(probe.fact, Answered | Loading):
            reason = probe.fact.reason
            raise CheckFailed(reason.text, reason.fix)

    async def _key_for(self, old: Backend, patch: Patch) -> str:
        """Return the key that a changed backend will have."""
        if isinstance(patch.api_key, str):
            return _key(patch.api_key)
        return await self._links.read_secret(self._links.put(old)) or ""

    async def _keep_key(self, backend: Backend, key: str) -> None:
        if _key(key):
            await self._shelf.put_secret(backend.id, _key(key))
        elif backend.has_secret:
            await self._shelf.remove_secret(backend.id)

    def _patched(self, old: Backend, patch: Patch) -> Backend:
        fields = {
            key: value
            for key in ("ring", "enabled", "priority", "first_byte_s", "idle_s")
            if not isinstance(value := getattr(patch, key), UnsetType)
        }
        if isinstance(patch.name, str):
            fields["name"] = _name(patch.name)
        if isinstance(patch.url, str):
            address = parse_address(patch.url)
            self._refuse_duplicate(address, old.id)
            fields["url"] = address.url
            if old.ring == _ring(old.kind, parse_address(old.url)):
                # It followed from the old address, and how far a prompt travels must follow from the new one.
                fields.setdefault("ring", _ring(old.kind, address))
        if isinstance(patch.api_key, str):
            fields["has_secret"] = bool(_key(patch.api_key))
        return replace(old, source="config", **fields)

    def _refuse_duplicate(self, address: Address, but: str | None) -> None:
        nodes = self._registry.snapshot.nodes.values()
        if but is None and len(nodes) >= self._most:
            raise Conflict(f"There are {self._most} backends already.", "Remove one first.")
        for node in nodes:
            if node.backend.id != but and place_of(node.backend.url) == place_of(address.url):
                raise Conflict(
                    f"{node.backend.name} is at {node.backend.url} already.",
                    f"Change that one instead (id {node.backend.id!r}).",
                )

    def _free_id(self, name: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "backend"
        taken = self._registry.snapshot.nodes
        if slug not in taken:
            return slug
        return next(i for n in range(2, len(taken) + 2) if (i := f"{slug}-{n}") not in taken)


def _ring(kind: Kind, address: Address) -> Ring:
    """Return the ring that nobody has to say."""
    return kind_of(kind).default_ring or ring_of(address)


def _may_be_found(address: Address) -> bool:
    """Whether discovery would look there."""
    usual = {port for kind in KINDS.values() for port in kind.usual_ports}
    return address.port in usual and ring_of(address) == "machine"


def _name(text: str) -> str:
    name = text.strip()
    if not name or not name.isprintable():
        raise BadRequest(
            "The name has no printable characters, or others too.", "Choose another name.", "name"
        )
    return name


def _key(text: str) -> str:
    key = text.strip()
    if not key.isprintable():
        raise BadRequest(
            "The API key has a line break or another control character in it.",
            "Copy it once more.",
            "api_key",
        )
    return key
