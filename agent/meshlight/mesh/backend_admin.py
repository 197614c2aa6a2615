"""The list of backends the user has: adding, changing, removing, switching on and off, and following the file.

Which URLs lead to one server.
"""

import asyncio
import re
from contextlib import suppress
from typing import Protocol

from msgspec import UnsetType
from msgspec.structs import replace

from meshlight.backends.base import BackendKind, Probe
from meshlight.backends.detection import usual_ports
from meshlight.backends.diagnostics import for_new
from meshlight.backends.kinds import kind_of, ring_for
from meshlight.domain.backend import ACCOUNT_KINDS, Backend, Reason
from meshlight.domain.config import Config
from meshlight.domain.errors import (
    BackendCheckFailed,
    BadAddress,
    BadRequest,
    Conflict,
    MeshlightError,
    SecretError,
)
from meshlight.domain.health import Answered, Loading
from meshlight.http_client.address import Address, parse_address, ring_of
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.backend_form import (
    NAME_MAX,
    NAMED_IN_DRAFT,
    BackendDraft,
    BackendPatch,
    check_field,
    checked_models,
    checked_name,
    completed,
)
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry

MAX_BACKENDS = 1_000

_OF_THE_WIRE = ("url", "access_key", "ca_file", "follow_clock", "proxy", "models")
"""What decides to whom, and as whom, one speaks; so does the secret."""
_OF_KEY = frozenset({"unauthorized", "forbidden"})
_OF_PLACE = frozenset(
    {
        "refused",
        "name-not-found",
        "timed-out",
        "unreachable",
        "forbidden-address",
        "connection-lost",
        "tls",
        "bad-reply",
        "reply-too-large",
        "not-an-api",
        "not-this-kind",
        "redirected",
        "v1-doubled",
        "v1-missing",
        "web-ui",
        "no-services",
    }
)
"""The reasons of a failed try for which the key, or else the address, is likely wrong."""


class BackendStore(Protocol):
    """Where the list lasts: the configuration file and the keyring."""

    async def put_backend(self, backend: Backend) -> None:
        """Write a backend down."""

    async def remove_backend(self, backend_id: str) -> None:
        """Strike a backend out; its secrets go with it."""

    async def put_secret(self, backend_id: str, secret: str, origin: str) -> None:
        """Keep a backend's secret in the keyring, for this origin alone; SecretError when that can't be done."""

    async def remove_secret(self, backend_id: str) -> None:
        """Forget a backend's secret; SecretError when that can't be done."""

    async def ignore(self, url: str) -> None:
        """Never list a found engine at this URL again."""


class BackendAdmin:
    """Changes the list and everything that hangs on it: registry, links, prober, shelf."""

    def __init__(
        self,
        registry: Registry,
        links: BackendConnections,
        prober: Prober,
        store: BackendStore,
        most: int = MAX_BACKENDS,
    ) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._shelf = store
        self._most = most
        self._lock = asyncio.Lock()

    async def add(self, draft: BackendDraft) -> Backend:
        """Try a backend, then add it.

        Raises BadRequest, Conflict (it is listed already) or CheckFailed (it did not answer as it should).
        """
        kind = kind_of(draft.kind)
        if kind.group == "peer":
            raise BadRequest(f"A {kind.label} is paired, not added.", "Pair with it instead.", "kind")
        said = completed(draft, kind)
        key = said.pop("api_key")
        address = parse_address(said["url"])
        name = checked_name(draft.name or self._free_name(kind, address))
        backend = Backend(
            id=self._free_id(name),
            name=name,
            kind=draft.kind,
            ring=draft.ring or ring_for(draft.kind, address.url),
            url=address.url,
            enabled=draft.enabled,
            priority=draft.priority,
            first_byte_s=draft.first_byte_s,
            idle_s=draft.idle_s,
            has_secret=bool(key),
            access_key=said["access_key"],
            ca_file=said["ca_file"],
            proxy=said["proxy"],
            models=checked_models(draft.models, kind),
            follow_clock=draft.follow_clock,
        )
        await self._refuse_duplicate(backend, key, is_new=True)
        probe = await self._try(backend, key) if draft.enabled and not draft.save_anyway else None
        async with self._lock:
            await self._refuse_duplicate(backend, key, is_new=True)
            backend = replace(backend, id=self._free_id(name))
            if key:
                await self._shelf.put_secret(backend.id, key, address.origin)
            try:
                await self._shelf.put_backend(backend)
            except MeshlightError:
                if key:
                    with suppress(SecretError):
                        await self._shelf.remove_secret(backend.id)
                raise
            self._registry.put(backend)
            if probe is not None:
                self._registry.learn(backend.id, probe)
        return backend

    async def change(self, backend_id: str, patch: BackendPatch) -> Backend:
        """Change a backend; a new address or key is tried first. A found backend becomes a configured one."""
        async with self._lock:
            old = self._registry.node(backend_id).backend
            new = _patched(old, patch)
            has_new_key = isinstance(patch.api_key, str)
            if not has_new_key:
                await self._refuse_taking_key_along(old, new)
            touches_wire = has_new_key or any(getattr(new, key) != getattr(old, key) for key in _OF_THE_WIRE)
            key = await self._key_for(old, patch) if touches_wire else ""
            if touches_wire:
                await self._refuse_duplicate(new, key, is_new=False)
            if touches_wire and new.enabled and not patch.save_anyway:
                await self._try(new, key)
            if has_new_key:
                await self._keep_key(old, key, parse_address(new.url).origin)
            await self._shelf.put_backend(new)
            self._registry.put(new)
            if touches_wire:
                self._registry.renew(backend_id)
        if touches_wire and new.enabled:
            await self._prober.check(backend_id, anew=True)
        return new

    async def switch(self, backend_id: str, *, enabled: bool) -> Backend:
        """Switch a backend on or off; off keeps it listed, and lasts."""
        return await self.change(backend_id, BackendPatch(enabled=enabled))

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

    def follow(self, config: Config) -> None:
        """Bring the mesh to what the configuration says now; found engines stay unless they are ignored."""
        wanted = {backend.id: backend for backend in config.backends}
        taken = {server_key(backend.url) for backend in wanted.values()}
        taken |= {server_key(url) for url in config.discovery.ignored}
        for node in tuple(self._registry.snapshot.nodes.values()):
            backend = node.backend
            is_wanted = backend.source == "found" and server_key(backend.url) not in taken
            if backend.id not in wanted and not is_wanted:
                self._registry.remove(backend.id)
        for backend in wanted.values():
            self._registry.put(backend)
        uses = {peer.id: peer.use for peer in config.peers if peer.use is not None}
        self._registry.route_by(config.routing, uses)

    async def _try(self, backend: Backend, key: str) -> Probe:
        """Ask a backend as it will be asked once it is listed; CheckFailed with cause, fix and field."""
        link = self._links.make(backend)
        link.know(key)
        try:
            probe = await self._links.probe(link, key)
        finally:
            link.close()
        if not isinstance(probe.fact, Answered | Loading):
            why = for_new(probe.fact.reason)
            raise BackendCheckFailed(why.text, why.fix, _culprit(why))
        return probe

    async def _key_for(self, old: Backend, patch: BackendPatch) -> str:
        """Return the key that a changed backend will have."""
        if isinstance(patch.api_key, str):
            return patch.api_key.strip()
        return await self._key_of(old)

    async def _key_of(self, backend: Backend) -> str:
        return await self._links.read_secret(self._links.put(backend)) or ""

    async def _refuse_taking_key_along(self, old: Backend, new: Backend) -> None:
        """Raise BadRequest if a kept key would be sent to another host than the one that it was given for."""
        before, after = parse_address(old.url).origin, parse_address(new.url).origin
        if before != after and (old.has_secret or await self._key_of(old)):
            raise BadRequest(
                f"The key of {old.name} was given for {before}, so it is not sent to {after}.",
                "Give the key for the new address in the same change, or an empty one if it needs none.",
                "api_key",
            )

    async def _keep_key(self, backend: Backend, key: str, origin: str) -> None:
        if key:
            await self._shelf.put_secret(backend.id, key, origin)
        elif backend.has_secret:
            await self._shelf.remove_secret(backend.id)

    async def _refuse_duplicate(self, backend: Backend, key: str, *, is_new: bool) -> None:
        """Raise Conflict if another backend is the same server or, where accounts share one, the same account."""
        nodes = self._registry.snapshot.nodes
        if is_new and len(nodes) >= self._most:
            raise Conflict(f"There are {self._most} backends already.", "Remove one first.")
        place = server_key(backend.url)
        for node in tuple(nodes.values()):
            other = node.backend
            if (not is_new and other.id == backend.id) or server_key(other.url) != place:
                continue
            if {other.kind, backend.kind} <= ACCOUNT_KINDS and not await self._is_account(
                other, backend, key
            ):
                continue
            raise Conflict(
                f"{other.name} is at {other.url} already.",
                f"Change that one instead (id {other.id!r}).",
                "url",
            )

    async def _is_account(self, other: Backend, backend: Backend, key: str) -> bool:
        """Whether a listed backend speaks as the same account; one whose key can't be read now may be another."""
        if other.access_key or backend.access_key:
            return other.access_key == backend.access_key
        with suppress(SecretError):
            return await self._key_of(other) == key
        return False

    def _free_name(self, kind: BackendKind, address: Address) -> str:
        """Return a name for a backend that nobody named: its kind, and where it is unless that is well known."""
        is_usual = bool(kind.default_url) and address == parse_address(kind.default_url)
        name = kind.label if is_usual else f"{kind.label} {address.socket or address.authority}"[:NAME_MAX]
        taken = {node.backend.name for node in self._registry.snapshot.nodes.values()}
        return next(i for n in range(1, len(taken) + 2) if (i := _numbered(name, n)) not in taken)

    def _free_id(self, name: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "backend"
        taken = self._registry.snapshot.nodes
        if slug not in taken:
            return slug
        return next(i for n in range(2, len(taken) + 2) if (i := f"{slug}-{n}") not in taken)


def _may_be_found(address: Address) -> bool:
    """Whether discovery would look there."""
    return address.port in usual_ports() and ring_of(address) == "machine"


def _patched(old: Backend, patch: BackendPatch) -> Backend:
    """Return the backend as it is wished to be; raises BadRequest."""
    kind = kind_of(old.kind)
    fields = {
        key: value
        for key in ("ring", "enabled", "priority", "first_byte_s", "idle_s", "follow_clock")
        if not isinstance(value := getattr(patch, key), UnsetType)
    }
    for key in NAMED_IN_DRAFT:
        if isinstance(value := getattr(patch, key), str):
            check_field(key, value.strip(), kind)
            if key in {"access_key", "ca_file", "proxy"}:
                fields[key] = value.strip()
    if not isinstance(patch.models, UnsetType):
        fields["models"] = checked_models(patch.models, kind)
    if isinstance(patch.name, str):
        fields["name"] = checked_name(patch.name)
    if isinstance(patch.url, str):
        address = parse_address(patch.url.strip())
        fields["url"] = address.url
        if old.ring == ring_for(old.kind, old.url):
            # It followed from the old address, and how far a prompt travels must follow from the new one.
            fields.setdefault("ring", ring_for(old.kind, address.url))
    if isinstance(patch.api_key, str):
        fields["has_secret"] = bool(patch.api_key.strip())
    return replace(old, source="config", **fields)


def _culprit(why: Reason) -> str | None:
    """Return the field that is likely wrong; None where it is none of them, as with a clock or a quota."""
    if why.code in _OF_KEY:
        return "access_key" if why.text.startswith("The access key") else "api_key"
    if why.code == "proxy":
        return "proxy"
    if why.code == "tls" and "CA file" in why.text + why.fix:
        return "ca_file"
    return "url" if why.code in _OF_PLACE else None


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name[: NAME_MAX - 4]} {number}"


def server_key(url: str) -> Address | None:
    """Return where a URL leads, `localhost` being 127.0.0.1; None for a URL that can't be a backend's."""
    try:
        address = parse_address(url)
    except BadAddress:
        return None
    is_named = address.host == "localhost" and not address.socket
    return replace(address, host="127.0.0.1") if is_named else address
