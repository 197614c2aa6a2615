"""The project's virtual environment: made once, remade when what it was made from has changed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
LEFT_OUT = frozenset(
    {
        "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__",
        # Common in containers: each process that a test starts would compile all of Meshlight, half of its start.
        "PYTHONDONTWRITEBYTECODE",
    }
)  # fmt: skip
"""Variables that the programs of an environment do not inherit."""
NO_NETWORK = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "nodename nor servname",
    "getaddrinfo failed",
    "Connection refused",
    "NewConnectionError",
    "ConnectTimeoutError",
    "ProxyError",
    "Network is unreachable",
)


class Failure(Exception):
    """Something a person can mend. Its text says what failed and what to do; no traceback is shown."""


def python_of(venv: Path) -> Path:
    """Return the interpreter inside a virtual environment, whether or not it exists."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment(venv: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables for programs of `venv`: its programs first, nothing of another Python."""
    variables = {k: v for k, v in os.environ.items() if k not in LEFT_OUT}
    variables["VIRTUAL_ENV"] = str(venv)
    variables["PATH"] = str(python_of(venv).parent) + os.pathsep + variables.get("PATH", "")
    variables["PIP_USER"] = "0"  # a user-wide `user = true` would refuse to install here
    return variables | dict(more or {})


def ensure(*, dev_tools: bool) -> None:
    """Make .venv hold Meshlight (editable) and, if asked, the dev tools. Does nothing when it already does.

    Raises Failure when the environment cannot be made or the packages cannot be had.
    """
    stamp = VENV / "meshlight-stamp"
    had = stamp.read_text(encoding="utf-8").split() if stamp.is_file() else []
    works = _works(python_of(VENV))
    wants_dev = dev_tools or had[1:] == ["dev"]
    wanted = [_digest(), "dev" if wants_dev else "run"]
    if works and had == wanted:
        return
    started = time.monotonic()
    if not works:
        print("Making .venv …")
        make(VENV)
    print(f"Installing Meshlight{' and its dev tools' if wants_dev else ''} into .venv …")
    stamp.unlink(missing_ok=True)
    target = f"{ROOT}[dev,local]" if wants_dev else f"{ROOT}[local]"
    install(VENV, ["--editable", target], constraints=CONSTRAINTS)
    stamp.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    print(f"Installed in {time.monotonic() - started:.0f} s.")


def make(venv: Path) -> None:
    """Create an empty virtual environment at `venv`, replacing what is there. Raises Failure."""
    if importlib.util.find_spec("ensurepip") is None:
        raise Failure(
            "this Python cannot make virtual environments (it has no ensurepip).\n"
            "On Debian and Ubuntu: sudo apt install python3-venv — then call this again."
        )
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(venv)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failure(f"could not make {venv}:\n{tail(done.stdout + done.stderr)}")


def install(venv: Path, words: Sequence[str], *, constraints: Path | None = None) -> None:
    """Run `pip install` in `venv`, quietly; `constraints` pins versions. Raises Failure with pip's words."""
    pins = ["--constraint", str(constraints)] if constraints else []
    command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *pins, *words]
    done = subprocess.run(
        [str(python_of(venv)), *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment(venv),
    )
    if done.returncode != 0:
        said = tail(done.stdout + done.stderr)
        raise Failure(f"pip could not install {' '.join(words)}:\n{said}{_network_hint(done.stderr)}")


def become(venv: Path, words: Sequence[str], more: Mapping[str, str] | None = None) -> int:
    """Run the environment's Python in our place, so that signals reach it; return its exit code.

    `more` are further environment variables.
    """
    python = str(python_of(venv))
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(python, [python, *words], environment(venv, more))  # noqa: S606 - no shell is the point
    # Windows has no exec that keeps the console: wait, and leave Ctrl-C to the child.
    process = subprocess.Popen([python, *words], env=environment(venv, more))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def python(*words: str) -> list[str]:
    """Return the command that runs the environment's Python with `words`."""
    return [str(python_of(VENV)), *words]


def tail(text: str, lines: int = 25) -> str:
    """Return the last lines of a program's output, indented to stand under a message of ours."""
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


def tool(name: str) -> str | None:
    """Return the path of a program on PATH, or None."""
    return shutil.which(name)


def _works(python: Path) -> bool:
    """Whether the interpreter is new enough and runs at all (its base may have been upgraded away)."""
    if not python.is_file():
        return False
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return (
            subprocess.run(
                [str(python), "-c", check], capture_output=True, check=False, timeout=60
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _digest() -> str:
    """Return a fingerprint of all that decides what .venv must contain, and where it points to."""
    parts = hashlib.sha256(str(ROOT).encode())
    for file in (ROOT / "pyproject.toml", CONSTRAINTS):
        if not file.is_file():
            raise Failure(f"{file} is missing: this is not a whole checkout of Meshlight.")
        parts.update(file.read_bytes())
    return parts.hexdigest()


def _network_hint(words: str) -> str:
    if any(sign in words for sign in NO_NETWORK):
        return "\nThe package index was not reached: is there a network, or a proxy to set (HTTPS_PROXY)?"
    return ""
