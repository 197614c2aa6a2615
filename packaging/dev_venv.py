"""The project's virtual environment: made once, remade when what it was made from has changed.

uv installs, in a tenth of pip's time and with pip's settings; pip brings it, and stands in where it can't.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
UV = "0.13.9"
UV_VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "constraint": "UV_CONSTRAINT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "proxy": "ALL_PROXY",
    "trusted-host": "UV_INSECURE_HOST",
}
"""pip's settings, which uv does not read, and what it calls them."""
BESIDE_THE_POINT = frozenset(
    {
        "break-system-packages", "cache-dir", "config-file", "default-timeout", "disable-pip-version-check",
        "no-cache-dir", "no-color", "no-input", "progress-bar", "quiet", "require-virtualenv", "retries",
        "root-user-action", "timeout", "user",
    }
)  # fmt: skip
"""pip's settings that do not decide what is installed. With any other one pip itself installs."""
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
    """Install into `venv`, quietly; `constraints` pins versions. Raises Failure with pip's words."""
    pins = ["--constraint", str(constraints)] if constraints else []
    variables = uv_variables(venv)
    try:
        program = uv(venv) if variables is not None else None
    except Failure:  # an index without it: pip's own words on all the rest say more
        program = None
    if program is not None and variables is not None:
        command = [str(program), "pip", "install", "--quiet", "--no-config", "--python", str(python_of(venv))]
        build_pins = ["--build-constraint", str(constraints)] if constraints else []
        # uv heeds its variable only where no other constraints are named.
        more = [word for file in variables["UV_CONSTRAINT"].split() for word in ("--constraint", file)]
        try:
            done = _done([*command, *pins, *build_pins, *more, *words], environment(venv, variables))
        except OSError as error:  # programs can't be run from the cache's disk
            why = str(error)
        else:
            if done.returncode == 0:
                return
            why = done.stderr
        print(f"uv could not install it, so pip does:\n{tail(why, 5)}", file=sys.stderr)
    _pip_install(venv, [*pins, *words])


def uv(venv: Path = VENV) -> Path:
    """Return uv of the pinned version, brought into our cache by the pip of `venv` if need be. Raises Failure."""
    folder = cache() / f"uv-{UV}"
    program = folder / "bin" / ("uv.exe" if os.name == "nt" else "uv")
    if not program.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="uv-", dir=folder.parent) as partial:
            _pip_install(venv, ["--target", f"{partial}/uv", f"uv=={UV}"])
            if not program.is_file():  # another run may have brought it meanwhile, and use it
                shutil.rmtree(folder, ignore_errors=True)
                Path(partial, "uv").replace(folder)
    return program


@lru_cache
def uv_variables(venv: Path = VENV) -> dict[str, str] | None:
    """Return what tells uv where the pip of `venv` is set to get packages; None where uv has no word for it."""
    done = _done([str(python_of(venv)), "-m", "pip", "config", "list"], environment(venv))
    return translated(done.stdout) if done.returncode == 0 else None


def translated(settings: str) -> dict[str, str] | None:
    """Return what `pip config list` says in uv's variables; None where uv has no word for one of them."""
    found: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):  # the last one wins
        for line in settings.splitlines():
            name, separator, value = line.removeprefix(section).partition("=")
            if line.startswith(section) and separator and name not in BESIDE_THE_POINT:
                words = str(ast.literal_eval(value)).split()
                if not words:  # pip does not heed it
                    continue
                if name not in UV_VARIABLES:
                    return None
                joined = ("," if name == "find-links" else " ").join(words)
                found[UV_VARIABLES[name]] = joined
    # As pip does: the best version of all indexes, and the certificates of the system.
    return {"UV_CONSTRAINT": "", "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"} | found


def cache() -> Path:
    """Return the folder for things that are dear to make and can be made again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "meshlight-dev"


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


def _pip_install(venv: Path, words: Sequence[str]) -> None:
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = _done([str(python_of(venv)), *pip, *words], environment(venv))
    if done.returncode != 0:
        said = tail(done.stdout + done.stderr)
        raise Failure(f"pip could not install {' '.join(words)}:\n{said}{_network_hint(done.stderr)}")


def _done(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=variables)
