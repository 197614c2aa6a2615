"""The configuration in force, as each request asks for it."""

from meshlight.domain.config import Config


class LiveConfig:
    """Holds the configuration in force. Its methods are callbacks; a property behind a lambda costs more."""

    __slots__ = ("config",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def read(self) -> Config:
        """Return the configuration in force."""
        return self.config

    def is_paused(self) -> bool:
        """Whether routing is paused."""
        return self.config.paused
