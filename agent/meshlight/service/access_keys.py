"""The keys by which programs use this service, behind the port that `/mesh/keys` needs."""

import asyncio
from collections.abc import Callable

from meshlight.domain.access_keys import AppKey, NewAppKey
from meshlight.storage.app_keys import AppKeys
from meshlight.storage.local_key import LocalKey


class ServiceKeys:
    """Implements `AccessKeys`; see there. Writes run one after the other.

    `on_change` is called after each change, `on_replace` after the local key was replaced.
    """

    def __init__(
        self, local: LocalKey, apps: AppKeys, on_change: Callable[[], None], on_replace: Callable[[], None]
    ) -> None:
        self._local = local
        self._apps = apps
        self._on_change = on_change
        self._on_replace = on_replace
        self._writing = asyncio.Lock()

    @property
    def fixed_by(self) -> str:
        """The variable that gives the local key; empty for a key of our own."""
        return self._local.fixed_by

    def list(self) -> tuple[AppKey, ...]:
        """Return the further keys."""
        return self._apps.list()

    def reveal(self) -> str:
        """Return the local key."""
        return self._local.reveal()

    async def replace(self) -> str:
        """Make a new local key and return it."""
        async with self._writing:
            await asyncio.to_thread(self._local.replace)
        self._on_change()
        self._on_replace()
        return self._local.reveal()

    async def add(self, name: str) -> NewAppKey:
        """Make a further key."""
        async with self._writing:
            made, key = await asyncio.to_thread(self._apps.add, name)
        self._on_change()
        return NewAppKey(id=made.id, name=made.name, key=key)

    async def remove(self, key_id: str) -> None:
        """Revoke a further key."""
        async with self._writing:
            await asyncio.to_thread(self._apps.remove, key_id)
        self._on_change()
