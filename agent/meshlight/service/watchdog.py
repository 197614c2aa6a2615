"""Detects an event loop that hangs: the log then shows where, and the process still ends with its parent.

A loop that hangs can't stop itself, so threads do the work here. They take no lock that the loop's thread may hold;
logging has one, so they write to the log file directly.
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

BEAT_S: Final = 10.0
"""How often the loop is checked; each check wakes two threads of a machine that may be idle."""
MISSED_BEATS: Final = 2
"""Checks in a row that the loop has not answered by the next one before it counts as hanging. Checks are counted, not
seconds: a machine that slept has missed one at most."""
STUCK_S: Final = 25.0
"""After this long without a check, faulthandler's own thread writes the stacks: it needs no GIL, and a check does. On
Linux alone: elsewhere its clock runs on while the machine sleeps, or an open log can't be renamed."""
GRACE_S: Final = 3.0
"""How long the loop may be silent when the process has to end."""
FAILED: Final = 1


def answers(loop: asyncio.AbstractEventLoop, within_s: float) -> bool:
    """Whether the loop runs a callback within so many seconds. Call it from another thread."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:  # the loop is closed
        return False
    return answered.wait(within_s)


def end_with(
    loop: asyncio.AbstractEventLoop,
    stop: Callable[[], None],
    log_file: Path,
    exit_process: Callable[[int], None] = os._exit,
    *,
    grace_s: float = GRACE_S,
) -> None:
    """Call `stop` in the loop, and end the process at once if the loop does not respond for `grace_s` seconds.

    Call it from a daemon thread.
    """
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop)
    while answers(loop, grace_s):
        time.sleep(grace_s / 3)
    if loop.is_closed():
        time.sleep(grace_s)  # the interpreter exits meanwhile, unless a thread holds it up
    _write_stacks(log_file, "The event loop hangs, and what started Meshlight has ended: so does Meshlight.")
    exit_process(FAILED)


class Watchdog:
    """Checks every `beat_s` seconds that the loop runs, and logs the stacks when it hangs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log_file: Path,
        *,
        beat_s: float = BEAT_S,
        stuck_s: float = STUCK_S,
    ) -> None:
        self._loop = loop
        self._log_file = log_file
        self._beat_s = beat_s
        self._stuck_s = stuck_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start checking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; nothing is written after it returns."""
        self._stopped.set()
        self._thread.join(self._beat_s)

    def _watch(self) -> None:
        with ExitStack() as log:
            try:
                self._arm(log)
                self._check(log)
            finally:
                faulthandler.cancel_dump_traceback_later()  # before its log is closed

    def _arm(self, log: ExitStack) -> None:
        """Have the stacks written unless this is called again in time; at no moment is nothing armed."""
        if sys.platform == "linux":
            with suppress(OSError):
                new = self._log_file.open("a", encoding="utf-8")  # the log may have been renamed
                faulthandler.dump_traceback_later(self._stuck_s, file=new)  # in place of the last one
                log.close()
                log.callback(new.close)

    def _check(self, log: ExitStack) -> None:
        missed = 0
        answered = threading.Event()
        answered.set()
        while not self._stopped.wait(self._beat_s):
            self._arm(log)
            if answered.is_set():
                missed = 0
                answered.clear()
                try:
                    self._loop.call_soon_threadsafe(answered.set)
                except RuntimeError:  # the loop is closed
                    return
            else:
                missed += 1
            if missed == MISSED_BEATS:
                _write_stacks(self._log_file, "The event loop hangs. What runs now:")


def _write_stacks(log_file: Path, why: str) -> None:
    """Write the stack of each thread: files and lines of the program, no data."""
    with suppress(OSError), log_file.open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} ERROR meshlight: {why}\n")
        log.flush()
        faulthandler.dump_traceback(log)
