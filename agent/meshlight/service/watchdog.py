"""Watches over the event loop: when it hangs, the log shows where, and the process does not outlive its parent.

A loop that hangs can't be asked to stop. So its threads are the ones that act, and none of them takes a lock that
the hanging one may hold (logging has one).
"""

import asyncio
import faulthandler
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

BEAT_S: Final = 2.0
"""Between two questions whether the loop runs."""
SILENT_BEATS: Final = 5
"""Questions without an answer after which the loop is said to hang. Beats are counted, not seconds: a machine that
slept has missed one at most."""
STUCK_S: Final = 25.0
"""After which the stack is written by a thread that needs no turn of Python's: some hangs let no other have one."""
GRACE_S: Final = 3.0
"""How long a loop may take to answer when the process has to end."""
FAILED: Final = 1


def answers(loop: asyncio.AbstractEventLoop, within_s: float) -> bool:
    """Whether the loop runs: it does what it is asked within so many seconds. Call it from another thread."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:  # it is closed
        return False
    return answered.wait(within_s)


def end_with(
    loop: asyncio.AbstractEventLoop,
    stop: Callable[[], None],
    log_file: Path,
    leave: Callable[[int], None] = os._exit,
    *,
    grace_s: float = GRACE_S,
) -> None:
    """Have the loop stop in good order; end the process for as soon as it does not answer for `grace_s` seconds.

    Called from a thread that ends with the process.
    """
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop)
    while answers(loop, grace_s):
        time.sleep(grace_s / 3)
    if loop.is_closed():
        time.sleep(grace_s)  # Python is at its end as well, unless a thread holds it up
    _write_stacks(log_file, "The event loop hangs, and what started Meshlight has ended: so does Meshlight.")
    leave(FAILED)


class Watchdog:
    """Asks the loop every `beat_s` seconds whether it runs, and writes to the log where it hangs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log_file: Path, *, beat_s: float = BEAT_S) -> None:
        self._loop = loop
        self._log_file = log_file
        self._beat_s = beat_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it; returns when nothing will be written any more."""
        self._stopped.set()
        self._thread.join(self._beat_s)

    def _watch(self) -> None:
        silent = 0
        try:
            while not self._stopped.wait(self._beat_s):
                with self._log_file.open("a", encoding="utf-8") as log:
                    faulthandler.dump_traceback_later(STUCK_S, file=log)
                    silent = 0 if answers(self._loop, self._beat_s) else silent + 1
                    faulthandler.cancel_dump_traceback_later()
                if silent == SILENT_BEATS:
                    _write_stacks(self._log_file, "The event loop hangs. What runs now:")
        except OSError:
            return  # there is nowhere to write to


def _write_stacks(log_file: Path, why: str) -> None:
    """Write what each thread does: files and lines of the program, and nothing that it works on."""
    with suppress(OSError), log_file.open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} ERROR meshlight: {why}\n")
        log.flush()
        faulthandler.dump_traceback(log)
