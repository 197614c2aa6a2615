"""The word that shows the mesh in a window of its own; the tray starts it, and a person may."""

import os
import threading

import click

from meshlight.desktop.bell import ring
from meshlight.desktop.client import LocalService
from meshlight.desktop.opener import open_page
from meshlight.desktop.parent import end_with_parent
from meshlight.desktop.program import hear_key
from meshlight.desktop.small_file import SmallFile
from meshlight.desktop.window import MeshWindow, Place, fragment_for, with_node
from meshlight.desktop.window_keeper import BELL
from meshlight.domain.errors import NoWindow, ServiceError
from meshlight.store.lock import AlreadyRunning, start_alone
from meshlight.store.places import Places

RING_TRIES = 200
RING_PAUSE_S = 0.1
LEAVE_S = 2.0


@click.command(
    epilog="""\b
Examples:
  meshlight window
  meshlight window --node ollama

A second one brings the first to the front."""
)
@click.option("--node", default="", metavar="ID", help="Choose this backend in the picture.")
def window(*, node: str) -> None:
    """Show the mesh in a window.

    Where this machine has nothing to show a window with, the page opens in the browser.
    """
    hear_key()
    places = Places.here()
    places.check()
    lock = start_alone(places.state_dir / "window.lock")
    if isinstance(lock, AlreadyRunning):
        _raise_other(places, node)
        return
    with lock:
        shown = MeshWindow(
            places.runtime_file, places.state_dir, SmallFile(places.state_dir / "window.json", Place)
        )
        end_with_parent(shown.close)
        try:
            shown.run(node)
        except NoWindow as error:
            open_in_browser(places, node, why=error)
    # A handler of the web view may wait for an answer that the closed window can't give any more.
    leave = threading.Timer(LEAVE_S, os._exit, (0,))
    leave.daemon = True
    leave.start()


def open_in_browser(places: Places, node: str = "", why: ServiceError | None = None) -> None:
    """Open the page in the browser, or print its link where there is none."""
    places.check()
    with LocalService.connect(places.runtime_file) as service:
        if why is not None:
            click.echo(f"{why.title} {why.hint}", err=True)
        if open_page(service, fragment_for(node)):
            click.echo("The mesh page opens in your browser. If it doesn't: meshlight open --print")
            return
        link = with_node(service.one_time_link(), node)
    click.echo("No browser to open here. Open this link within a minute:", err=True)
    click.echo(link)


def _raise_other(places: Places, node: str) -> None:
    """Bring the window that is open to the front; it may be opening still."""
    pause = threading.Event()
    for _ in range(RING_TRIES):
        if ring(places.state_dir, BELL, node):
            click.echo("The mesh window comes to the front.")
            return
        pause.wait(RING_PAUSE_S)
    raise ServiceError("The mesh window is open and doesn't answer.", "Close it and try again.")
