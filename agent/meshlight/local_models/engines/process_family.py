"""A process and its children by psutil; imported once an engine runs, since psutil takes half a MiB."""

from contextlib import suppress
from typing import Final

import psutil

from meshlight.local_models.engines.process_facts import start_mark

END_TIMEOUT_S: Final = 3.0
"""Seconds that killed processes get to go."""


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
