"""The command `meshlight login`, which starts Meshlight at login or stops doing so."""

import os
from collections.abc import Sequence
from typing import Final, Literal

import click

from meshlight.desktop.system.autostart import Autostart, autostart_here
from meshlight.desktop.system.opener import has_screen
from meshlight.desktop.system.process import program
from meshlight.desktop.system.systemd_unit import SystemdUnit, systemd_unit_here
from meshlight.domain.errors import BadRequest, MeshlightError

PANEL_WAIT_S: Final = 30
"""How long the icon waits at login for the desktop's panel."""


@click.command(
    epilog="""\b
Examples:
  meshlight login on
  meshlight login on --service
  meshlight login off
  meshlight login

On a machine without a desktop, `on` starts the service by systemd; with a desktop, it shows the icon in the tray."""
)
@click.argument("state", type=click.Choice(["on", "off"]), required=False)
@click.option("--service", is_flag=True, help="Start the service by systemd, even if there is a desktop.")
def login(*, state: Literal["on", "off"] | None, service: bool) -> None:
    """Start Meshlight at login, or stop doing so.

    Without `on` or `off`, this prints which is set.
    """
    entry, unit = entry_here(), unit_here()
    if state is None:
        click.echo("\n".join(describe(entry, unit)))
        return
    if state == "off":
        _switch([one for one in (entry, unit) if one is not None and one.is_on], on=False)
        click.echo("Meshlight does not start at login.")
        return
    if os.environ.get("MESHLIGHT_HOME"):
        raise BadRequest(
            "MESHLIGHT_HOME is set here, and a program that starts at login doesn't have it.",
            "Unset it first: Meshlight then uses your own folders.",
        )
    if service or not has_screen():
        if unit is None:
            raise BadRequest(
                "This machine has neither a desktop nor systemd to start Meshlight at login.",
                "Let its own supervisor run: meshlight serve --quiet",
            )
        _switch([unit], on=True)
        click.echo("The service starts at login. Start it now with: systemctl --user start meshlight")
        click.echo("To start it with the machine instead: loginctl enable-linger")
    elif entry is not None:
        _switch([entry], on=True)
        click.echo("Meshlight starts at login, as an icon in the tray.")


def entry_here() -> Autostart | None:
    """Return this desktop's autostart entry for the tray; without the options of today's run."""
    return autostart_here(program("tray", "--patience", str(PANEL_WAIT_S), windowed=True))


def unit_here() -> SystemdUnit | None:
    """Return this user's systemd unit for the service; None where there is no systemd."""
    return systemd_unit_here(program("serve", "--quiet"))


def describe(entry: Autostart | None, unit: SystemdUnit | None) -> list[str]:
    """Return what starts at login, one line each."""
    lines = ["The icon in the tray starts at login."] if entry is not None and entry.is_on else []
    lines += ["The service starts at login, by systemd."] if unit is not None and unit.is_on else []
    return lines or ["Meshlight does not start at login."]


def _switch(entries: Sequence[Autostart | SystemdUnit], *, on: bool) -> None:
    try:
        for entry in entries:
            entry.switch(on=on)
    except OSError as error:
        raise MeshlightError(f"{error}.", "Make the folder writable for you.") from error
