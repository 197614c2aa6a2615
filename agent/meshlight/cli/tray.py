"""The command `meshlight tray`, which is also the default without a command: wires up the tray and runs it."""

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
from meshlight.desktop.system.clipboard import copy
from meshlight.desktop.system.instance_signal import ActivationListener, signal_instance
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.login import entry_here
from meshlight.desktop.system.opener import open_file
from meshlight.desktop.system.process import end_with_parent, program, start_detached
from meshlight.desktop.tray.app import TrayApp
from meshlight.desktop.tray.interface import OnAction, TrayIcon
from meshlight.desktop.tray.notifications import send_notification
from meshlight.desktop.tray.state import Preferences, TrayEnvironment
from meshlight.desktop.window.launcher import WindowLauncher
from meshlight.domain.errors import ServiceError
from meshlight.domain.text import write_error
from meshlight.storage.instance import AlreadyRunning, start_alone
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

INSTANCE_SOCKET = "tray"
ACTIVATE_TRIES = 300
ACTIVATE_PAUSE_S = 0.1
"""The first tray may still be starting: wait as long as that may take on a slow machine."""


class NoTrayIcon(Exception):
    """This desktop has no tray; the message says why."""


TrayFactory = Callable[[OnAction], TrayIcon]
"""Creates the icon for this desktop; raises NoTrayIcon."""


@click.command(
    epilog="""\b
Examples:
  meshlight
  meshlight tray --port 6400

If it already runs, this opens its window. To quit, use the icon's menu."""
)
@service_options
@click.option(
    "--patience", default=0.0, metavar="SECONDS", help="How long to wait for the desktop's panel. [0]"
)
@click.option("--quiet", is_flag=True, help="Without a tray: don't print a link or a welcome.")
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

    The icon shows the state of the mesh; its menu opens the mesh page, checks all backends and copies the settings
    for apps. Where there is no tray, the service runs in this terminal, as with `serve`.
    """
    arguments = [] if port is None else ["--port", str(port)]
    arguments += [] if config is None else ["--config", str(config.expanduser().absolute())]
    arguments += ["--insecure-storage"] if insecure_storage else []
    arguments += ["--no-discovery"] if no_discovery else []
    try:
        ctx.exit(run_tray(Paths.here(), arguments, lambda on_action: tray_icon(on_action, patience)))
    except NoTrayIcon as why:
        if not quiet and (link := link_of_running(Paths.here())):
            click.echo(f"{why} Meshlight already runs. This link opens it once, within a minute:", err=True)
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


def run_tray(
    paths: Paths, arguments: Sequence[str], make_icon: TrayFactory, *, opens_window: bool = False
) -> int:
    """Run the tray until the user quits, or open the window of the one that already runs; return the exit code.

    `arguments` are passed to the service; with `opens_window`, the first one opens its window too. Raises NoTrayIcon
    if there is no tray, and MeshlightError.
    """
    try:
        paths.prepare()
    except OSError as error:
        raise ServiceError(
            write_error(error), "Make the folder writable for you, or set MESHLIGHT_HOME to one that is."
        ) from error
    lock = start_alone(paths.state_dir / "tray.lock")
    if isinstance(lock, AlreadyRunning):
        return _activate_first(paths)
    with lock:
        tray = _assemble(make_icon, paths, arguments)
        _quit_on_signals(tray.quit)
        end_with_parent(tray.quit)
        if opens_window:
            tray.activate("")
        receiver = _receive_links()
        with ActivationListener(paths.state_dir, INSTANCE_SOCKET, tray.activate):
            lost_reason = tray.run()
        del receiver  # held until here
    if lost_reason:
        click.echo(lost_reason, err=True)
    return 1 if lost_reason else 0


def _receive_links(platform: str = sys.platform) -> object:
    """Open each link that is clicked while we run, as the desktop does by itself on other systems than macOS."""
    if platform != "darwin":
        return None
    from meshlight.cli.link import LINK_COMMAND  # noqa: PLC0415 -- not on other systems: it needs much memory
    from meshlight.desktop.system.macos_links import receive_links  # noqa: PLC0415

    return receive_links(lambda link: start_detached(program(*LINK_COMMAND, link, windowed=True)))


def _assemble(make_icon: TrayFactory, paths: Paths, arguments: Sequence[str]) -> TrayApp:
    def supervisor(on_change: Callable[[ServiceStatus], None]) -> Supervisor:
        return Supervisor(program("serve", "--quiet", *arguments), paths.runtime_file, on_change)

    def key() -> str:
        return LocalKey.open(paths.key_file).reveal()

    tray_environment = TrayEnvironment(
        runtime_file=paths.runtime_file,
        copy=copy,
        key=key,
        environment=lambda url: environment(url, key(), usual_shell()),
        free_port=_free_port_near,
        save_port=lambda port: _save_port(paths, port),
        show_log=lambda: open_file(paths.log_file),
        notify=send_notification,
        time_in=lambda seconds: time.strftime("%H:%M", time.localtime(time.time() + seconds)),
    )
    # A program that starts at login doesn't have this session's MESHLIGHT_HOME.
    at_login = None if os.environ.get("MESHLIGHT_HOME") else entry_here()
    return TrayApp(
        make_icon,
        supervisor,
        WindowLauncher(program("window", windowed=True), paths.state_dir),
        tray_environment,
        at_login,
        JsonFile(paths.state_dir / "tray.json", Preferences),
    )


def _free_port_near(port: int) -> int:
    near = range(port + 1, min(port + 20, 65535))
    return next((other for other in near if is_port_free(other)), 0) or free_port()


def _save_port(paths: Paths, port: int) -> None:
    # Imported here: the port is rarely taken, and the tray should use little memory.
    from meshlight.backends.kinds import ring_for  # noqa: PLC0415
    from meshlight.storage.config.file import ConfigFile  # noqa: PLC0415

    ConfigFile(paths.config_file, ring_for).set_value("port", port)


def _activate_first(paths: Paths) -> int:
    """Let the running tray open its window; return the exit code."""
    pause = threading.Event()
    for _ in range(ACTIVATE_TRIES):
        if signal_instance(paths.state_dir, INSTANCE_SOCKET):
            click.echo("Meshlight is already in the tray; its window opens.")
            return 0
        pause.wait(ACTIVATE_PAUSE_S)
    raise ServiceError(
        "Meshlight is already in the tray, but doesn't answer.", "End it, then start it again: meshlight"
    )


def link_of_running(paths: Paths) -> str:
    """Return a link that opens the page of this user's service, once; empty if none runs."""
    try:
        with ApiClient.connect(paths.runtime_file) as client:
            return client.one_time_link()
    except ServiceError:
        return ""


def tray_icon(on_action: OnAction, wait_s: float) -> TrayIcon:
    """Return the icon for this desktop, which may wait for its panel; raises NoTrayIcon."""
    from meshlight.desktop.tray.select import NoTrayHost, choose_tray  # noqa: PLC0415 -- not for a second start

    icon = choose_tray(on_action, wait_s=wait_s)
    if isinstance(icon, NoTrayHost):
        raise NoTrayIcon(icon.reason)
    return icon


def _quit_on_signals(quit_: Callable[[], None]) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        quit_()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, end)
