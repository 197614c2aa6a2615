"""The wheels of `xllamacpp` that are known: for a Meshlight that was installed without the extra `local`.

They are built for the stable interface of Python (`abi3`), so one does for CPython 3.10 and all later ones; a
free-threaded build has another interface. Sizes and hashes are those of the package index, the version is that of
`packaging/constraints.txt`.
"""

import os
import platform
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

VERSION: Final = "2026.10.11549"
LICENCE: Final = "MIT"
FOLDER: Final = f"xllamacpp-{VERSION}-abi3"
"""The folder's name of an unpacked one."""


class PinnedWheel(Struct, frozen=True, kw_only=True):
    """A wheel of the package index."""

    package: str
    version: str
    size: int
    sha256: str


def _wheel(size: int, sha256: str) -> PinnedWheel:
    return PinnedWheel(package="xllamacpp", version=VERSION, size=size, sha256=sha256)


WHEELS: Final = {
    ("linux", "x86_64"): _wheel(
        33_827_498, "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261"
    ),
    ("linux", "aarch64"): _wheel(
        32_870_844, "e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e"
    ),
    ("darwin", "arm64"): _wheel(
        12_152_949, "4ecda27a308b2403aa13c9d04b270befab95edc556c24ed00b2f8a98bd7f6781"
    ),
    ("darwin", "x86_64"): _wheel(
        11_523_198, "1f2a08052bb653659bcf1bedbbaf86b97f41dd46aa2763d596d7f27c5d89a689"
    ),
    ("win32", "amd64"): _wheel(8_733_245, "1b76730ab9af47ec8d05a3d55154305fa92642f694dd9ad87d9e5a5e9956a59d"),
}


def wheel_here(
    system: str = sys.platform,
    machine: str = "",
    *,
    is_cpython: bool = sys.implementation.name == "cpython",
    system_version: Callable[[], tuple[int, ...]] | None = None,
) -> PinnedWheel | None:
    """Return the wheel that fits this Python and system; None if none does."""
    if not is_cpython or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.maxsize < 1 << 32:
        return None
    # Built for glibc 2.17 (not musl), and macOS 13.
    least = {"linux": (2, 17), "darwin": (13,)}.get(system, ())
    if (system_version or _system_version)() < least:
        return None
    return WHEELS.get((system, (machine or platform.machine()).lower()))


def locate_unpacked(folder: Path) -> tuple[str, str] | None:
    """Return where the known version lies unpacked below `folder`, and that version; None without.

    A folder that can't be read holds none that could be run.
    """
    place = folder / FOLDER
    with suppress(OSError):
        if (place / "xllamacpp" / "__init__.py").is_file():
            return str(place), VERSION
    return None


def _system_version() -> tuple[int, ...]:
    """Return the version of what the wheels are built for: the C library, or macOS; empty for another system."""
    said = ""
    if sys.platform == "darwin":
        said = platform.mac_ver()[0]
    elif sys.platform == "linux":
        with suppress(ValueError, OSError):
            name, _, said = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
            said = said if name == "glibc" else ""
    return tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
