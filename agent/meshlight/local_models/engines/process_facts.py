"""What the system says of a process: when it began, its memory, the port it listens on."""

import sys
from pathlib import Path
from typing import Final, Protocol

_START_TIME: Final = 19
"""Of the fields of /proc/PID/stat after the name (proc_pid_stat(5), field 22)."""


def start_mark(pid: int) -> str:
    """Return what tells a process from a later one of the same number; empty if there is none.

    On Linux it is exact (boot and clock tick), and no change of the clock moves it.
    """
    if sys.platform != "linux":
        import psutil  # noqa: PLC0415 - see `process_family`

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
