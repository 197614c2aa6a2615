"""The command `meshlight login`, which starts Meshlight at login or stops doing so."""

from typing import Literal

import click

from meshlight.desktop.system.login import (
    NOTHING_STARTS,
    SERVICE_STARTS,
    TRAY_STARTS,
    describe,
    entry_here,
    login_here,
    unit_here,
)
from meshlight.desktop.system.systemd_unit import SystemdUnit


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
    if state is None:
        click.echo("\n".join(describe(entry_here(), unit_here())))
        return
    chosen = login_here().switch(on=state == "on", service=service)
    if chosen is None:
        click.echo(NOTHING_STARTS)
    elif isinstance(chosen, SystemdUnit):
        click.echo(f"{SERVICE_STARTS} Start it now with: systemctl --user start meshlight")
        click.echo("To start it with the machine instead: loginctl enable-linger")
    else:
        click.echo(TRAY_STARTS)
