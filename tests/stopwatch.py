"""Measures how long programs took for something, without what a busy machine adds to that."""

import os
import time
from pathlib import Path


class Stopwatch:
    """Counts the seconds since its start in which this process and those that it follows had the machine's time.

    While a thread of theirs waits for a processor, others have it, so those seconds are left out: the sum over all
    threads, which may be more than was lost. Only Linux tells them; elsewhere all seconds count. A quiet machine
    makes no difference. `pids` are processes to follow, `ran_since` when it started if that was earlier (monotonic).
    """

    def __init__(self, *pids: int, ran_since: float | None = None) -> None:
        self._began = time.monotonic() if ran_since is None else ran_since
        self._before = {pid: _waited_s(pid) for pid in (os.getpid(), *pids)}

    def follow(self, *pids: int) -> None:
        """Follow processes that were started later than this."""
        self._before.update(dict.fromkeys(pids, 0.0))

    @property
    def elapsed_s(self) -> float:
        """The seconds until now; processes that have ended are left out."""
        waited_s = sum(max(_waited_s(pid) - before_s, 0.0) for pid, before_s in self._before.items())
        return time.monotonic() - self._began - waited_s


def _waited_s(pid: int) -> float:
    """Return how long the threads of a process have waited for a processor, in seconds; 0 if nobody says."""
    waited_ns = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            waited_ns += int(file.read_text().split()[1])
        except OSError:  # the thread has ended
            continue
    return waited_ns / 1e9
