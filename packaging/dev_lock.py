"""The pins: what a fresh resolve of all our dependencies gives, written so that all install the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import dev_venv
from dev_engines import MLX_PACKAGES, MLX_PINS
from dev_venv import CONSTRAINTS, ROOT, Failure, tail

# Those of Windows are pure Python and install anywhere, so one resolve finds them too.
WINDOWS_ONLY = ("colorama", "pywin32-ctypes")
MARKERS = {
    "colorama": "sys_platform == 'win32'",
    "pywin32-ctypes": "sys_platform == 'win32'",
    "uvloop": "sys_platform != 'win32'",
    "secretstorage": "sys_platform == 'linux'",
    "jeepney": "sys_platform == 'linux'",
    "dbus-fast": "sys_platform == 'linux'",
    "python-xlib": "sys_platform == 'linux'",
}
HEAD = """\
# Made by `python3 packaging/dev.py lock`: the exact versions that {what}.
# A constraints file: it pins what is installed anyway and installs nothing by itself.
"""


def lock() -> int:
    """Resolve everything anew and write both constraints files; 0 when done. Raises Failure."""
    if sys.version_info[:2] != (3, 11):
        raise Failure(
            "pins are made with Python 3.11, the oldest we support, so that they fit every newer one too."
        )
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [
        *project["dependencies"],
        *(word for extra in project["optional-dependencies"].values() for word in extra),
    ]
    _write(CONSTRAINTS, "are installed and tested together", _resolve([*wanted, *WINDOWS_ONLY]))
    _write(MLX_PINS, "the tests' mlx_lm.server runs on", _resolve(MLX_PACKAGES))
    return 0


def render(frozen: str) -> str:
    """Turn `pip freeze` into constraints: sorted, markers where a package is not for every system.

    Raises Failure for a line that is not `name==version` (a local path or an address must not get in).
    """
    lines = []
    for line in frozen.splitlines():
        name, pinned, version = line.partition("==")
        if not pinned or "@" in line or "/" in line:
            raise Failure(f"not a pin: {line}")
        marker = MARKERS.get(name.lower().replace("_", "-"))
        lines.append(f"{name}=={version}" + (f" ; {marker}" if marker else ""))
    return "\n".join(sorted(lines, key=str.lower)) + "\n"


def _resolve(wanted: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="meshlight-lock-") as folder:
        venv = Path(folder) / "venv"
        dev_venv.make(venv)
        print(f"Resolving {len(wanted)} requirements …")
        dev_venv.install(venv, list(wanted))
        done = subprocess.run(
            [str(dev_venv.python_of(venv)), "-m", "pip", "freeze", "--all", "--exclude", "pip"],
            capture_output=True, text=True, check=False, env=dev_venv.environment(venv),
        )  # fmt: skip
    if done.returncode != 0:
        raise Failure(f"pip freeze failed:\n{tail(done.stderr)}")
    return render(done.stdout)


def _write(path: Path, what: str, pins: str) -> None:
    path.write_text(HEAD.format(what=what) + pins, encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(pins.splitlines())} pins")
