"""The command `meshlight link`, which opens a `meshlight://` link; the desktop calls it, and a user may."""

from typing import Final

import click

from meshlight.cli.start import connect_or_start, start_option
from meshlight.desktop.system.instance_signal import signal_instance
from meshlight.desktop.system.process import program, start_detached
from meshlight.desktop.system.screen import has_screen
from meshlight.desktop.system.url_handler import link_handler_here
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.desktop.window.window import with_node
from meshlight.domain.errors import BadRequest, MeshlightError
from meshlight.domain.text import write_error
from meshlight.gateway.control.qr import parse_deep_link
from meshlight.storage.paths import Paths

LINK_COMMAND: Final = ("link", "--start", "--")
"""What the desktop runs for a link that was clicked, with the link behind it; nobody can be asked there."""


@click.command(
    epilog="""\b
Examples:
  meshlight link 'meshlight://add?kind=ollama&url=http://gpu.lan:11434'
  meshlight link --register

A link to add a backend has kind, url, name and access_key; a link to pair (from `meshlight pair --link`) has host,
port, id and name. Links never have secrets. Put the link in quotes, because of the &."""
)
@click.argument("url", required=False, metavar="[URL]")
@click.option("--browser", is_flag=True, help="Open it in the browser instead of a window.")
@click.option("--print", "only_print", is_flag=True, help="Print the page's link instead of opening it.")
@click.option("--register", is_flag=True, help="Let this desktop open meshlight:// links with Meshlight.")
@click.option("--unregister", is_flag=True, help="Undo --register.")
@start_option
def link(*, url: str | None, browser: bool, only_print: bool, register: bool, unregister: bool) -> None:
    """Open a meshlight:// link: its dialog adds a backend, or pairs another machine.

    Nothing is added or paired until you confirm it.
    """
    if register or unregister:
        if url is not None or (register and unregister):
            raise BadRequest(
                "--register and --unregister can't be combined with anything.", "Give one of them alone."
            )
        _switch(on=register)
        return
    if url is None:
        raise BadRequest(
            "No link was given.",
            "Write: meshlight link 'meshlight://add?kind=ollama&url=http://gpu.lan:11434'",
        )
    fragment = parse_deep_link(url).fragment
    with connect_or_start(asks=False) as client:  # fails here, where the user sees the error
        if only_print:
            click.echo(with_node(client.one_time_link(), fragment))
            return
    if browser or not has_screen():
        from meshlight.cli.window import open_in_browser  # noqa: PLC0415 -- not where there is a window

        open_in_browser(Paths.here(), fragment)
        return
    if not signal_instance(Paths.here().state_dir, INSTANCE_SOCKET, fragment):
        start_detached(program("window", f"--node={fragment}", windowed=True))
    click.echo("The dialog opens in the mesh window. If it doesn't, add --browser.")


def _switch(*, on: bool) -> None:
    handler = link_handler_here(program(*LINK_COMMAND, windowed=True))
    if handler is None:
        raise BadRequest(
            "Links can't be registered on this system yet.", "Open one with: meshlight link 'meshlight://…'"
        )
    try:
        handler.switch(on=on)
    except OSError as error:
        raise MeshlightError(write_error(error), "Make the folder writable for you.") from error
    click.echo("meshlight:// links open with Meshlight." if on else "meshlight:// links no longer open.")
