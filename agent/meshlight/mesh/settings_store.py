"""The port to everything that outlives the process: the configuration file and the secrets.

The service implements it on files and the keyring (`service/settings_store.py`), tests in memory.
"""

from collections.abc import Callable
from typing import Protocol

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config


class SettingsStore(Protocol):
    """The configuration in force, and all writes to it.

    A write returns once the file is written and the new configuration is followed. Writes raise ConfigError when the
    file is broken or can't be written, and change nothing then. No method blocks the event loop.
    """

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def config_file(self) -> str:
        """The path of the configuration file, for people."""

    @property
    def name(self) -> str:
        """How this node calls itself: the configured name, or else the host's."""

    def notices(self) -> tuple[str, ...]:
        """Return what is wrong with the service itself, as sentences."""

    def notice(self, topic: str, text: str) -> None:
        """Show a sentence to the user from now on, one per topic; an empty text removes it."""

    async def change(self, update: Callable[[Config], Config]) -> None:
        """Change any settings in one write; `update` gets the configuration as the file has it now.

        Raises BadRequest for a value that is not allowed, Conflict for a backend that is there twice.
        """

    async def put_backend(self, backend: Backend) -> None:
        """Add a backend, or change the one with its id; raises as `change` does."""

    async def remove_backend(self, backend_id: str) -> None:
        """Remove a backend and its secrets; NotFound when there is none."""

    async def ignore(self, url: str) -> None:
        """Never list an engine found at this URL again."""

    async def secret(self, backend_id: str, origin: str) -> str | None:
        """Return a backend's secret; None when it has none.

        Raises SecretError when it can't be read, or was saved for another origin (see `Address.origin`).
        """

    async def put_secret(self, backend_id: str, secret: str, origin: str) -> None:
        """Save a backend's secret, for this origin only; SecretError when that fails."""

    async def remove_secret(self, backend_id: str) -> None:
        """Delete a backend's secret; SecretError when that fails."""

    def retry_secrets(self) -> None:
        """Ask the keyring again at the next need, even if it has just failed: the user wants to know now."""
