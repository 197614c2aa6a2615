"""The command `meshlight quit`, which ends everything of Meshlight that runs for this user."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import click

from meshlight.api_client.client import ApiClient
from meshlight.desktop.system.instance_signal import QUIT, signal_instance
from meshlight.desktop.system.systemd_unit import stop_unit
from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.storage.instance import AlreadyRunning, start_alone
from meshlight.storage.paths import Paths

POLL_S: Final = 0.1
WAIT_S: Final = 15.0
"""Running requests get 10 s to finish."""


@click.command(
    name="quit",
    epilog="""\b
Examples:
  meshlight quit
  meshlight quit --wait 60

Exit code: 0 if nothing runs any more, 1 if something still does.""",
)
@click.option(
    "--wait",
    is_flag=False,
    flag_value=WAIT_S,
    default=WAIT_S,
    show_default=True,
    metavar="[SECONDS]",
    help="How long to wait for the end.",
)
def quit_(*, wait: float) -> None:
    """End the tray, the window and the service.

    Running requests are finished first. Simulated backends of `meshlight demo` are not touched.
    """
    paths = Paths.here()
    paths.check()
    ended = end_all(paths, wait)
    click.echo(f"Ended: {', '.join(ended)}." if ended else "Meshlight does not run.")


def end_all(
    paths: Paths,
    wait_s: float = WAIT_S,
    *,
    stop_service_unit: Callable[[], None] = stop_unit,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """End what runs and return its names; raises MeshlightError for what still runs after `wait_s` seconds."""
    stop_service_unit()
    polls = max(int(wait_s / POLL_S), 1)
    ended = []
    # The tray first: it ends the service that it started, and would start again one that is ended by others.
    for name in ("tray", "window"):
        lock = paths.state_dir / f"{name}.lock"
        if not _is_running(lock):
            continue
        # Until it hears: one that has just started does not listen yet.
        ask = partial(signal_instance, paths.state_dir, name, QUIT)
        _wait_for_end(lock, name, polls, pause, ask)
        ended.append(name)
    if _is_running(paths.lock_file):
        with suppress(ServiceError), ApiClient.connect(paths.runtime_file) as client:
            os.kill(client.runtime.pid, signal.SIGTERM)
        _wait_for_end(paths.lock_file, "service", polls, pause)
        ended.append("service")
    return ended


def _is_running(lock_file: Path) -> bool:
    """Whether a program holds this lock."""
    if not lock_file.exists():
        return False
    lock = start_alone(lock_file)
    if isinstance(lock, AlreadyRunning):
        return True
    lock.release()
    return False


def _wait_for_end(
    lock_file: Path,
    name: str,
    polls: int,
    pause: Callable[[float], None],
    ask: Callable[[], bool] = lambda: True,
) -> None:
    has_heard = False
    for _ in range(polls):
        has_heard = has_heard or ask()
        if not _is_running(lock_file):
            return
        pause(POLL_S)
    raise MeshlightError(
        f"The {name} still runs.", "It may be finishing a request: try again, or with --wait 60."
    )
