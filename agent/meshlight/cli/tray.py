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

from meshlight.desktop.autostart import autostart_here
from meshlight.desktop.bell import Bell, ring
from meshlight.desktop.client import LocalService
from meshlight.desktop.clipboard import copy
from meshlight.desktop.desk import Desk
from meshlight.desktop.face import OnAction, TrayFace
from meshlight.desktop.notice import send
from meshlight.desktop.opener import open_file
from meshlight.desktop.parent import end_with_parent
from meshlight.desktop.preferences import Preferences
from meshlight.desktop.program import program
from meshlight.desktop.small_file import SmallFile
from meshlight.desktop.standing import Standing
from meshlight.desktop.supervisor import Supervisor
from meshlight.desktop.tray import Tray
from meshlight.desktop.window_keeper import WindowKeeper
from meshlight.domain.errors import ServiceError
from meshlight.store.key import LocalKey
from meshlight.store.lock import AlreadyRunning, start_alone
from meshlight.store.places import Places
from meshlight.words.access import environment, usual_shell
from meshlight.words.port import free_port, is_free
from meshlight.words.service_options import service_options

BELL = "tray"
LOGIN_S = 30
"""For so long the icon waits for the panel of a desktop that has just begun."""
RING_TRIES = 300
RING_PAUSE_S = 0.1
"""The first tray may be starting still: it is waited for as long as a start may take on a slow machine."""


class NoFace(Exception):
    """There is no tray to show an icon in; the text says why."""


MakeFace = Callable[[OnAction], TrayFace]
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
        ctx.exit(show(Places.here(), words, lambda on_action: _face(on_action, patience)))
    except NoFace as why:
        if not quiet and (link := _link_of_running(Places.here())):
            click.echo(f"{why} Meshlight runs already; this link opens it once, within a minute:", err=True)
            click.echo(link)
            ctx.exit(0)
        if not quiet:
            click.echo(f"{why} Meshlight runs in this terminal instead.", err=True)
    from meshlight.words.serve import serve  # noqa: PLC0415 -- only where there is no tray

    ctx.invoke(
        serve,
        port=port,
        config=config,
        insecure_storage=insecure_storage,
        no_discovery=no_discovery,
        log_level="info",
        quiet=quiet,
    )


def show(places: Places, words: Sequence[str], make_face: MakeFace) -> int:
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
        return _wake_first(places)
    with lock:
        tray = _assemble(make_face, places, words)
        _quit_on_signals(tray.quit)
        end_with_parent(tray.quit)
        with Bell(places.state_dir, BELL, tray.rung):
            lost = tray.run()
    if lost:
        click.echo(lost, err=True)
    return 1 if lost else 0


def _assemble(make_face: MakeFace, places: Places, words: Sequence[str]) -> Tray:
    def supervisor(on_change: Callable[[Standing], None]) -> Supervisor:
        return Supervisor(program("serve", "--quiet", *words), places.runtime_file, on_change)

    def key() -> str:
        return LocalKey.open(places.key_file).reveal()

    desk = Desk(
        runtime_file=places.runtime_file,
        copy=copy,
        key=key,
        environment=lambda url: environment(url, key(), usual_shell()),
        free_port=_free_near,
        keep_port=lambda port: _keep_port(places, port),
        show_log=lambda: open_file(places.log_file),
        notify=send,
        time_in=lambda seconds: time.strftime("%H:%M", time.localtime(time.time() + seconds)),
    )
    # What starts at login knows nothing of a folder that a variable of this session names.
    at_login = (
        None if os.environ.get("MESHLIGHT_HOME") else program("tray", "--patience", str(LOGIN_S), *words)
    )
    return Tray(
        make_face,
        supervisor,
        WindowKeeper(program("window"), places.state_dir),
        desk,
        None if at_login is None else autostart_here(at_login),
        SmallFile(places.state_dir / "tray.json", Preferences),
    )


def _free_near(port: int) -> int:
    near = range(port + 1, min(port + 20, 65535))
    return next((other for other in near if is_free(other)), 0) or free_port()


def _keep_port(places: Places, port: int) -> None:
    # Loaded here: nobody's port is taken on most days, and the tray should stay small.
    from meshlight.backends.kinds import ring_for  # noqa: PLC0415
    from meshlight.store.config import ConfigFile  # noqa: PLC0415

    ConfigFile(places.config_file, ring_for).set_value("port", port)


def _wake_first(places: Places) -> int:
    """Have the tray that runs open its window; return the exit code."""
    pause = threading.Event()
    for _ in range(RING_TRIES):
        if ring(places.state_dir, BELL):
            click.echo("Meshlight is in the tray already; its window opens.")
            return 0
        pause.wait(RING_PAUSE_S)
    raise ServiceError(
        "Meshlight is in the tray already, and doesn't answer.", "End it, then start it again: meshlight"
    )


def _link_of_running(places: Places) -> str:
    try:
        with LocalService.connect(places.runtime_file) as service:
            return service.one_time_link()
    except ServiceError:
        return ""


def _face(on_action: OnAction, patience_s: float) -> TrayFace:
    from meshlight.desktop.faces import NoTray, choose  # noqa: PLC0415 -- only once this is the first tray

    found = choose(on_action, patience_s=patience_s)
    if isinstance(found, NoTray):
        raise NoFace(found.reason)
    return found


def _quit_on_signals(quit_: Callable[[], None]) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        quit_()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, end)
