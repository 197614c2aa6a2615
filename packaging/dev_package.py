"""The packages that people install, in dist/, and what a release has beside them: `dev.py package TARGET`."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dev_compile
import dev_deb
import dev_frozen
import dev_linux
import dev_macos
import dev_release
import dev_rpm
import dev_system
import dev_try
import dev_uv
import dev_venv
import dev_wheel
import dev_windows
from dev_venv import ROOT, Failure

DIST = ROOT / "dist"
MAX_MB = 17.0
"""What a package for Linux may weigh."""
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    architectures: Sequence[str] = ()
    check: bool = False
    words: Sequence[str] = ()
    """What stands after the target: a version, a tag, files."""
    python: Path | None = None
    """What stands in for the Python that the setup for Windows downloads."""


def run(target: str, request: Request) -> int:
    """Make one kind of package, and with `check` try it in a clean system; 0 when it is good. Raises Failure."""
    if target not in TARGETS:
        raise Failure(f"there is no package {target}. There are: {', '.join(TARGETS)}.")
    if request.words and target not in WITH_WORDS:
        raise Failure(f"unknown argument: {request.words[0]}")
    TARGETS[target](request)
    return 0


def this_machine() -> str:
    """Return the architecture of this machine in Debian's words. Raises Failure for another one."""
    found = MACHINES.get(platform.machine())
    if found is None:
        raise Failure(
            f"there are packages for amd64 and arm64 only, and this machine is {platform.machine()}."
        )
    return found


def _linux(kind: str, request: Request) -> None:
    architectures = request.architectures or [this_machine()]
    if sys.platform != "linux":
        raise Failure("packages for Linux are made on Linux.")
    dev_venv.ensure(dev_tools=True)
    programs = [dev_system.STRIP[architecture] for architecture in architectures]
    if kind == "rpm":
        programs.append(dev_system.RPMBUILD)
    if request.check:
        programs += [dev_system.DEBOOTSTRAP, dev_system.RPMBUILD]
    _provide(programs)
    for architecture in architectures:
        made = _make(kind, architecture)
        if request.check and architecture == this_machine():
            import dev_clean_root  # noqa: PLC0415 - for a check alone

            for suite in dev_clean_root.SUITES:
                print(dev_clean_root.check(kind, made, suite))
        elif request.check:
            print(f"{architecture} was not tried: this machine is {this_machine()}.")


def _make(kind: str, architecture: str) -> list[Path]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="meshlight-package-") as folder:
        work = Path(folder)
        wheels = dict.fromkeys(dev_uv.PYTHONS, dev_wheel.make(work / "wheel"))
        if architecture == this_machine():
            wheels |= dev_compile.wheels(work)
        else:
            print(f"For {architecture} nothing is compiled: this machine is {this_machine()}.")
        staged = dev_linux.stage(work, wheels, architecture)
        made = dev_deb.build(staged, DIST) if kind == "deb" else dev_rpm.build(staged, DIST)
    for file in made:
        megabytes = file.stat().st_size / 1e6
        print(f"{file.relative_to(ROOT)} ({megabytes:.2f} MB)")
        if megabytes > MAX_MB:
            raise Failure(f"{file.name} is larger than {MAX_MB:g} MB: see what has joined the tree.")
    print(f"Made in {time.monotonic() - started:.0f} s.")
    return made


def _provide(programs: Sequence[dev_system.Program]) -> None:
    missing = dev_system.provide(programs)
    if missing:
        raise Failure("\n".join(missing))


def _wheel(request: Request) -> None:
    dev_wheel.build()
    with tempfile.TemporaryDirectory(prefix="meshlight-wheel-") as folder:
        made = [Path(shutil.copy(wheel, DIST)) for wheel in dev_compile.wheels(Path(folder)).values()]
    for wheel in made:
        print(f"{wheel.relative_to(ROOT)} ({wheel.stat().st_size / 1e6:.2f} MB)")
    if request.check and sys.platform == "linux":
        _provide((*dev_system.TRAY, dev_system.PANEL))
        print(dev_try.with_uv(DIST / dev_compile.own_wheel().name))


def _windows(request: Request) -> None:
    setup = DIST / dev_windows.setup_name()
    if sys.platform == "win32":  # the setup is made on Linux and tried here
        if not setup.is_file():
            raise Failure(f"{setup.relative_to(ROOT)} is not here. It is made on Linux, with Debian's nsis.")
    else:
        dev_venv.ensure(dev_tools=True)
        _provide([dev_system.NSIS])
        with tempfile.TemporaryDirectory(prefix="meshlight-wheel-") as folder:
            # Pure: what is compiled for Windows is compiled on Windows.
            dev_windows.make(DIST, dev_wheel.make(Path(folder)), request.python)
    print(f"{setup.relative_to(ROOT)} ({setup.stat().st_size / 1e6:.2f} MB)")
    if request.check and sys.platform == "win32":
        print(dev_try.setup(setup))
    elif request.check:
        print("It was not tried: that needs Windows.")


def _macos(request: Request) -> None:
    dmg = dev_macos.make(DIST)
    print(f"{dmg.relative_to(ROOT)} ({dmg.stat().st_size / 1e6:.2f} MB)")
    if request.check:
        print(dev_try.app(dmg))


def _frozen(_request: Request) -> None:
    with tempfile.TemporaryDirectory(prefix="meshlight-frozen-") as folder:
        program = dev_frozen.build(DIST / "frozen", Path(folder))
    print(f"{program.relative_to(ROOT)}: {dev_frozen.check(program)}")


def _resolve(_request: Request) -> None:
    fault = dev_uv.unresolved()
    if fault:
        raise Failure(fault)
    print(
        f"Every dependency has a wheel for Python {', '.join(dev_uv.PYTHONS)} on {', '.join(dev_uv.PLATFORMS)}."
    )


def _notes(request: Request) -> None:
    if len(request.words) != 1:
        raise Failure("give one version: dev.py package notes 0.1.0")
    print(dev_release.notes(dev_release.CHANGELOG.read_text(encoding="utf-8"), request.words[0]), end="")


def _sbom(_request: Request) -> None:
    dev_venv.ensure(dev_tools=True)
    print(dev_release.sbom(DIST).relative_to(ROOT))


def _manifests(request: Request) -> None:
    files = [Path(word) for word in request.words] or dev_release.packages(DIST)
    for name, text in dev_release.manifests(files).items():
        file = dev_release.BUILD / "manifests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        print(file.relative_to(ROOT))


def _release(request: Request) -> None:
    if len(request.words) != 1:
        raise Failure("give one tag: dev.py package release v0.1.0")
    dev_venv.ensure(dev_tools=True)
    for file in dev_release.release(DIST, request.words[0]):
        print(file.relative_to(ROOT))


TARGETS: dict[str, Callable[[Request], None]] = {
    "deb": lambda request: _linux("deb", request),
    "rpm": lambda request: _linux("rpm", request),
    "wheel": _wheel,
    "windows": _windows,
    "macos": _macos,
    "frozen": _frozen,
    "resolve": _resolve,
    "notes": _notes,
    "sbom": _sbom,
    "manifests": _manifests,
    "release": _release,
}
WITH_WORDS = frozenset({"notes", "manifests", "release"})
