"""What the tray needs of the rest of the machine."""

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from meshlight.desktop.notify import Note


class Desk(Struct, frozen=True, kw_only=True):
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
    notify: Callable[[Note], bool]
    time_in: Callable[[float], str]
    """The time of day in so many seconds, for people."""
    clock: Callable[[], float] = time.monotonic
