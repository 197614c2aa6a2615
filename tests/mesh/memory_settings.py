"""A settings store in memory."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.errors import NotFound, SecretError


class MemorySettingsStore:
    """Holds a configuration and secrets; every write fails with `error`, and every reading of a secret with `locked`.

    `on_change` is called with each new configuration before a write returns, as the service does.
    """

    def __init__(
        self, config: Config | None = None, on_change: Callable[[Config], None] = lambda _: None
    ) -> None:
        self.config = config or Config()
        self.config_file = "/nowhere/config.toml"
        self.name = "Ben"
        self.error: Exception | None = None
        self.by_topic: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.locked: SecretError | None = None
        self.retries = 0
        self._on_change = on_change

    @property
    def backends(self) -> dict[str, Backend]:
        return {backend.id: backend for backend in self.config.backends}

    @property
    def ignored(self) -> list[str]:
        return list(self.config.discovery.ignored)

    def notices(self) -> tuple[str, ...]:
        return tuple(text for text in self.by_topic.values() if text)

    def notice(self, topic: str, text: str) -> None:
        self.by_topic[topic] = text

    async def change(self, update: Callable[[Config], Config]) -> None:
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)  # writing a file takes a moment too
        self.config = update(self.config)
        self._on_change(self.config)

    async def put_backend(self, backend: Backend) -> None:
        listed = self.backends | {backend.id: backend}
        await self.change(lambda old: replace(old, backends=tuple(listed.values())))

    async def remove_backend(self, backend_id: str) -> None:
        if backend_id not in self.backends:
            raise NotFound("No such backend.")
        rest = tuple(backend for backend in self.config.backends if backend.id != backend_id)
        self.secrets.pop(backend_id, None)
        await self.change(lambda old: replace(old, backends=rest))

    async def ignore(self, url: str) -> None:
        discovery = replace(self.config.discovery, ignored=(*self.ignored, url))
        await self.change(lambda old: replace(old, discovery=discovery))

    async def secret(self, backend_id: str, origin: str) -> str | None:
        if self.locked is not None:
            raise self.locked
        if self.origins.get(backend_id, origin) != origin:
            raise SecretError("other-address", "The key was given for another address.", "Give it again.")
        return self.secrets.get(backend_id)

    async def put_secret(self, backend_id: str, secret: str, origin: str) -> None:
        self.secrets[backend_id] = secret
        self.origins[backend_id] = origin

    async def remove_secret(self, backend_id: str) -> None:
        del self.secrets[backend_id]

    def retry_secrets(self) -> None:
        self.retries += 1
