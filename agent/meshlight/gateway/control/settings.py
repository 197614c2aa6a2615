"""`/mesh/settings`: the settings that can be changed while the service runs."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from litestar import Controller, get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.errors import BadRequest
from meshlight.domain.rules import Policy, Routing, Rule
from meshlight.gateway.control.openapi import documented_errors
from meshlight.http_client.address import parse_address
from meshlight.mesh.settings_store import SettingsStore

LISTED_MAX = 300
"""Aliases, rules or ignored addresses in one change: the file is written entry by entry and parsed again each time.
Longer lists have to be written into the file."""


class Settings(Struct, frozen=True, kw_only=True):
    """The current settings; `notices` are problems of the service itself."""

    name: str
    routing: Routing
    discovery: DiscoverySettings
    require_key: bool
    paused: bool
    """Whether requests are refused."""
    config_file: str
    notices: tuple[str, ...]


class RoutingPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of the routing; aliases and rules are replaced completely."""

    policy: Policy | UnsetType = UNSET
    aliases: Annotated[Mapping[str, str | tuple[str, ...]], Meta(max_length=LISTED_MAX)] | UnsetType = UNSET
    rules: Annotated[tuple[Rule, ...], Meta(max_length=LISTED_MAX)] | UnsetType = UNSET


class DiscoveryPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of the discovery of engines; the ignored URLs are replaced completely."""

    enabled: bool | UnsetType = UNSET
    ignored: Annotated[tuple[str, ...], Meta(max_length=LISTED_MAX)] | UnsetType = UNSET


class SettingsPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; an unset field stays unchanged, an empty name means the host's name."""

    name: Annotated[str, Meta(max_length=80)] | UnsetType = UNSET
    routing: RoutingPatch | UnsetType = UNSET
    discovery: DiscoveryPatch | UnsetType = UNSET
    require_key: bool | UnsetType = UNSET
    paused: bool | UnsetType = UNSET

    def on(self, old: Config) -> Config:
        """Return the configuration with these changes; raises BadAddress for a URL, BadRequest for long lists."""
        fields = _changed_fields(self)
        if isinstance(self.routing, RoutingPatch):
            if isinstance(self.routing.rules, tuple):
                for number, rule in enumerate(self.routing.rules):
                    _check_length(f"routing.rules[{number}].pin", rule.pin)
                    _check_length(f"routing.rules[{number}].prefer", rule.prefer)
                    _check_length(f"routing.rules[{number}].fallback", rule.fallback)
            if isinstance(self.routing.aliases, Mapping):
                for alias, models in self.routing.aliases.items():
                    _check_length(f"routing.aliases.{alias[:80]}", () if isinstance(models, str) else models)
            fields["routing"] = replace(old.routing, **_changed_fields(self.routing))
        if isinstance(self.discovery, DiscoveryPatch):
            if isinstance(self.discovery.ignored, tuple):
                for url in self.discovery.ignored:
                    parse_address(url)
            fields["discovery"] = replace(old.discovery, **_changed_fields(self.discovery))
        return replace(old, **fields)


SettingsDep = NamedDependency[SkipValidation[SettingsStore]]


class SettingsController(Controller):
    """The settings."""

    path = "/mesh/settings"
    tags = ["settings"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="The current settings", responses=documented_errors())
    async def read(self, settings: SettingsDep) -> Settings:
        """Return the current settings."""
        return _view(settings)

    @patch("/", summary="Change settings", responses=documented_errors(409, has_body=True))
    async def change(self, settings: SettingsDep, data: JSONBody[SettingsPatch]) -> Settings:
        """Change settings; the file keeps its comments, and running streams continue."""
        await settings.change(data.on)
        return _view(settings)


def _check_length(name: str, listed: Sequence[str]) -> None:
    if len(listed) > LISTED_MAX:
        raise BadRequest(f"{name} must be at most {LISTED_MAX} entries long.", "", name)


def _changed_fields(patch: Struct) -> dict[str, object]:
    return {key: value for key, value in asdict(patch).items() if value is not UNSET}


def _view(settings: SettingsStore) -> Settings:
    config = settings.config
    return Settings(
        name=settings.name,
        routing=config.routing,
        discovery=config.discovery,
        require_key=config.require_key,
        paused=config.paused,
        config_file=settings.config_file,
        notices=settings.notices(),
    )
