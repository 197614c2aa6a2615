"""The packages that people install, in dist/: `dev.py package deb|rpm|wheel|resolve`."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dev_deb
import dev_linux
import dev_rpm
import dev_system
import dev_uv
import dev_venv
import dev_wheel
from dev_venv import ROOT, Failure

DIST = ROOT / "dist"
MAX_MB = 17.0
"""What a package for Linux may weigh."""
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def run(target: str, *, architectures: Sequence[str], check: bool) -> int:
    """Make one kind of package, and with `check` try it in a clean system; 0 when it is good. Raises Failure."""
    if target not in TARGETS:
        raise Failure(f"there is no package {target}. There are: {', '.join(TARGETS)}.")
    return TARGETS[target](architectures or [this_machine()], check)


def this_machine() -> str:
    """Return the architecture of this machine in Debian's words. Raises Failure for another one."""
    found = MACHINES.get(platform.machine())
    if found is None:
        raise Failure(
            f"there are packages for amd64 and arm64 only, and this machine is {platform.machine()}."
        )
    return found


def _linux(kind: str, architectures: Sequence[str], check: bool) -> int:
    if sys.platform != "linux":
        raise Failure("packages for Linux are made on Linux.")
    dev_venv.ensure(dev_tools=True)
    programs = [dev_system.STRIP[architecture] for architecture in architectures]
    if kind == "rpm":
        programs.append(dev_system.RPMBUILD)
    if check:
        programs += [dev_system.DEBOOTSTRAP, dev_system.RPMBUILD]
    missing = dev_system.provide(programs)
    if missing:
        raise Failure("\n".join(missing))
    for architecture in architectures:
        made = _make(kind, architecture)
        if check and architecture == this_machine():
            import dev_clean_root  # noqa: PLC0415 - for a check alone

            for suite in dev_clean_root.SUITES:
                print(dev_clean_root.check(kind, made, suite))
        elif check:
            print(f"{architecture} was not tried: this machine is {this_machine()}.")
    return 0


def _make(kind: str, architecture: str) -> list[Path]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="meshlight-package-") as folder:
        work = Path(folder)
        wheel = dev_wheel.make(work / "wheel")
        staged = dev_linux.stage(work, wheel, architecture)
        made = dev_deb.build(staged, DIST) if kind == "deb" else dev_rpm.build(staged, DIST)
    for file in made:
        megabytes = file.stat().st_size / 1e6
        print(f"{file.relative_to(ROOT)} ({megabytes:.2f} MB)")
        if megabytes > MAX_MB:
            raise Failure(f"{file.name} is larger than {MAX_MB:g} MB: see what has joined the tree.")
    print(f"Made in {time.monotonic() - started:.0f} s.")
    return made


def _wheel(_architectures: Sequence[str], _check: bool) -> int:
    return dev_wheel.build()


def _resolve(_architectures: Sequence[str], _check: bool) -> int:
    fault = dev_uv.unresolved()
    if fault:
        raise Failure(fault)
    print(
        f"Every dependency has a wheel for Python {', '.join(dev_uv.PYTHONS)} on {', '.join(dev_uv.PLATFORMS)}."
    )
    return 0


TARGETS: dict[str, Callable[[Sequence[str], bool], int]] = {
    "deb": lambda architectures, check: _linux("deb", architectures, check),
    "rpm": lambda architectures, check: _linux("rpm", architectures, check),
    "wheel": _wheel,
    "resolve": _resolve,
}
