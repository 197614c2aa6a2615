"""Whether the machine was quiet: what the processes that are not ours did meanwhile."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

TICKS = os.sysconf("SC_CLK_TCK")
BUSY_CORES = 0.1
"""Other processes that use more than this make a round worth little."""
TRIES = 3
Result = TypeVar("Result")


def other_work() -> dict[int, float]:
    """Return the CPU seconds of each process that this one did not start, directly or not (Linux)."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            pid = int(folder.name)
            parents[pid] = int(fields[1])
            spent[pid] = (int(fields[11]) + int(fields[12])) / TICKS
    return {pid: used for pid, used in spent.items() if not _is_ours(pid, parents)}


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    ours = os.getpid()
    while pid > 1:
        if pid == ours:
            return True
        pid = parents.get(pid, 0)
    return False


def quietly(measure: Callable[[], Result]) -> tuple[Result, bool]:
    """Measure, and again while something else runs on this machine; returns the last result and if it was quiet."""
    for tries_left in reversed(range(TRIES)):
        before, began = other_work(), time.monotonic()
        result = measure()
        after, took_s = other_work(), time.monotonic() - began
        cores = sum(used - before.get(pid, 0.0) for pid, used in after.items()) / took_s
        if cores <= BUSY_CORES or not tries_left:
            return result, cores <= BUSY_CORES
    raise AssertionError("unreachable")
