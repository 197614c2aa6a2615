"""The command `meshlight desktop`: what the entry in the menu of applications starts, and the entry itself."""

from pathlib import Path

import click

from meshlight.cli.link import LINK_COMMAND
from meshlight.cli.start import start_service
from meshlight.cli.tray import NoTrayIcon, run_tray, tray_icon
from meshlight.cli.window import open_in_browser
from meshlight.desktop.system.menu_entry import menu_entry_here
from meshlight.desktop.system.process import program, start_detached
from meshlight.desktop.system.screen import has_screen
from meshlight.desktop.system.url_handler import link_handler_here
from meshlight.domain.errors import BadRequest, MeshlightError
from meshlight.domain.text import write_error
from meshlight.storage.paths import Paths


@click.command(
    epilog="""\b
Examples:
  meshlight desktop
  meshlight desktop --install
  meshlight desktop --remove

A package of your distribution (meshlight-desktop) brings the entry with it; --install is for pipx, uv and pip."""
)
@click.option(
    "--install", is_flag=True, help="Add Meshlight to your menu of applications, with icon and links."
)
@click.option("--remove", is_flag=True, help="Undo --install.")
@click.pass_context
def desktop(ctx: click.Context, *, install: bool, remove: bool) -> None:
    """Start as the menu of applications does: the icon in the tray, and the window.

    Where there is no tray, the service starts in the background; without a screen, a link to the page is printed.
    """
    if install and remove:
        raise BadRequest("--install and --remove can't be combined.", "Give one of them alone.")
    if install or remove:
        _switch(on=install)
        return
    paths = Paths.here()
    try:
        ctx.exit(run_tray(paths, [], lambda on_action: tray_icon(on_action, 0.0), opens_window=True))
    except NoTrayIcon as why:
        start_service(paths)
        click.echo(f"{why} Meshlight runs in the background instead. End it with: meshlight quit", err=True)
    if not has_screen():
        open_in_browser(paths)
        return
    start_detached(program("window", windowed=True))
    click.echo("The mesh window opens. If it doesn't: meshlight open --browser")


def switch_entries(*, on: bool) -> list[Path]:
    """Create or remove the menu entry and the link handler; returns the files. Raises OSError."""
    entries = (
        menu_entry_here(program("desktop", windowed=True)),
        link_handler_here(program(*LINK_COMMAND, windowed=True)),
    )
    return [file for entry in entries if entry is not None for file in entry.switch(on=on)]


def _switch(*, on: bool) -> None:
    if menu_entry_here([]) is None:
        raise BadRequest(
            "On this system the app itself is the entry.",
            "Install it with its setup program (Windows) or .dmg (macOS).",
        )
    try:
        files = switch_entries(on=on)
    except OSError as error:
        raise MeshlightError(write_error(error), "Make the folder writable for you.") from error
    for file in files:
        click.echo(f"{'Wrote' if on else 'Removed'} {file}")
    click.echo(
        "Meshlight is in your menu of applications." if on else "Meshlight is not in your own menu any more."
    )
