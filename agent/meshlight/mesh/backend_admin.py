"""The list of backends: adding, changing, removing, switching on and off, and following the configuration.

Two backends may not be the same server, nor, where several accounts share one server, the same account; `server_key`
says which URLs lead to one server.
"""

import asyncio
import re
from contextlib import suppress

from msgspec import UnsetType
from msgspec.structs import replace

from meshlight.backends.base import BackendKind, Probe
from meshlight.backends.detection import usual_ports
from meshlight.backends.diagnostics import for_new
from meshlight.backends.field_checks import check_field
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
from meshlight.domain.local_models import LOCAL_ID
from meshlight.http_client.address import Address, parse_address, ring_of
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.backend_form import (
    NAME_MAX,
    NAMED_IN_DRAFT,
    BackendDraft,
    BackendPatch,
    checked_models,
    checked_name,
    completed,
)
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry
from meshlight.mesh.settings_store import SettingsStore

MAX_BACKENDS = 1_000

_CONNECTION_FIELDS = ("url", "access_key", "ca_file", "follow_clock", "proxy", "models")
"""The fields, besides the secret, that decide where requests go and as which account."""
_KEY_REASONS = frozenset({"unauthorized", "forbidden"})
_ADDRESS_REASONS = frozenset(
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
"""The reasons of a failed probe for which the key, or else the address, is likely wrong."""


class BackendAdmin:
    """Changes the list, and with it registry, connections, probes and settings."""

    def __init__(
        self,
        registry: Registry,
        connections: BackendConnections,
        prober: Prober,
        store: SettingsStore,
        limit: int = MAX_BACKENDS,
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._prober = prober
        self._store = store
        self._limit = limit
        self._lock = asyncio.Lock()

    async def add(self, draft: BackendDraft) -> Backend:
        """Probe a backend, then add it.

        Raises BadRequest, Conflict (it is listed already), BackendCheckFailed (it did not answer as it should),
        ConfigError or SecretError (it could not be saved).
        """
        kind = kind_of(draft.kind)
        if kind.group == "peer":
            raise BadRequest(f"A {kind.label} is paired, not added.", "Pair with it instead.", "kind")
        if kind.group == "local":
            raise BadRequest(
                "This machine's own models are not added: they are there as soon as there is one.",
                "Put a model into a folder of [local] in the configuration, or `meshlight models pull` one.",
                "kind",
            )
        texts = completed(draft, kind)
        key = texts.pop("api_key")
        address = parse_address(texts["url"])
        name = checked_name(draft.name or self._free_name(kind, address))
        backend = Backend(
            id=self._free_id(name),
            name=name,
            kind=draft.kind,
            ring=draft.ring or ring_for(draft.kind, address.url),
            url=address.url,
            enabled=draft.enabled,
            priority=draft.priority,
            slots=draft.slots,
            first_byte_s=draft.first_byte_s,
            idle_s=draft.idle_s,
            has_secret=bool(key),
            access_key=texts["access_key"],
            ca_file=texts["ca_file"],
            proxy=texts["proxy"],
            models=checked_models(draft.models, kind),
            follow_clock=draft.follow_clock,
        )
        await self._refuse_duplicate(backend, key, is_new=True)
        probe = await self._probe(backend, key) if draft.enabled and not draft.save_anyway else None
        async with self._lock:
            await self._refuse_duplicate(backend, key, is_new=True)
            backend = replace(backend, id=self._free_id(name))
            if key:
                await self._store.put_secret(backend.id, key, address.origin)
            try:
                await self._store.put_backend(backend)
            except MeshlightError:
                if key:
                    with suppress(SecretError):
                        await self._store.remove_secret(backend.id)
                raise
            self._registry.put(backend)
            if probe is not None:
                self._registry.record_probe(backend.id, probe)
        return backend

    async def change(self, backend_id: str, patch: BackendPatch) -> Backend:
        """Change a backend; with a new address or key it is probed first. A found backend becomes a configured one.

        Raises NotFound, and what `add` raises.
        """
        async with self._lock:
            old = self._registry.node(backend_id).backend
            _refuse_own(old)
            new = _patched(old, patch)
            has_new_key = isinstance(patch.api_key, str)
            if not has_new_key:
                await self._refuse_moving_key(old, new)
            reconnects = has_new_key or any(
                getattr(new, key) != getattr(old, key) for key in _CONNECTION_FIELDS
            )
            key = await self._key_for(old, patch) if reconnects else ""
            if reconnects:
                await self._refuse_duplicate(new, key, is_new=False)
            if reconnects and new.enabled and not patch.save_anyway:
                await self._probe(new, key)
            if has_new_key:
                await self._save_key(old, key, parse_address(new.url).origin)
            await self._store.put_backend(new)
            self._registry.put(new)
            if reconnects:
                self._registry.renew(backend_id)
        if reconnects and new.enabled:
            await self._prober.check(backend_id, anew=True)
        return new

    async def switch(self, backend_id: str, *, enabled: bool) -> Backend:
        """Switch a backend on or off, in the configuration too; one that is off stays listed."""
        return await self.change(backend_id, BackendPatch(enabled=enabled))

    async def remove(self, backend_id: str) -> None:
        """Remove a backend with its secrets; discovery does not list it again."""
        async with self._lock:
            backend = self._registry.node(backend_id).backend
            _refuse_own(backend)
            address = parse_address(backend.url)
            if backend.source == "found" or _may_be_found(address):
                await self._store.ignore(address.url)
            if backend.source != "found":
                await self._store.remove_backend(backend_id)
            self._registry.remove(backend_id)

    def follow(self, config: Config) -> None:
        """Bring the registry to the configuration.

        Found engines stay unless they are ignored; this machine's own models and the demo are not the configuration's
        matter.
        """
        wanted = {backend.id: backend for backend in config.backends}
        taken = {server_key(backend.url) for backend in wanted.values()}
        taken |= {server_key(url) for url in config.discovery.ignored}
        for node in tuple(self._registry.snapshot.nodes.values()):
            backend = node.backend
            is_kept = backend.source == "found" and server_key(backend.url) not in taken
            if backend.id not in wanted and not is_kept and backend.source not in {"own", "demo"}:
                self._registry.remove(backend.id)
        for backend in wanted.values():
            self._registry.put(backend)
        uses = {peer.id: peer.use for peer in config.peers if peer.use is not None}
        self._registry.route_by(config.routing, uses)

    async def _probe(self, backend: Backend, key: str) -> Probe:
        """Probe a backend as it will be once it is listed; BackendCheckFailed with reason, fix and field."""
        connection = self._connections.make(backend)
        connection.set_secret(key)
        try:
            probe = await self._connections.probe(connection, key)
        finally:
            connection.close()
        if not isinstance(probe.fact, Answered | Loading):
            reason = for_new(probe.fact.reason)
            raise BackendCheckFailed(reason.text, reason.fix, _likely_field(reason))
        return probe

    async def _key_for(self, old: Backend, patch: BackendPatch) -> str:
        """Return the key that a changed backend will have."""
        if isinstance(patch.api_key, str):
            return patch.api_key.strip()
        return await self._key_of(old)

    async def _key_of(self, backend: Backend) -> str:
        return await self._connections.read_secret(self._connections.put(backend)) or ""

    async def _refuse_moving_key(self, old: Backend, new: Backend) -> None:
        """Raise BadRequest if a saved key would be sent to another origin than the one it was saved for."""
        before, after = parse_address(old.url).origin, parse_address(new.url).origin
        if before != after and (old.has_secret or await self._key_of(old)):
            raise BadRequest(
                f"The key of {old.name} was given for {before}, so it is not sent to {after}.",
                "Give the key for the new address in the same change, or an empty one if it needs none.",
                "api_key",
            )

    async def _save_key(self, backend: Backend, key: str, origin: str) -> None:
        if key:
            await self._store.put_secret(backend.id, key, origin)
        elif backend.has_secret:
            await self._store.remove_secret(backend.id)

    async def _refuse_duplicate(self, backend: Backend, key: str, *, is_new: bool) -> None:
        """Raise Conflict if another backend is the same server, or the same account where accounts share a server."""
        nodes = self._registry.snapshot.nodes
        if is_new and len(nodes) >= self._limit:
            raise Conflict(f"There are {self._limit} backends already.", "Remove one first.")
        server = server_key(backend.url)
        for node in tuple(nodes.values()):
            other = node.backend
            if (not is_new and other.id == backend.id) or server_key(other.url) != server:
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
        """Whether a listed backend uses the same account; one whose key can't be read now counts as another."""
        if other.access_key or backend.access_key:
            return other.access_key == backend.access_key
        with suppress(SecretError):
            return await self._key_of(other) == key
        return False

    def _free_name(self, kind: BackendKind, address: Address) -> str:
        """Return a name for a backend that has none: its kind, and its address unless that is the usual one."""
        is_usual = bool(kind.default_url) and address == parse_address(kind.default_url)
        name = kind.label if is_usual else f"{kind.label} {address.socket or address.authority}"[:NAME_MAX]
        taken = {node.backend.name for node in self._registry.snapshot.nodes.values()}
        return next(i for n in range(1, len(taken) + 2) if (i := _numbered(name, n)) not in taken)

    def _free_id(self, name: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "backend"
        taken = {LOCAL_ID, *self._registry.snapshot.nodes}
        if slug not in taken:
            return slug
        return next(i for n in range(2, len(taken) + 2) if (i := f"{slug}-{n}") not in taken)


def _refuse_own(backend: Backend) -> None:
    """Raise Conflict for what is there by itself and not by the list of backends."""
    if backend.source == "demo":
        raise Conflict(
            f"{backend.name} belongs to the demo, which is changed or removed as a whole.",
            "End the demo: on the page, or with `meshlight setup`.",
        )
    if backend.source == "own":
        raise Conflict(
            f"{backend.name} is not part of the list of backends: it can't be changed or removed there.",
            "To switch its models off, set `enabled = false` under [local] in the configuration; `hidden = true` "
            "under [[local.models]] takes a single one away.",
        )


def _may_be_found(address: Address) -> bool:
    """Whether discovery scans that address."""
    return address.port in usual_ports() and ring_of(address) == "machine"


def _patched(old: Backend, patch: BackendPatch) -> Backend:
    """Return the backend with the patch applied; raises BadRequest."""
    kind = kind_of(old.kind)
    fields = {
        key: value
        for key in ("ring", "enabled", "priority", "slots", "first_byte_s", "idle_s", "follow_clock")
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
            # The ring followed from the old address, so it must follow from the new one: it says how far prompts go.
            fields.setdefault("ring", ring_for(old.kind, address.url))
    if isinstance(patch.api_key, str):
        fields["has_secret"] = bool(patch.api_key.strip())
    return replace(old, source="config", **fields)


def _likely_field(reason: Reason) -> str | None:
    """Return the field that is likely wrong; None where it is none of them, as with a clock or a quota."""
    if reason.code in _KEY_REASONS:
        return "access_key" if reason.text.startswith("The access key") else "api_key"
    if reason.code == "proxy":
        return "proxy"
    if reason.code == "tls" and "CA file" in reason.text + reason.fix:
        return "ca_file"
    return "url" if reason.code in _ADDRESS_REASONS else None


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name[: NAME_MAX - 4]} {number}"


def server_key(url: str) -> Address | None:
    """Return the address of a URL, with `localhost` as 127.0.0.1; None for a URL that can't be a backend's."""
    try:
        address = parse_address(url)
    except BadAddress:
        return None
    is_named = address.host == "localhost" and not address.socket
    return replace(address, host="127.0.0.1") if is_named else address
