"""The frozen program, by PyInstaller: for macOS, where an app must be signed as one thing; elsewhere to try it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import dev_compile
import dev_venv
from dev_venv import CONSTRAINTS, ROOT, Failure, tail

PYINSTALLER = ("pyinstaller==6.22.0", "pyinstaller-hooks-contrib==2026.9")
SPEC = ROOT / "packaging" / "frozen" / "meshlight.spec"
PACKAGES = ("meshlight", "keyring.backends", "pystray", "webview.platforms", "zeroconf", "rich._unicode_data")
"""Packages that import their own modules by name: commands, keyrings, toolkits, tables of characters."""
METADATA = ("keyring",)
"""Packages that are found by their entry points."""
EXCLUDED = ["faker", "gi", "cairo", "polyfactory", "tkinter"]
"""What is not needed, and GTK's modules, which must be those of the distribution."""
NEEDED_BY_GTK = ("gettext", "http.server", "inspect", "keyword", "optparse", "pkgutil")
"""What the distribution's `gi` imports of the standard library, which only collects what it sees."""


def hidden_modules(system: str) -> list[str]:
    """Return modules that are imported in a way that PyInstaller does not see."""
    by_system = {
        "linux": [*NEEDED_BY_GTK, "dbus_fast.aio"],
        "darwin": ["AppKit", "Foundation", "WebKit", "PyObjCTools.AppHelper"],
        "win32": ["clr", "clr_loader", "pythonnet"],
    }
    return by_system.get(system, [])


def build(out: Path, work: Path) -> Path:
    """Freeze into the folder `out`; returns the program. Raises Failure."""
    venv = work / "venv"
    dev_venv.make(venv)
    dev_venv.install(venv, [str(_source(venv, work)), *PYINSTALLER], constraints=CONSTRAINTS)
    command = ["-m", "PyInstaller", "--noconfirm", "--distpath", str(out), "--workpath", str(work / "build")]
    done = subprocess.run(
        [str(dev_venv.python_of(venv)), *command, str(SPEC)],
        capture_output=True, text=True, errors="replace", check=False, cwd=ROOT,
        env=dev_venv.environment(venv, {"PYTHONHASHSEED": "1"}),
    )  # fmt: skip
    if done.returncode != 0:
        raise Failure(f"PyInstaller failed:\n{tail(done.stdout + done.stderr)}")
    if sys.platform == "darwin":
        return out / "Meshlight.app" / "Contents" / "MacOS" / "meshlight"
    return out / "meshlight" / f"meshlight{dev_venv.python_of(venv).suffix}"


def _source(venv: Path, work: Path) -> Path:
    """Return the compiled wheel of an environment's Python; the checkout where none can be made, which it says."""
    python = dev_compile.ask(dev_venv.python_of(venv))
    try:
        reason = dev_compile.fault(python)
        if reason is None:
            return dev_compile.wheel(python, work / "wheel")
    except Failure as failure:
        reason = str(failure)
    print(f"Nothing is compiled: {reason}")
    return ROOT


def check(program: Path) -> str:
    """Use the frozen program in an empty home; returns the version that it says. Raises Failure."""
    with tempfile.TemporaryDirectory(prefix="meshlight-home-") as folder:
        home = Path(folder)
        said = run(program, home, "version")
        run(program, home, "selftest")
        run(program, home, "doctor", "--json", may_fail=True)  # there may be something to say of this machine
    return said


def run(program: Path, home: Path, *words: str, may_fail: bool = False) -> str:
    """Run an installed program as a person with this home does; returns what it said. Raises Failure."""
    done = subprocess.run(
        [str(program), *words], capture_output=True, text=True, errors="replace", check=False, cwd=home,
        timeout=180, env=person(home, os.environ),
    )  # fmt: skip
    has_crashed = "Traceback" in done.stderr
    if has_crashed or (done.returncode != 0 and not may_fail):
        raise Failure(f"`{program.name} {' '.join(words)}` failed:\n{tail(done.stdout + done.stderr)}")
    return done.stdout.strip()


def person(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of somebody with this home, without those of this checkout."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("XDG_", "MESHLIGHT_", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH"))
    }
    return kept | {"HOME": str(home)}
