"""The settings store of the service: the configuration file and the keyring behind one port.

Writes run in a thread, one after the other. After each one, and after each edit by hand, the service is called with
the new configuration.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config, KeyStorage
from meshlight.domain.errors import ConfigError, SecretError
from meshlight.domain.settings_views import KeyringView
from meshlight.mesh.live_config import LiveConfig
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.node_identity import OWNER
from meshlight.storage.secrets.store import Secrets

log = logging.getLogger(__name__)


class FileSettingsStore:
    """Implements `SettingsStore`; see there.

    `file` was read already, and `error` says what was wrong with it. `on_change` is called with each new
    configuration, `on_status` when the name, the pause or the notices have changed, `on_asking` when the user has to
    choose where keys are kept.
    """

    def __init__(
        self,
        file: ConfigFile,
        secrets: Secrets,
        error: ConfigError | None = None,
        *,
        on_change: Callable[[Config], None],
        on_status: Callable[[], None],
        on_asking: Callable[[], None] = lambda: None,
        allows_discovery: bool = True,
        notices: Mapping[str, str] | None = None,
    ) -> None:
        self._file = file
        self._secrets = secrets
        self.live = LiveConfig(file.last_good)
        """Holds `config`."""
        self._ids_with_secret = _ids_with_secret(file.last_good)
        self._error = error
        self._on_change = on_change
        self._on_status = on_status
        self._on_asking = on_asking
        self._allows_discovery = allows_discovery
        self._lacks_keyring = False
        self._notices = {topic: text for topic, text in (notices or {}).items() if text}

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.live.config

    @property
    def config_file(self) -> str:
        """The path of the configuration file, for people."""
        return str(self._file.path)

    @property
    def name(self) -> str:
        """How this node calls itself: the configured name, or else the host's."""
        return self.config.name or socket.gethostname()

    @property
    def is_discovery_on(self) -> bool:
        """Whether local engines are searched for."""
        return self._allows_discovery and self.config.discovery.enabled

    def notices(self) -> tuple[str, ...]:
        """Return what is wrong with the service itself, as sentences."""
        broken = () if self._error is None else (_error_notice(self._error),)
        return (*broken, *self._notices.values())

    def notice(self, topic: str, text: str) -> None:
        """Show a sentence to the user from now on; an empty text removes it."""
        if text == self._notices.get(topic, ""):
            return
        if text:
            self._notices[topic] = text
        else:
            del self._notices[topic]
        self._on_status()

    def reload(self, result: Config | ConfigError) -> None:
        """Follow a file that was edited by hand; a broken one leaves everything as it is, and is reported."""
        if isinstance(result, ConfigError):
            log.warning("%s", _error_notice(result))
            self._error = result
            self._on_status()
        else:
            self._apply(result)

    async def secret(self, backend_id: str, origin: str) -> str | None:
        """Return a backend's secret; SecretError when it can't be read, or was saved for another origin."""
        if backend_id not in self._ids_with_secret and not self._secrets.in_environment(backend_id):
            return None
        found = await self._secrets.get(backend_id, origin=origin)
        return None if found is None else found.reveal()

    @property
    def asks_key_storage(self) -> bool:
        """Whether a key could not be stored for lack of a keyring, and the user has not chosen yet."""
        return self._lacks_keyring and self.config.key_storage == "ask" and not self._secrets.is_file

    def lacks_keyring(self) -> None:
        """Note that there is no keyring, so that the user is asked once."""
        if not self._lacks_keyring:
            self._lacks_keyring = True
            self._on_asking()

    async def keyring(self) -> KeyringView:
        """Return where secrets are kept, and whether that works; opens no dialog."""
        found = await self._secrets.storage()
        text = found.text
        if self._secrets.is_forced:
            text += " The service was started with --insecure-storage, so this can't be changed here."
        return KeyringView(
            is_file=self._secrets.is_file,
            ok=found.state == "present",
            text=text,
            fix=found.fix,
            file=str(self._secrets.path),
        )

    async def set_key_storage(self, choice: KeyStorage) -> None:
        """Choose where secrets are kept; the stored ones are moved there. Raises SecretError, ConfigError."""
        was_file = self._secrets.is_file
        ids = (*self._ids_with_secret, OWNER)
        await self._secrets.use_file(on=choice == "file", backend_ids=ids)
        try:
            await self.change(lambda old: replace(old, key_storage=choice))
        except ConfigError:
            await self._secrets.use_file(on=was_file, backend_ids=ids)
            raise

    def retry_secrets(self) -> None:
        """Ask the keyring again at the next need."""
        self._secrets.retry()

    async def put_backend(self, backend: Backend) -> None:
        """Add a backend, or change the one with its id."""
        await self._write(lambda: self._file.put_backend(backend))

    async def remove_backend(self, backend_id: str) -> None:
        """Remove a backend and its secrets."""
        has_secret = backend_id in self._ids_with_secret
        await self._write(lambda: self._file.remove_backend(backend_id))
        if has_secret:
            try:
                await self._secrets.remove_all(backend_id)
            except SecretError as error:
                log.warning("The secrets of %s could not be removed: %s", backend_id, error.title)

    async def put_secret(self, backend_id: str, secret: str, origin: str) -> None:
        """Save a backend's secret, for this origin only."""
        await self._secrets.set(backend_id, secret, origin=origin)

    async def remove_secret(self, backend_id: str) -> None:
        """Delete a backend's secret."""
        await self._secrets.remove(backend_id)

    async def ignore(self, url: str) -> None:
        """Never list an engine found at this URL again."""

        def with_url(old: Config) -> Config:
            ignored = tuple(dict.fromkeys((*old.discovery.ignored, url)))
            return replace(old, discovery=replace(old.discovery, ignored=ignored))

        await self.change(with_url)

    async def change(self, update: Callable[[Config], Config]) -> None:
        """Change any settings in one write, and follow them; `update` gets what the file has now."""
        await self._write(lambda: self._file.change(update))

    def close(self) -> None:
        """Wipe the secrets from memory."""
        self._secrets.close()

    async def _write(self, edit: Callable[[], Config]) -> None:
        await asyncio.to_thread(edit)
        # With two edits at once, the second may be done before the first gets here: so not what this edit returned
        # is taken, but what the file has now.
        self._apply(self._file.last_good)

    def _apply(self, config: Config) -> None:
        before = (self.name, self.config.paused, self._error)
        self._error = None
        if config != self.config:
            self._secrets.switch(to_file=config.key_storage == "file")
            self.live.config = config
            self._ids_with_secret = _ids_with_secret(config)
            self._on_change(config)
        if before != (self.name, config.paused, None):
            self._on_status()


def _ids_with_secret(config: Config) -> frozenset[str]:
    return frozenset(backend.id for backend in config.backends if backend.has_secret)


def _error_notice(error: ConfigError) -> str:
    return f"The configuration can't be read: {error.title} {error.hint}".strip()
