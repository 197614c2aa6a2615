"""Joins what lasts (the configuration file, the keyring) to the mesh that lives by it."""

import asyncio
import logging
from collections.abc import Callable

from msgspec import UnsetType
from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.errors import ConfigError, MeshlightError
from meshlight.gateway.settings import SettingsPatch
from meshlight.store.config import ConfigFile
from meshlight.store.secrets import Secrets

log = logging.getLogger(__name__)


class Keeper:
    """Holds the configuration in force; writes go through here, in a thread, one after the other."""

    def __init__(
        self,
        file: ConfigFile,
        secrets: Secrets,
        config: Config,
        error: ConfigError | None,
        *,
        allows_discovery: bool = True,
    ) -> None:
        self._file = file
        self._secrets = secrets
        self._config = config
        self._error = error
        self._notices: dict[str, str] = {}
        self._allows_discovery = allows_discovery
        self.follow: Callable[[Config], None] = lambda _: None
        """Called with each new configuration; main sets it once the mesh is built."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    @property
    def config_file(self) -> str:
        """The path of the configuration file."""
        return str(self._file.path)

    @property
    def looks_for_engines(self) -> bool:
        """Whether local engines are looked for."""
        return self._allows_discovery and self._config.discovery.enabled

    def notices(self) -> tuple[str, ...]:
        """Return what is wrong with the service itself, in sentences."""
        broken = () if self._error is None else (_broken(self._error),)
        return (*broken, *self._notices.values())

    def notice(self, topic: str, text: str) -> None:
        """Show a sentence to the user from now on; an empty one takes it back."""
        if text:
            self._notices[topic] = text
        else:
            self._notices.pop(topic, None)

    def reload(self, result: Config | ConfigError) -> None:
        """Follow a file that was changed by hand; a broken one leaves all as it is, and is told."""
        if isinstance(result, ConfigError):
            self._error = result
            log.warning("%s", _broken(result))
            return
        self._error = None
        self._take(result)

    async def secret(self, backend_id: str) -> str | None:
        """Return a backend's secret; SecretError when it can't be read."""
        kept = any(backend.has_secret for backend in self._config.backends if backend.id == backend_id)
        if not kept and not self._secrets.in_environment(backend_id):
            return None
        found = await self._secrets.get(backend_id)
        return None if found is None else found.reveal()

    async def put_backend(self, backend: Backend) -> None:
        """Write a backend down."""
        await self._edit(lambda: self._file.put_backend(backend))

    async def remove_backend(self, backend_id: str) -> None:
        """Strike a backend out, and forget its secrets."""
        await self._edit(lambda: self._file.remove_backend(backend_id))
        try:
            await self._secrets.remove_all(backend_id)
        except MeshlightError as error:
            log.warning("The secrets of %s could not be removed: %s", backend_id, error.title)

    async def put_secret(self, backend_id: str, secret: str) -> None:
        """Keep a backend's secret."""
        await self._secrets.set(backend_id, secret)

    async def ignore(self, url: str) -> None:
        """Never list a found engine at this URL again."""
        old = self._config.discovery
        if url not in old.ignored:
            await self._edit(lambda: self._file.set_discovery(replace(old, ignored=(*old.ignored, url))))

    async def set(self, patch: SettingsPatch) -> None:
        """Write changed settings down and follow them."""
        if not isinstance(patch.routing, UnsetType):
            routing = patch.routing
            await self._edit(lambda: self._file.set_routing(routing))
        if not isinstance(patch.discovery, UnsetType):
            discovery = patch.discovery
            await self._edit(lambda: self._file.set_discovery(discovery))
        if not isinstance(patch.require_key, UnsetType):
            require_key = patch.require_key
            await self._edit(lambda: self._file.set_value("require_key", require_key))

    async def _edit(self, change: Callable[[], Config]) -> None:
        self._take(await asyncio.to_thread(change))

    def _take(self, config: Config) -> None:
        if config != self._config:
            self._config = config
            self.follow(config)


def _broken(error: ConfigError) -> str:
    return f"The configuration can't be read, so the last good one is in force: {error.title} {error.hint}".strip()
