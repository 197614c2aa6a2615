"""The data of the tray: what it shows besides the mesh, its saved preferences, and its access to the machine."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from meshlight.desktop.tray.notifications import Notification
from meshlight.domain.api_types import PendingSignIn
from meshlight.domain.local_views import LocalView
from meshlight.domain.peers import PeersView

ServicePhase = Literal["starting", "running", "down", "stopped"]
"""`down` is restarted automatically; `stopped` waits for the user's Restart."""


class Refresh(Struct, frozen=True, kw_only=True):
    """A running refresh, or a finished one for the few seconds in which its result is shown."""

    done: int = 0
    total: int = 0
    is_over: bool = False
    error: str = ""
    """Why it failed; empty if it succeeded."""


class TrayState(Struct, frozen=True, kw_only=True):
    """What the menu and the tooltip show in addition to the snapshot."""

    service: ServicePhase = "starting"
    message: str = ""
    """One line about a service that is not running: why, and what happens next."""
    url: str = ""
    """Address of the running service, such as `http://127.0.0.1:6374`; empty if unknown."""
    free_port: int | None = None
    """A free port to offer when another program uses the service's port."""
    owns_service: bool = True
    """Whether Quit ends the service too; False if the tray found it running."""
    can_pause: bool = True
    """Whether the running service supports pausing."""
    refresh: Refresh | None = None
    peers: PeersView | None = None
    """Paired and discovered machines; None while the service is not running, or doesn't support peers."""
    local: LocalView | None = None
    """This machine's own models; None while the service is not running, or doesn't run models."""
    local_age_s: float = 0.0
    """How long ago `local` was true."""
    sign_in: PendingSignIn = PendingSignIn()
    """The browser that asks to be let in, if one does."""
    asks_key_storage: bool = False
    """Whether the user has to choose where keys are kept, as there is no keyring."""
    update: str = ""
    """The newer version that is out, if the user wants to know; empty for none."""
    starts_at_login: bool | None = None
    """None where starting at login is not supported."""
    notifies: bool | None = None
    """None where there are no notifications."""
    snoozed_until: str = ""
    """The time of day until which notifications are snoozed, such as `14:05`; empty if they are not."""


class Preferences(Struct, frozen=True, kw_only=True):
    """What the tray remembers between starts, in a `JsonFile`."""

    notifications: bool = True
    is_told: bool = False
    """Whether the service, which keeps this setting, has been told what was chosen here."""
    was_started: bool = False
    """Whether the tray was started before. The first start opens the window, as some desktops hide tray icons."""


class TrayEnvironment(Struct, frozen=True, kw_only=True):
    """The tray's access to the rest of the machine, one function for each use."""

    runtime_file: Path
    copy: Callable[[str], bool]
    """Copies a text to the clipboard; returns whether that succeeded."""
    key: Callable[[], str]
    """Returns the local key; raises MeshlightError."""
    environment: Callable[[str], str]
    """Returns the environment variables for apps, given the service's address; raises MeshlightError."""
    free_port: Callable[[int], int]
    """Returns a free port near the given one."""
    save_port: Callable[[int], None]
    """Writes the service's port into the configuration; raises MeshlightError."""
    show_log: Callable[[], bool]
    """Opens the log; returns whether that succeeded."""
    notify: Callable[[Notification], bool]
    """Shows a notification; returns whether that succeeded. May block for seconds."""
    time_in: Callable[[float], str]
    """Returns the time of day in so many seconds, for people."""
    clock: Callable[[], float] = time.monotonic
    """Returns seconds on a monotonic clock."""
