"""How much memory this machine has and what its engines hold of it."""

import platform
import sys
from pathlib import Path
from typing import Protocol

from meshlight.domain.local_memory import MemoryNow
from meshlight.domain.local_models import LocalModel

MEMINFO = Path("/proc/meminfo")


class MemoryProbe(Protocol):
    """Where the numbers of the machine's memory come from."""

    @property
    def is_apple(self) -> bool:
        """Whether graphics and programs share one memory, of which graphics may use a part (Apple silicon)."""

    @property
    def maps_stay_available(self) -> bool:
        """Whether pages that are mapped from a file count as available, since the system can drop them."""

    def read(self) -> MemoryNow:
        """Return the memory now; quick."""


class SystemMemory:
    """The memory as the system tells it."""

    def __init__(
        self, system: str = sys.platform, machine: str = platform.machine(), meminfo: Path = MEMINFO
    ) -> None:
        self._meminfo = meminfo
        self.is_apple = system == "darwin" and machine == "arm64"
        self.maps_stay_available = system == "linux"

    def read(self) -> MemoryNow:
        """Return the memory now."""
        if (found := _from_proc(self._meminfo)) is not None:
            return found
        import psutil  # noqa: PLC0415 - it takes half a MiB, which Linux can save

        now = psutil.virtual_memory()
        return MemoryNow(now.total, now.available)


def _from_proc(file: Path) -> MemoryNow | None:
    """Return what Linux tells (proc_meminfo(5), in kB); None elsewhere, and where a field is missing."""
    try:
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (KeyError, ValueError, IndexError):
        return None
    return MemoryNow(total, available)


def held_bytes(model: LocalModel, resident_bytes: int, *, maps_stay_available: bool) -> int:
    """Return what an engine holds of the memory that is not available to others.

    Linux counts mapped weights as available although the engine needs them, so they must not be counted twice.
    """
    if maps_stay_available and model.format == "gguf":
        return max(0, resident_bytes - model.size_bytes)
    return resident_bytes
