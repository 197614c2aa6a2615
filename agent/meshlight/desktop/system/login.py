"""Start at login: by a desktop's entry or by systemd's unit, for the command, the tray and the page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from meshlight.desktop.system.autostart import Autostart, autostart_here
from meshlight.desktop.system.process import program
from meshlight.desktop.system.screen import has_screen
from meshlight.desktop.system.systemd_unit import SystemdUnit, systemd_unit_here
from meshlight.domain.errors import BadRequest, MeshlightError
from meshlight.domain.settings_views import LoginView

PANEL_WAIT_S: Final = 30
"""How long the icon waits at login for the desktop's panel."""
TRAY_STARTS: Final = "The icon in the tray starts at login."
SERVICE_STARTS: Final = "The service starts at login, by systemd."
NOTHING_STARTS: Final = "Meshlight does not start at login."


def entry_here() -> Autostart | None:
    """Return this desktop's autostart entry for the tray; without the options of today's run."""
    return autostart_here(program("tray", "--patience", str(PANEL_WAIT_S), windowed=True))


def unit_here() -> SystemdUnit | None:
    """Return this user's systemd unit for the service; None where there is no systemd."""
    return systemd_unit_here(program("serve", "--quiet"))


def describe(entry: Autostart | None, unit: SystemdUnit | None) -> list[str]:
    """Return what starts at login, one line each."""
    lines = [TRAY_STARTS] if entry is not None and entry.is_on else []
    lines += [SERVICE_STARTS] if unit is not None and unit.is_on else []
    return lines or [NOTHING_STARTS]


class LoginHere:
    """Whether Meshlight starts at login here; what is switched on suits the machine. The methods block."""

    def __init__(
        self,
        entry: Autostart | None,
        unit: SystemdUnit | None,
        *,
        environ: Mapping[str, str] = os.environ,
        has_screen: bool | None = None,
    ) -> None:
        self._entry = entry
        self._unit = unit
        self._has_own_home = bool(environ.get("MESHLIGHT_HOME"))
        self._has_screen = has_screen

    def view(self) -> LoginView:
        """Return whether it starts at login, and what switching it on does here, or why it can't be."""
        is_on = any(one.is_on for one in (self._entry, self._unit) if one is not None)
        if is_on:
            return LoginView(on=True, can=True, text=" ".join(describe(self._entry, self._unit)))
        try:
            chosen = self.choose()
        except BadRequest as why:
            return LoginView(on=False, can=False, text=f"{why.title} {why.hint}".strip())
        text = "Puts the icon into the tray at login, by the desktop's autostart."
        if chosen is self._unit:
            text = "Starts the service at login, by a systemd unit of yours: there is no desktop here."
        return LoginView(on=False, can=True, text=text)

    def choose(self, *, service: bool = False) -> Autostart | SystemdUnit:
        """Return what is to be switched on, the service alone if wanted; BadRequest where there is nothing."""
        if self._has_own_home:
            raise BadRequest(
                "MESHLIGHT_HOME is set here, and a program that starts at login doesn't have it.",
                "Unset it first: Meshlight then uses your own folders.",
            )
        is_desktop = has_screen() if self._has_screen is None else self._has_screen
        if self._entry is not None and is_desktop and not service:
            return self._entry
        if self._unit is None:
            raise BadRequest(
                "This machine has neither a desktop nor systemd to start Meshlight at login.",
                "Let its own supervisor run: meshlight serve --quiet",
            )
        return self._unit

    def switch(self, *, on: bool, service: bool = False) -> Autostart | SystemdUnit | None:
        """Switch it on, and return what that is, or off; raises BadRequest, or MeshlightError of the system."""
        if on:
            chosen = self.choose(service=service)
            _switch([chosen], on=True)
            return chosen
        _switch([one for one in (self._entry, self._unit) if one is not None and one.is_on], on=False)
        return None


def login_here() -> LoginHere:
    """Return this machine's."""
    return LoginHere(entry_here(), unit_here())


def _switch(entries: Sequence[Autostart | SystemdUnit], *, on: bool) -> None:
    try:
        for entry in entries:
            entry.switch(on=on)
    except OSError as error:
        where = f" ({Path(error.filename)})" if isinstance(error.filename, str) else ""
        raise MeshlightError(
            f"Start at login could not be changed: {error.strerror or error}{where}.",
            "Make the folder writable for you.",
        ) from error
