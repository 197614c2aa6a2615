"""Joins what lasts (the configuration file, the keyring) to the mesh that lives by it."""

import asyncio
import logging
import socket
from collections.abc import Callable

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.errors import ConfigError, SecretError
from meshlight.gateway.control.settings import SettingsPatch
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.secrets.store import Secrets

log = logging.getLogger(__name__)


class SettingsStore:
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
        self._with_secret = _with_secret(config)
        self._error = error
        self._notices: dict[str, str] = {}
        self._allows_discovery = allows_discovery
        self.follow: Callable[[Config], None] = lambda _: None
        """Called with each new configuration; the service sets it once the mesh is built."""
        self.tell: Callable[[], None] = lambda: None
        """Called when the name, the pause or the notices are others than before."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    @property
    def config_file(self) -> str:
        """The path of the configuration file."""
        return str(self._file.path)

    @property
    def name(self) -> str:
        """How this node calls itself: what the user said, or else the host's name."""
        return self._config.name or socket.gethostname()

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
        if text == self._notices.get(topic, ""):
            return
        if text:
            self._notices[topic] = text
        else:
            del self._notices[topic]
        self.tell()

    def reload(self, result: Config | ConfigError) -> None:
        """Follow a file that was changed by hand; a broken one leaves all as it is, and is told."""
        if isinstance(result, ConfigError):
            log.warning("%s", _broken(result))
            self._error = result
            self.tell()
        else:
            self._take(result)

    async def secret(self, backend_id: str, origin: str) -> str | None:
        """Return a backend's secret; SecretError when it can't be read, or was given for another origin."""
        if backend_id not in self._with_secret and not self._secrets.in_environment(backend_id):
            return None
        found = await self._secrets.get(backend_id, origin=origin)
        return None if found is None else found.reveal()

    def retry_secrets(self) -> None:
        """Ask the keyring anew at the next need."""
        self._secrets.retry()

    async def put_backend(self, backend: Backend) -> None:
        """Write a backend down."""
        await self._edit(lambda: self._file.put_backend(backend))

    async def remove_backend(self, backend_id: str) -> None:
        """Strike a backend out, and forget its secrets."""
        has_secret = backend_id in self._with_secret
        await self._edit(lambda: self._file.remove_backend(backend_id))
        if has_secret:
            try:
                await self._secrets.remove_all(backend_id)
            except SecretError as error:
                log.warning("The secrets of %s could not be removed: %s", backend_id, error.title)

    async def put_secret(self, backend_id: str, secret: str, origin: str) -> None:
        """Keep a backend's secret, for this origin alone."""
        await self._secrets.set(backend_id, secret, origin=origin)

    async def remove_secret(self, backend_id: str) -> None:
        """Forget a backend's secret."""
        await self._secrets.remove(backend_id)

    async def ignore(self, url: str) -> None:
        """Never list a found engine at this URL again."""

        def ignoring(old: Config) -> Config:
            ignored = tuple(dict.fromkeys((*old.discovery.ignored, url)))
            return replace(old, discovery=replace(old.discovery, ignored=ignored))

        await self._edit(lambda: self._file.change(ignoring))

    async def change(self, wanted: Callable[[Config], Config]) -> None:
        """Write changed settings down and follow them; `wanted` makes the new ones of what the file says."""
        await self._edit(lambda: self._file.change(wanted))

    async def set(self, patch: SettingsPatch) -> None:
        """Write changed settings down and follow them: all of them, or where one can't be, none."""
        await self._edit(lambda: self._file.change(patch.on))

    def close(self) -> None:
        """Wipe the secrets from memory."""
        self._secrets.close()

    async def _edit(self, change: Callable[[], Config]) -> None:
        await asyncio.to_thread(change)
        # Of two edits at once the later one may be told of first, so not what this one gave is taken.
        self._take(self._file.last_good)

    def _take(self, config: Config) -> None:
        was_told = (self.name, self._config.paused, self._error)
        self._error = None
        if config != self._config:
            self._config = config
            self._with_secret = _with_secret(config)
            self.follow(config)
        if was_told != (self.name, config.paused, None):
            self.tell()


def _with_secret(config: Config) -> frozenset[str]:
    return frozenset(backend.id for backend in config.backends if backend.has_secret)


def _broken(error: ConfigError) -> str:
    return f"The configuration can't be read: {error.title} {error.hint}".strip()
