"""`/mesh/settings`: what can be set while the service runs, and what of this machine belongs to that."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from litestar import Controller, get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from meshlight.domain.backend import Ring
from meshlight.domain.config import Config, KeyStorage
from meshlight.domain.errors import BadRequest
from meshlight.domain.rules import Policy, Rule
from meshlight.domain.settings_views import (
    AboutView,
    KeyringView,
    LanView,
    LoginView,
    ModelFoldersView,
    SettingsView,
    UpdateView,
)
from meshlight.gateway.control.openapi import documented_errors
from meshlight.gateway.control.peers import PeerServiceDep
from meshlight.http_client.address import parse_address
from meshlight.mesh.settings_store import SettingsStore

LISTED_MAX = 300
"""Aliases, rules or ignored addresses in one change: the file is written entry by entry and parsed again each time.
Longer lists have to be written into the file."""
FOLDERS_MAX = 50


class RoutingPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of the routing; aliases and rules are replaced completely. `bound: null` removes the limit."""

    policy: Policy | UnsetType = UNSET
    aliases: Annotated[Mapping[str, str | tuple[str, ...]], Meta(max_length=LISTED_MAX)] | UnsetType = UNSET
    rules: Annotated[tuple[Rule, ...], Meta(max_length=LISTED_MAX)] | UnsetType = UNSET
    bound: Ring | UnsetType | None = UNSET
    """No prompt goes beyond this ring, whatever the rules say."""


class DiscoveryPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of the discovery of engines; the ignored URLs are replaced completely."""

    enabled: bool | UnsetType = UNSET
    ignored: Annotated[tuple[str, ...], Meta(max_length=LISTED_MAX)] | UnsetType = UNSET


class LanPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether this machine announces itself, and looks for others."""

    visible: bool | UnsetType = UNSET
    browse: bool | UnsetType = UNSET


class ModelFoldersPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of where this machine's own models lie; the further folders are replaced completely."""

    enabled: bool | UnsetType = UNSET
    folder: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET
    folders: Annotated[tuple[str, ...], Meta(max_length=FOLDERS_MAX)] | UnsetType = UNSET


class SettingsPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; an unset field stays unchanged, an empty name means the host's name."""

    name: Annotated[str, Meta(max_length=80)] | UnsetType = UNSET
    routing: RoutingPatch | UnsetType = UNSET
    discovery: DiscoveryPatch | UnsetType = UNSET
    lan: LanPatch | UnsetType = UNSET
    local: ModelFoldersPatch | UnsetType = UNSET
    require_key: bool | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    key_storage: KeyStorage | UnsetType = UNSET
    notifications: bool | UnsetType = UNSET
    keep_history: bool | UnsetType = UNSET
    check_updates: bool | UnsetType = UNSET

    def on(self, old: Config) -> Config:
        """Return the configuration with these changes; raises BadAddress for a URL, BadRequest for long lists.

        `key_storage` and `lan` are not among them: more than the file has to follow them.
        """
        fields = _changed_fields(self)
        fields.pop("key_storage", None)
        fields.pop("lan", None)
        if isinstance(self.name, str):
            fields["name"] = self.name.strip()
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
        if isinstance(self.local, ModelFoldersPatch):
            changed = _changed_fields(self.local)
            if isinstance(self.local.folders, tuple):
                changed["folders"] = tuple(dict.fromkeys(self.local.folders))
            fields["local"] = replace(old.local, **changed)
        return replace(old, **fields)


class LoginPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether Meshlight starts at login."""

    on: bool


class MachineSettings(Protocol):
    """What of this machine, outside of the configuration file, can be set or told."""

    @property
    def update(self) -> UpdateView | None:
        """The newer version that the release feed has, if it is looked at."""

    @property
    def can_check_updates(self) -> bool:
        """Whether this build names a release feed."""

    async def login(self) -> LoginView:
        """Return whether Meshlight starts at login."""

    async def set_login(self, *, on: bool) -> LoginView:
        """Start at login, or no longer; raises BadRequest where that is impossible."""

    async def about(self) -> AboutView:
        """Return this version, and what it is built on."""


class ServiceSettings(SettingsStore, Protocol):
    """The settings store, with where keys are kept."""

    @property
    def asks_key_storage(self) -> bool:
        """Whether a key could not be stored for lack of a keyring, and the user has not chosen yet."""

    async def keyring(self) -> KeyringView:
        """Return where secrets are kept, and whether that works; opens no dialog."""

    async def set_key_storage(self, choice: KeyStorage) -> None:
        """Choose where secrets are kept, and move the stored ones there; SecretError when that fails."""


SettingsDep = NamedDependency[SkipValidation[ServiceSettings]]
MachineDep = NamedDependency[SkipValidation[MachineSettings]]


class SettingsController(Controller):
    """The settings."""

    path = "/mesh/settings"
    tags = ["settings"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="The current settings", responses=documented_errors())
    async def read(self, settings: SettingsDep, machine: MachineDep) -> SettingsView:
        """Return the current settings."""
        return _view(settings, machine)

    @patch("/", summary="Change settings", responses=documented_errors(409, has_body=True))
    async def change(
        self, settings: SettingsDep, machine: MachineDep, peers: PeerServiceDep, data: JSONBody[SettingsPatch]
    ) -> SettingsView:
        """Change settings; the file keeps its comments, and running streams continue.

        Where keys are kept and whether this machine is visible are changed first, each by itself, as they can fail.
        """
        if isinstance(data.local, ModelFoldersPatch):
            await asyncio.to_thread(check_folders, data.local, settings.config)
        if not isinstance(data.key_storage, UnsetType):
            await settings.set_key_storage(data.key_storage)
        if isinstance(data.lan, LanPatch):
            visible, browse = data.lan.visible, data.lan.browse
            await peers.set_visibility(
                visible=None if isinstance(visible, UnsetType) else visible,
                browse=None if isinstance(browse, UnsetType) else browse,
            )
        await settings.change(data.on)
        return _view(settings, machine)

    @get("/keyring", summary="Where keys are kept", responses=documented_errors())
    async def keyring(self, settings: SettingsDep) -> KeyringView:
        """Return where the keys of backends are kept, and whether that works; opens no dialog."""
        return await settings.keyring()

    @get("/login", summary="Start at login", responses=documented_errors())
    async def login(self, machine: MachineDep) -> LoginView:
        """Return whether Meshlight starts at login, and what that does on this machine."""
        return await machine.login()

    @patch("/login", summary="Change start at login", responses=documented_errors(has_body=True))
    async def set_login(self, machine: MachineDep, data: JSONBody[LoginPatch]) -> LoginView:
        """Start Meshlight at login from now on, or no longer: the same as `meshlight login`."""
        return await machine.set_login(on=data.on)

    @get("/about", summary="Version and licences", responses=documented_errors())
    async def about(self, machine: MachineDep) -> AboutView:
        """Return this version, and the packages that it is built on with their licences."""
        return await machine.about()


def check_folders(changed: ModelFoldersPatch, config: Config) -> None:
    """Raise BadRequest for a new folder that is none, or can't be read, naming the field; blocks.

    A folder that is set already may be missing, such as that of a disk that is not plugged in.
    """
    if isinstance(changed.folders, tuple):
        for number, folder in enumerate(changed.folders):
            if folder not in config.local.folders:
                _check_folder(f"local.folders[{number}]", folder, os.R_OK | os.X_OK)
    if isinstance(changed.folder, str) and changed.folder not in {"", config.local.folder}:
        _check_folder("local.folder", changed.folder, os.R_OK | os.W_OK | os.X_OK, may_lack=True)


def _check_folder(field: str, folder: str, access: int, *, may_lack: bool = False) -> None:
    shown = repr(folder[:200])
    try:
        path = Path(folder).expanduser()
        if "\0" in folder or not path.is_absolute():
            raise BadRequest(f"{field}: {shown} is no whole path.", "Begin with / or ~.", field)
        if not path.exists():
            if may_lack:
                return
            raise BadRequest(
                f"{field}: there is no folder {shown}.", "Create it, or correct the path.", field
            )
        if not path.is_dir():
            raise BadRequest(
                f"{field}: {shown} is a file, not a folder.", "Name the folder that it is in.", field
            )
        if not os.access(path, access):
            raise BadRequest(f"{field}: {shown} is not open to you.", "Change its permissions.", field)
    except (OSError, RuntimeError, ValueError) as error:
        raise BadRequest(f"{field}: {shown} can't be used.", "Correct the path.", field) from error


def _check_length(name: str, listed: Sequence[str]) -> None:
    if len(listed) > LISTED_MAX:
        raise BadRequest(f"{name} must be at most {LISTED_MAX} entries long.", "", name)


def _changed_fields(patch: Struct) -> dict[str, object]:
    return {key: value for key, value in asdict(patch).items() if value is not UNSET}


def _view(settings: ServiceSettings, machine: MachineSettings) -> SettingsView:
    config = settings.config
    return SettingsView(
        name=settings.name,
        routing=config.routing,
        discovery=config.discovery,
        lan=LanView(visible=config.lan.visible, browse=config.lan.browse),
        local=ModelFoldersView(
            enabled=config.local.enabled, folder=config.local.folder, folders=config.local.folders
        ),
        require_key=config.require_key,
        paused=config.paused,
        key_storage=config.key_storage,
        asks_key_storage=settings.asks_key_storage,
        notifications=config.notifications,
        keep_history=config.keep_history,
        check_updates=config.check_updates,
        can_check_updates=machine.can_check_updates,
        update=machine.update,
        config_file=settings.config_file,
        notices=settings.notices(),
    )
