"""What the tray knows besides the mesh itself: the service it watches over, and its own switches.

The tray's own settings, which no other part of Meshlight needs to know.

What the tray needs of the rest of the machine.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from meshlight.desktop.tray.notifications import Notification
from meshlight.domain.peers import PeersView

Service = Literal["starting", "running", "down", "stopped"]
"""`down` is being started again by itself; `stopped` waits for the user's Restart."""


class Refresh(Struct, frozen=True, kw_only=True):
    """A refresh that runs, or, for the few seconds in which its end is shown, one that is over."""

    done: int = 0
    total: int = 0
    is_over: bool = False
    error: str = ""
    """Why it came to nothing; empty when it went well."""


class TrayState(Struct, frozen=True, kw_only=True):
    """All that the menu and the tooltip show, and no snapshot holds."""

    service: Service = "starting"
    said: str = ""
    """One line about a service that is not running: why, and what happens next."""
    url: str = ""
    """Address of the running service, such as `http://127.0.0.1:6374`; empty when it is not known."""
    free_port: int | None = None
    """A port that is free, where the service's own is taken by another program."""
    owns_service: bool = True
    """Whether Quit ends the service too; not when the tray found it running."""
    can_pause: bool = True
    """Whether the service that runs knows of pausing."""
    refresh: Refresh | None = None
    peers: PeersView | None = None
    """Other Meshlights; None while the service is away, or knows nothing of them."""
    starts_at_login: bool | None = None
    """None where starting at login can't be switched."""
    notifies: bool | None = None
    """None where there are no notifications."""
    snoozed_until: str = ""
    """The time of day until which notifications are silent, such as `14:05`; empty when they are not."""


class Preferences(Struct, frozen=True, kw_only=True):
    """What the tray remembers from one start to the next; kept in a `SmallFile`."""

    notifications: bool = True
    was_started: bool = False
    """Whether there was a first start, which opens the window by itself: some desktops hide trays."""


class TrayEnvironment(Struct, frozen=True, kw_only=True):
    """The machine around the tray, each part as a function of its own."""

    runtime_file: Path
    copy: Callable[[str], bool]
    """Put a text into the clipboard; whether that went well."""
    key: Callable[[], str]
    """The local key; raises MeshlightError."""
    environment: Callable[[str], str]
    """The variables for apps, given the service's address; raises MeshlightError."""
    free_port: Callable[[int], int]
    """A port that is free, near a given one."""
    keep_port: Callable[[int], None]
    """Write the service's port into the configuration; raises MeshlightError."""
    show_log: Callable[[], bool]
    notify: Callable[[Notification], bool]
    time_in: Callable[[float], str]
    """The time of day in so many seconds, for people."""
    clock: Callable[[], float] = time.monotonic
