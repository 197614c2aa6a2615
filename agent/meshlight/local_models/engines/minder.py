"""Runs an engine that dies with the service, even if that is killed: a program of its own, for any Unix.

`python -I -S minder.py PROGRAM ARGUMENTS...` starts the engine in a process group of its own and waits. Its standard
input is a pipe that the service holds open: when it ends, the group gets SIGTERM, and SIGKILL half a second later; a
byte on it means SIGKILL at once. SIGTERM is passed on. When the engine has ended, what is left of its group is
killed, and the minder ends in the same way. Imports nothing of ours: it has to be quick.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

CANNOT_RUN = 126
"""The exit code for a program that can't be run, as in a shell."""
GRACE_S = 0.5
"""From SIGTERM to SIGKILL when the service has gone."""


def main(argv: Sequence[str], stdin: int = 0) -> int:
    """Run the program `argv`; returns its exit code, negative for a signal."""
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pids: list[int] = []

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        for pid in pids:
            _signal_group(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    try:
        engine = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    except OSError as error:
        print(f"cannot run {os.path.basename(argv[0])}: {error.strerror}", file=sys.stderr)  # noqa: PTH119, T201
        return CANNOT_RUN
    pids.append(engine.pid)
    watched = [stdin, awake]
    kill_at: float | None = None
    while not _has_ended(engine.pid):
        wait_s = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select(watched, [], [], wait_s)
        if awake in ready:
            os.read(awake, 512)
        if stdin in ready:
            watched.remove(stdin)
            if os.read(stdin, 1):
                kill_at = time.monotonic()
            else:
                _signal_group(engine.pid, signal.SIGTERM)
                kill_at = time.monotonic() + GRACE_S
        if kill_at is not None and time.monotonic() >= kill_at:
            _signal_group(engine.pid, signal.SIGKILL)
            kill_at = None
    # Before the engine is waited for: until then its number can't be another group's.
    _signal_group(engine.pid, signal.SIGKILL)
    return engine.wait()


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end_as(code: int) -> None:
    """End this process as the engine did."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    end_as(main(sys.argv[1:]))
