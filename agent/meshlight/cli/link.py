"""The word that follows a `meshlight://` link; the desktop calls it, and a person may."""

import click

from meshlight.cli.service_client import connect_service
from meshlight.desktop.system.instance_signal import signal_instance
from meshlight.desktop.system.opener import has_screen
from meshlight.desktop.system.process import program, start_detached
from meshlight.desktop.system.url_handler import link_handler_here
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.desktop.window.window import with_node
from meshlight.domain.errors import BadRequest, MeshlightError
from meshlight.gateway.control.qr import parse_deep_link
from meshlight.storage.paths import Paths


@click.command(
    epilog="""\b
Examples:
  meshlight link 'meshlight://add?kind=ollama&url=http://gpu.lan:11434'
  meshlight link --register

A link that adds says kind, url, name and access_key; one that pairs (`meshlight pair --link` makes it) host, port, id
and name; and never a secret. Put it in quotes: & means something to a shell."""
)
@click.argument("url", required=False, metavar="[URL]")
@click.option("--browser", is_flag=True, help="Open it in the browser instead of a window.")
@click.option("--print", "only_print", is_flag=True, help="Print the page's link instead of opening it.")
@click.option("--register", is_flag=True, help="Let this desktop open meshlight:// links with Meshlight.")
@click.option("--unregister", is_flag=True, help="Take that back.")
def link(*, url: str | None, browser: bool, only_print: bool, register: bool, unregister: bool) -> None:
    """Open the dialog that a meshlight:// link fills in: for a new backend, or for pairing another Meshlight.

    Nothing is added or paired until you have looked at it and said so.
    """
    if register or unregister:
        if url is not None or (register and unregister):
            raise BadRequest("--register and --unregister go with nothing else.", "Give one of them alone.")
        _switch(on=register)
        return
    if url is None:
        raise BadRequest(
            "No link was given.",
            "Write: meshlight link 'meshlight://add?kind=ollama&url=http://gpu.lan:11434'",
        )
    fragment = parse_deep_link(url).fragment
    if only_print:
        with connect_service() as client:
            click.echo(with_node(client.one_time_link(), fragment))
        return
    if browser or not has_screen():
        from meshlight.cli.window import open_in_browser  # noqa: PLC0415 -- not where there is a window

        open_in_browser(Paths.here(), fragment)
        return
    with connect_service():  # says what is wrong here, where somebody reads it
        pass
    if not signal_instance(Paths.here().state_dir, INSTANCE_SOCKET, fragment):
        start_detached(program("window", f"--node={fragment}"))
    click.echo("The dialog opens in the mesh window. If it doesn't: the same with --browser")


def _switch(*, on: bool) -> None:
    handler = link_handler_here(program("link", "--"))
    if handler is None:
        raise BadRequest(
            "Links can't be registered on this system yet.", "Follow one with: meshlight link 'meshlight://…'"
        )
    try:
        handler.switch(on=on)
    except OSError as error:
        raise MeshlightError(f"{error}.", "Make the folder writable for you.") from error
    click.echo("meshlight:// links open with Meshlight." if on else "meshlight:// links open no more.")
