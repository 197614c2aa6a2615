"""Connects the commands to the service, and starts it where it does not run.

One rule for all that need it: at a terminal they ask first, and those with which somebody begins (`open`, `chat`, …)
start it at once; where nobody can be asked, only `--start` does.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from meshlight.api_client.client import ApiClient
from meshlight.cli.output.console import new_console
from meshlight.cli.service_client import connect_service
from meshlight.desktop.system.process import program, start_detached
from meshlight.desktop.system.screen import has_screen
from meshlight.domain.errors import NotRunning, ServiceError
from meshlight.domain.text import write_error
from meshlight.storage.paths import Paths

START_S: Final = 20.0
POLL_S: Final = 0.1
_START: Final = "meshlight.start"
"""Where click's context has it that `--start` was given, to a command or to its group."""
F = TypeVar("F", bound=Callable[..., Any])


def _keep_start(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        ctx.meta[_START] = True


def start_option(command: F) -> F:
    """Add `--start` to a command that calls `connect_or_start`, which finds it by itself."""
    return click.option(
        "--start",
        is_flag=True,
        expose_value=False,
        callback=_keep_start,
        help="Start Meshlight first, if it does not run.",
    )(command)


def connect_or_start(*, asks: bool = True) -> ApiClient:
    """Return a client of this user's service; where it does not run, start it, and say so.

    At a terminal it is started after a question, or at once if `asks` is false; elsewhere only with `--start`.
    Raises ServiceError if it was not started, and where starting it would mend nothing: it hangs, another program has
    its port, or its folder is not safe.
    """
    paths = Paths.here()
    try:
        return connect_service()
    except NotRunning as error:
        if not click.get_current_context().meta.get(_START):
            if not sys.stdin.isatty():
                raise ServiceError(error.title, "Start it with: meshlight. Or add --start here.") from error
            if asks:
                click.echo(error.title, err=True)
                if not click.confirm("Start it now?", default=True, err=True):
                    raise ServiceError("It was not started.", "Start it with: meshlight") from error
    start_service(paths, program("tray", "--quiet"))
    icon = " Its icon is in the tray." if has_screen() else ""
    click.echo(
        f"Meshlight was not running. It is started, in the background.{icon} End it with: meshlight quit",
        err=True,
    )
    client = connect_service()
    with new_console(stderr=True).status("Looking for engines on this machine"):
        client.refresh_now()
    return client


def start_service(paths: Paths, command: Sequence[str] | None = None) -> None:
    """Start the service in the background if it doesn't run; raises ServiceError if it does not answer in time.

    `command` may start it together with the tray; by default it is started alone.
    """
    try:
        ApiClient.connect(paths.runtime_file).close()
    except ServiceError:
        try:
            paths.prepare()
        except OSError as error:  # which the service could say to nobody
            raise ServiceError(
                write_error(error), "Make the folder writable for you, or set MESHLIGHT_HOME to one that is."
            ) from error
        start_detached(command or program("serve", "--quiet"))
    else:
        return
    pause = threading.Event()
    for _ in range(int(START_S / POLL_S)):
        pause.wait(POLL_S)
        try:
            ApiClient.connect(paths.runtime_file).close()
        except ServiceError:
            continue
        return
    raise ServiceError("The service did not start.", "See why with: meshlight serve")
