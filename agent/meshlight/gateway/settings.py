"""`/mesh/settings`: what the user may set while the service runs."""

from typing import Protocol

from litestar import Controller, get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import UNSET, Struct, UnsetType

from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.rules import Routing


class Settings(Struct, frozen=True, kw_only=True):
    """The settings in force; `notices` tell what is wrong with the service itself."""

    name: str
    routing: Routing
    discovery: DiscoverySettings
    require_key: bool
    config_file: str
    notices: tuple[str, ...]


class SettingsPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; an unset field stays as it is."""

    routing: Routing | UnsetType = UNSET
    discovery: DiscoverySettings | UnsetType = UNSET
    require_key: bool | UnsetType = UNSET


class SettingsKeeper(Protocol):
    """Who holds the settings: main joins it to the configuration file."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def config_file(self) -> str:
        """The path of the file, for people."""

    def notices(self) -> tuple[str, ...]:
        """What is wrong with the service itself."""

    async def set(self, patch: SettingsPatch) -> None:
        """Write a change down and follow it."""


KeeperHere = NamedDependency[SkipValidation[SettingsKeeper]]


class SettingsController(Controller):
    """The settings."""

    path = "/mesh/settings"
    tags = ["settings"]  # noqa: RUF012 Litestar's own form

    @get("/", summary="The settings in force")
    async def read(self, keeper: KeeperHere) -> Settings:
        """Return the settings in force."""
        return _shown(keeper)

    @patch("/", summary="Change settings")
    async def change(self, keeper: KeeperHere, data: JSONBody[SettingsPatch]) -> Settings:
        """Change settings; the file keeps its comments, and running streams go on."""
        await keeper.set(data)
        return _shown(keeper)


def _shown(keeper: SettingsKeeper) -> Settings:
    config = keeper.config
    return Settings(
        name=config.name,
        routing=config.routing,
        discovery=config.discovery,
        require_key=config.require_key,
        config_file=keeper.config_file,
        notices=keeper.notices(),
    )
