"""What a process has used, read from /proc (Linux)."""

import os
from pathlib import Path

from msgspec import Struct

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Used(Struct, frozen=True):
    """CPU seconds (user + system), voluntary wake-ups and resident bytes of a process with its threads."""

    cpu_s: float
    wakeups: int
    rss: int

    def since(self, earlier: "Used") -> "Used":
        return Used(self.cpu_s - earlier.cpu_s, self.wakeups - earlier.wakeups, self.rss)


def used(*pids: int) -> Used:
    """Read what these processes have used so far. schedstat counts nanoseconds where stat counts hundredths."""
    cpu_s, wakeups, rss = 0.0, 0, 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                cpu_s += int((task / "schedstat").read_text().split()[0]) / 1e9
                status = (task / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            wakeups += int(status.split("voluntary_ctxt_switches:")[1].split()[0])
        rss += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Used(cpu_s, wakeups, rss)
