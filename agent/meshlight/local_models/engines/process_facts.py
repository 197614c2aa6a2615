"""What the system says of a process: when it began, its memory, the port it listens on."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import psutil

_START_TIME: Final = 19
"""Of the fields of /proc/PID/stat after the name (proc_pid_stat(5), field 22)."""
END_TIMEOUT_S: Final = 3.0
"""Seconds that killed processes get to go."""


def start_mark(pid: int) -> str:
    """Return what tells a process from a later one of the same number; empty if there is none.

    On Linux it is exact (boot and clock tick), and no change of the clock moves it.
    """
    if sys.platform != "linux":
        try:
            return f"{psutil.Process(pid).create_time():.3f}"
        except psutil.Error:
            return ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(errors="replace").strip()
    except OSError:
        return ""
    return f"{boot}:{fields[_START_TIME]}" if len(fields) > _START_TIME and fields[0] != "Z" else ""


class Family(Protocol):
    """A process, and those that it has started."""

    def look(self) -> None:
        """Find the children, which takes milliseconds."""

    def resident_bytes(self) -> int:
        """Return the memory of them all; 0 if it can't be read."""

    def listens_on(self, port: int) -> bool | None:
        """Whether one of them listens on a TCP port; None if the system does not tell."""


class RealFamily:
    """See `Family`."""

    def __init__(self, pid: int) -> None:
        self._all: list[psutil.Process] = []
        with suppress(psutil.Error):
            self._all.append(psutil.Process(pid))

    def look(self) -> None:
        """See `Family`."""
        if self._all:
            with suppress(psutil.Error):
                self._all[1:] = self._all[0].children(recursive=True)

    def resident_bytes(self) -> int:
        """See `Family`."""
        total = 0
        for process in self._all:
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def listens_on(self, port: int) -> bool | None:
        """See `Family`."""
        for process in self._all:
            try:
                connections = process.net_connections(kind="tcp")
            except psutil.NoSuchProcess:
                continue
            except (psutil.Error, OSError):
                return None
            if any(c.status == psutil.CONN_LISTEN and c.laddr[1:2] == (port,) for c in connections):
                return True
        return False


def end_family(pid: int, mark: str) -> bool:
    """Kill a process and what it started, if it is the one of this mark; returns whether one was killed. It waits."""
    try:
        first = psutil.Process(pid)
    except (psutil.Error, ValueError):
        return False
    # After `first` was made: from here on psutil checks that the number is still the same process's.
    if not mark or start_mark(pid) != mark:
        return False
    family = [first]
    with suppress(psutil.Error):
        family += first.children(recursive=True)
    for process in family:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(family, timeout=END_TIMEOUT_S)
    return True
