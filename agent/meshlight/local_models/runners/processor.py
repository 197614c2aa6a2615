"""What this machine's processor can do, as far as an engine depends on it."""

import ctypes
import platform
import sys
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_READ_MAX: Final = 65_536
_AVX2_ON_WINDOWS: Final = 40
"""PF_AVX2_INSTRUCTIONS_AVAILABLE of winnt.h."""
_X86: Final = frozenset({"x86_64", "amd64", "i386", "i686", "x86"})


def has_avx2(system: str = sys.platform, machine: str | None = None, cpuinfo: Path = _CPUINFO) -> bool | None:
    """Whether an x86 processor has AVX2 (all since about 2015); None for another kind, or if that is unknown."""
    if (machine if machine is not None else platform.machine()).lower() not in _X86:
        return None
    if system == "linux":
        return _says_avx2(cpuinfo)
    if system == "darwin":
        return _sysctl(b"hw.optional.avx2_0")
    if system == "win32" and sys.platform == "win32":
        return bool(ctypes.WinDLL("kernel32").IsProcessorFeaturePresent(_AVX2_ON_WINDOWS))
    return None


def _says_avx2(cpuinfo: Path) -> bool | None:
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as file:
            text = file.read(_READ_MAX)
    except OSError:
        return None
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "avx2" in flags.split() if flags else None


def _sysctl(name: bytes) -> bool | None:
    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    try:
        failed = ctypes.CDLL(None).sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, 0)
    except (AttributeError, OSError):
        return None
    return None if failed else bool(value.value)
