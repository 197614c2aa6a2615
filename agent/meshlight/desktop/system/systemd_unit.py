"""Start at login without a desktop: the service as a unit of the user's own systemd."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from meshlight.desktop.system.files_made import remove
from meshlight.desktop.system.url_handler import run_silently

UNIT: Final = "meshlight.service"
BOOTED: Final = Path("/run/systemd/system")
"""Exists where systemd runs (sd_booted(3))."""
PACKAGED: Final = Path("/usr/lib/systemd/user") / UNIT


class SystemdUnit:
    """A unit in `~/.config/systemd/user`, or that of a package, wanted by the user's default target.

    The files are written here, not by `systemctl enable`: that needs a session, which `su` and cron don't have.
    Methods raise OSError if the system refuses.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        stop: Path,
        packaged: Path = PACKAGED,
        run: Callable[[Sequence[str]], None] = run_silently,
    ) -> None:
        """Folders that get empty are removed up to `stop`, which stays."""
        self._file = folder / UNIT
        self._link = folder / "default.target.wants" / UNIT
        self._command = command
        self._stop = stop
        self._packaged = packaged
        self._run = run

    @property
    def is_on(self) -> bool:
        """Whether the user's systemd starts the service at login."""
        return self._link.exists()

    def switch(self, *, on: bool) -> None:
        """Enable the unit for the next login, or disable it; one that runs keeps running."""
        remove([self._link, self._file], self._stop)
        if on:
            self._link.parent.mkdir(parents=True, exist_ok=True)
            unit = self._packaged
            if not unit.is_file():
                unit = self._file
                unit.write_text(unit_text(self._command), "utf-8")
            self._link.symlink_to(unit)
        self._run(["systemctl", "--user", "daemon-reload"])


def unit_text(command: Sequence[str]) -> str:
    """Return the text of the unit."""
    return f"""\
[Unit]
Description=Meshlight: every language model you can reach, behind one local address
Documentation=man:meshlight(1)

[Service]
ExecStart={" ".join(map(quote_unit, command))}
# Also after an orderly end: an update ends the service so that the new version starts.
# `meshlight quit` and `systemctl --user stop meshlight` stop it for good.
Restart=always
RestartSec=1
# It gives running requests 10 s to finish.
TimeoutStopSec=15
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def quote_unit(argument: str) -> str:
    """Quote an argument for `ExecStart` (systemd.service(5), "Command lines")."""
    for character, code in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        argument = argument.replace(character, code)
    return f'"{argument}"'


def systemd_unit_here(command: Sequence[str], home: Path | None = None) -> SystemdUnit | None:
    """Return this user's unit; None where systemd does not run."""
    if sys.platform != "linux" or not BOOTED.is_dir():
        return None
    home = home or Path.home()
    config = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(config) if config.startswith("/") else home / ".config"
    return SystemdUnit(folder / "systemd" / "user", command, stop=home)


def stop_unit(run: Callable[[Sequence[str]], None] = run_silently, booted: Path = BOOTED) -> None:
    """Stop the unit if it runs, so that systemd does not start the service again."""
    if sys.platform == "linux" and booted.is_dir():
        run(["systemctl", "--user", "--quiet", "stop", UNIT])
