"""The command `meshlight window`, which shows the mesh page in a window; the tray starts it, and a user may."""

import os
import threading

import click

from meshlight.api_client.client import ApiClient
from meshlight.cli.start import connect_or_start, start_option
from meshlight.desktop.system.instance_signal import signal_instance
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.opener import open_page
from meshlight.desktop.system.process import end_with_parent, receive_key
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.desktop.window.window import MeshWindow, WindowGeometry, fragment_for, with_node
from meshlight.domain.errors import NoWindow, ServiceError
from meshlight.storage.instance import AlreadyRunning, start_alone
from meshlight.storage.paths import Paths

ACTIVATE_TRIES = 200
ACTIVATE_PAUSE_S = 0.1
EXIT_DELAY_S = 2.0


@click.command(
    epilog="""\b
Examples:
  meshlight window
  meshlight window --node ollama

If a window is already open, this brings it to the front."""
)
@click.option("--node", default="", metavar="ID", help="Select this backend on the page.")
@start_option
def window(*, node: str) -> None:
    """Show the mesh page in a window.

    If this machine can't show a window, the page opens in the browser.
    """
    receive_key()
    paths = Paths.here()
    paths.check()
    connect_or_start(asks=False).close()  # else nothing is made here: it may have been uninstalled just now
    lock = start_alone(paths.state_dir / "window.lock")
    if isinstance(lock, AlreadyRunning):
        _activate_open_window(paths, node)
        return
    with lock:
        mesh_window = MeshWindow(
            paths.runtime_file, paths.state_dir, JsonFile(paths.state_dir / "window.json", WindowGeometry)
        )
        end_with_parent(mesh_window.close)
        try:
            mesh_window.run(node)
        except NoWindow as error:
            open_in_browser(paths, node, why=error)
    # A handler of the web view may still wait for an answer that the closed window can't give.
    leave = threading.Timer(EXIT_DELAY_S, os._exit, (0,))
    leave.daemon = True
    leave.start()


def open_in_browser(paths: Paths, node: str = "", why: ServiceError | None = None) -> None:
    """Open the page in the browser, or print its link if there is none."""
    paths.check()
    with ApiClient.connect(paths.runtime_file) as client:
        if why is not None:
            click.echo(f"{why.title} {why.hint}", err=True)
        if open_page(client, fragment_for(node)):
            click.echo("The mesh page opens in your browser. If it doesn't: meshlight open --print")
            return
        link = with_node(client.one_time_link(), node)
    click.echo("No browser can be shown here. Open this link in one, within a minute:", err=True)
    click.echo(link)


def _activate_open_window(paths: Paths, node: str) -> None:
    """Bring the open window to the front; it may still be starting."""
    pause = threading.Event()
    for _ in range(ACTIVATE_TRIES):
        if signal_instance(paths.state_dir, INSTANCE_SOCKET, node):
            click.echo("The mesh window comes to the front.")
            return
        pause.wait(ACTIVATE_PAUSE_S)
    raise ServiceError("The mesh window is open, but doesn't answer.", "Close it and try again.")
