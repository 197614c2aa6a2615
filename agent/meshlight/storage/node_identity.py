"""The stored identity of this node: read, or created when it is first needed."""

import asyncio
from typing import TYPE_CHECKING

from meshlight.storage.secrets.secret import Secret
from meshlight.storage.secrets.store import Secrets

if TYPE_CHECKING:
    from meshlight.storage.node_key import NodeIdentity

OWNER = "node_identity"
"""The id under which the key is stored; no backend can have it, because of the underscore."""


class NodeIdentityStore:
    """Reads the identity of this node, or creates it; concurrent calls create only one."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._lock = asyncio.Lock()
        self._identity: NodeIdentity | None = None

    async def find(self) -> "NodeIdentity | None":
        """Return the identity if there is one; raises SecretError when it can't be read."""
        async with self._lock:
            return await self._find()

    async def open(self) -> "NodeIdentity":
        """Return the identity, created if there is none; raises SecretError when it can't be read or stored."""
        async with self._lock:
            return await self._find() or await self._create()

    async def _find(self) -> "NodeIdentity | None":
        if self._identity is None:
            key = await self._secrets.get(OWNER)
            self._identity = None if key is None else _identity_of(key)
        return self._identity

    async def _create(self) -> "NodeIdentity":
        from meshlight.storage.node_key import new_key  # noqa: PLC0415 - see `_identity_of`

        key = new_key()
        await self._secrets.set(OWNER, key)
        self._identity = _identity_of(key)
        return self._identity


def _identity_of(key: Secret) -> "NodeIdentity":
    # Imported late: the cryptography takes 8 MB and 50 ms, which a node without peers does not need.
    from meshlight.storage.node_key import identity_of  # noqa: PLC0415

    return identity_of(key)
