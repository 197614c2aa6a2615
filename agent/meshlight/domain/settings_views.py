"""What `/mesh/settings` and its neighbours answer: the settings, and what of this machine belongs to them."""

from msgspec import Struct

from meshlight.domain.config import DiscoverySettings, KeyStorage
from meshlight.domain.rules import Routing


class LoginView(Struct, frozen=True, kw_only=True):
    """Whether Meshlight starts at login."""

    on: bool
    can: bool
    """Whether that can be changed here."""
    text: str
    """What starts, or would start; or why nothing can."""


class KeyringView(Struct, frozen=True, kw_only=True):
    """Where the keys of backends are kept now, and whether that works."""

    is_file: bool
    ok: bool
    text: str
    fix: str = ""
    file: str
    """The path of the file for keys, used only by choice."""


class UpdateView(Struct, frozen=True, kw_only=True):
    """A newer version than this one."""

    version: str
    url: str
    """Where it is described; empty if that is not known."""


class LanView(Struct, frozen=True, kw_only=True):
    """How this machine and others find each other."""

    visible: bool
    browse: bool


class ModelFoldersView(Struct, frozen=True, kw_only=True):
    """Where this machine's own models lie."""

    enabled: bool
    folder: str
    """Where downloads go; empty for the default."""
    folders: tuple[str, ...]
    """Further folders with models, which are only read."""


class SettingsView(Struct, frozen=True, kw_only=True):
    """The current settings; `notices` are problems of the service itself."""

    name: str
    routing: Routing
    discovery: DiscoverySettings
    lan: LanView
    local: ModelFoldersView
    require_key: bool
    paused: bool
    """Whether requests are refused."""
    key_storage: KeyStorage
    asks_key_storage: bool
    """Whether a key could not be stored, as there is no keyring, and the user has not chosen yet."""
    notifications: bool
    keep_history: bool
    check_updates: bool
    can_check_updates: bool
    """Whether this build names a release feed."""
    update: UpdateView | None
    """The newer version that the release feed has, if it is looked at."""
    config_file: str
    notices: tuple[str, ...]


class Licence(Struct, frozen=True, kw_only=True):
    """A package that Meshlight is built on."""

    name: str
    version: str
    licence: str


class AboutView(Struct, frozen=True, kw_only=True):
    """This version, and what it is built on."""

    version: str
    python: str
    licence: str
    packages: tuple[Licence, ...]
