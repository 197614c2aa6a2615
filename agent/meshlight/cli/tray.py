"""The word that shows the icon in the tray, which is also what `meshlight` does without a word."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click

from meshlight.api_client.client import ApiClient
from meshlight.cli.env import environment, usual_shell
from meshlight.cli.ports import free_port, is_port_free
from meshlight.cli.service_options import service_options
from meshlight.desktop.supervisor import ServiceStatus, Supervisor
from meshlight.desktop.system.autostart import autostart_here
from meshlight.desktop.system.clipboard import copy
from meshlight.desktop.system.instance_signal import ActivationListener, signal_instance
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.opener import open_file
from meshlight.desktop.system.process import end_with_parent, program
from meshlight.desktop.tray.app import TrayApp
from meshlight.desktop.tray.notifications import send_notification
from meshlight.desktop.tray.state import Preferences, TrayEnvironment
from meshlight.desktop.tray.tray_icon import OnAction, TrayIcon
from meshlight.desktop.window.launcher import WindowLauncher
from meshlight.domain.errors import ServiceError
from meshlight.storage.instance import AlreadyRunning, start_alone
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

INSTANCE_SOCKET = "tray"
LOGIN_S = 30
"""For so long the icon waits for the panel of a desktop that has just begun."""
RING_TRIES = 300
RING_PAUSE_S = 0.1
"""The first tray may be starting still: it is waited for as long as a start may take on a slow machine."""


class NoTrayIcon(Exception):
    """There is no tray to show an icon in; the text says why."""


TrayFactory = Callable[[OnAction], TrayIcon]
"""Makes the icon for this desktop; raises NoFace."""


@click.command(
    epilog="""\b
Examples:
  meshlight
  meshlight tray --port 6400

A second one opens the window of the first. Quit is in the icon's menu."""
)
@service_options
@click.option("--patience", default=0.0, metavar="SECONDS", help="Wait so long for the desktop's panel. [0]")
@click.option("--quiet", is_flag=True, help="Where there is no tray, print no link and no welcome.")
@click.pass_context
def tray(
    ctx: click.Context,
    *,
    port: int | None,
    config: Path | None,
    insecure_storage: bool,
    no_discovery: bool,
    patience: float,
    quiet: bool,
) -> None:
    """Show the icon in the tray, and keep the service running.

    The icon says how the mesh is doing; its menu opens the mesh, checks all backends and copies what apps need.
    Where there is no tray, the service runs in this terminal, as with `serve`.
    """
    words = [] if port is None else ["--port", str(port)]
    words += [] if config is None else ["--config", str(config.expanduser().absolute())]
    words += ["--insecure-storage"] if insecure_storage else []
    words += ["--no-discovery"] if no_discovery else []
    try:
        ctx.exit(show(Paths.here(), words, lambda on_action: _tray_icon(on_action, patience)))
    except NoTrayIcon as why:
        if not quiet and (link := _link_of_running(Paths.here())):
            click.echo(f"{why} Meshlight runs already; this link opens it once, within a minute:", err=True)
            click.echo(link)
            ctx.exit(0)
        if not quiet:
            click.echo(f"{why} Meshlight runs in this terminal instead.", err=True)
    from meshlight.cli.serve import serve  # noqa: PLC0415 -- only where there is no tray

    ctx.invoke(
        serve,
        port=port,
        config=config,
        insecure_storage=insecure_storage,
        no_discovery=no_discovery,
        log_level="info",
        quiet=quiet,
    )


def show(places: Paths, words: Sequence[str], make_face: TrayFactory) -> int:
    """Show the tray until it is quit, or open the window of the one that is there; return the exit code.

    `words` go to the service. Raises NoFace where there is no tray, and MeshlightError.
    """
    try:
        places.prepare()
    except OSError as error:
        raise ServiceError(
            f"{error}.", "Make the folder writable for you, or set MESHLIGHT_HOME to one that is."
        ) from error
    lock = start_alone(places.state_dir / "tray.lock")
    if isinstance(lock, AlreadyRunning):
        return _activate_first(places)
    with lock:
        tray = _assemble(make_face, places, words)
        _quit_on_signals(tray.quit)
        end_with_parent(tray.quit)
        with ActivationListener(places.state_dir, INSTANCE_SOCKET, tray.rung):
            lost = tray.run()
    if lost:
        click.echo(lost, err=True)
    return 1 if lost else 0


def _assemble(make_face: TrayFactory, places: Paths, words: Sequence[str]) -> TrayApp:
    def supervisor(on_change: Callable[[ServiceStatus], None]) -> Supervisor:
        return Supervisor(program("serve", "--quiet", *words), places.runtime_file, on_change)

    def key() -> str:
        return LocalKey.open(places.key_file).reveal()

    desk = TrayEnvironment(
        runtime_file=places.runtime_file,
        copy=copy,
        key=key,
        environment=lambda url: environment(url, key(), usual_shell()),
        free_port=_free_near,
        keep_port=lambda port: _keep_port(places, port),
        show_log=lambda: open_file(places.log_file),
        notify=send_notification,
        time_in=lambda seconds: time.strftime("%H:%M", time.localtime(time.time() + seconds)),
    )
    # What starts at login knows nothing of a folder that a variable of this session names.
    at_login = (
        None if os.environ.get("MESHLIGHT_HOME") else program("tray", "--patience", str(LOGIN_S), *words)
    )
    return TrayApp(
        make_face,
        supervisor,
        WindowLauncher(program("window"), places.state_dir),
        desk,
        None if at_login is None else autostart_here(at_login),
        JsonFile(places.state_dir / "tray.json", Preferences),
    )


def _free_near(port: int) -> int:
    near = range(port + 1, min(port + 20, 65535))
    return next((other for other in near if is_port_free(other)), 0) or free_port()


def _keep_port(places: Paths, port: int) -> None:
    # Loaded here: nobody's port is taken on most days, and the tray should stay small.
    from meshlight.backends.kinds import ring_for  # noqa: PLC0415
    from meshlight.storage.config.file import ConfigFile  # noqa: PLC0415

    ConfigFile(places.config_file, ring_for).set_value("port", port)


def _activate_first(places: Paths) -> int:
    """Have the tray that runs open its window; return the exit code."""
    pause = threading.Event()
    for _ in range(RING_TRIES):
        if signal_instance(places.state_dir, INSTANCE_SOCKET):
            click.echo("Meshlight is in the tray already; its window opens.")
            return 0
        pause.wait(RING_PAUSE_S)
    raise ServiceError(
        "Meshlight is in the tray already, and doesn't answer.", "End it, then start it again: meshlight"
    )


def _link_of_running(places: Paths) -> str:
    try:
        with ApiClient.connect(places.runtime_file) as service:
            return service.one_time_link()
    except ServiceError:
        return ""


def _tray_icon(on_action: OnAction, patience_s: float) -> TrayIcon:
    from meshlight.desktop.tray.select import NoTrayHost, choose_tray  # noqa: PLC0415 -- only once this is the first tray

    found = choose_tray(on_action, patience_s=patience_s)
    if isinstance(found, NoTrayHost):
        raise NoTrayIcon(found.reason)
    return found


def _quit_on_signals(quit_: Callable[[], None]) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        quit_()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, end)
