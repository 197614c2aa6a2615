"""Where the identity of this node is kept: found or made when it is first needed."""

import asyncio
from typing import TYPE_CHECKING

from meshlight.storage.secrets.secret import Secret
from meshlight.storage.secrets.store import Secrets

if TYPE_CHECKING:
    from meshlight.storage.node_key import NodeIdentity

OWNER = "node_identity"
"""Under which the key is kept; no backend can have this id, because of the underscore."""


class NodeIdentityStore:
    """Finds the identity of this node, or makes it at first need; however many ask at once, it is made once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._lock = asyncio.Lock()
        self._known: NodeIdentity | None = None

    @property
    def known(self) -> "NodeIdentity | None":
        """The identity, if it was found or made already."""
        return self._known

    async def find(self) -> "NodeIdentity | None":
        """Return the identity if there is one; raises SecretError when that can't be found out."""
        async with self._lock:
            return await self._find()

    async def open(self) -> "NodeIdentity":
        """Return the identity, made now if there is none; raises SecretError when it can't be read or kept."""
        async with self._lock:
            return await self._find() or await self._make()

    async def _find(self) -> "NodeIdentity | None":
        if self._known is None:
            kept = await self._secrets.get(OWNER)
            self._known = None if kept is None else _follows_from(kept)
        return self._known

    async def _make(self) -> "NodeIdentity":
        from meshlight.storage.node_key import new_key  # noqa: PLC0415 - see `_follows_from`

        key = new_key()
        await self._secrets.set(OWNER, key)
        self._known = _follows_from(key)
        return self._known


def _follows_from(key: Secret) -> "NodeIdentity":
    # The cryptography behind it takes 8 MB and 50 ms: who has no peer shall not pay for it.
    from meshlight.storage.node_key import identity_of  # noqa: PLC0415

    return identity_of(key)
