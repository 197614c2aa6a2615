"""A clean Debian in a folder, in which a package is installed, used, updated and purged. Needs root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import dev_compile
import dev_engines
import dev_linux
import dev_project
from dev_venv import Failure, cache, tail

SUITES = ("bookworm", "trixie")
"""The oldest and the newest Debian that we support: Python 3.11 and 3.13, with the same package."""
INCLUDED = ("python3", "rpm")
MIRROR = "http://deb.debian.org/debian"
ENTER = 'mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
"""Newer rpm wants its root to be a mount of its own."""
LONGEST_S = 600
STALE = Path("opt/meshlight/lib/python3/site-packages/stale.py")
"""A file that only the older version has."""


def check(kind: str, made: Sequence[Path], suite: str) -> str:
    """Try the package and its desktop part in a fresh copy of the clean system; returns a line. Raises Failure."""
    if os.geteuid() != 0:
        raise Failure("a clean system can be made by root only: call this with sudo.")
    main, desktop = made
    base = _base(suite)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="meshlight-root-") as folder:
        root = Path(folder) / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
        packages = root / "packages"
        packages.mkdir()
        for name, file in (("new", main), ("desktop", desktop)):
            shutil.copyfile(file, packages / f"{name}.{kind}")
        if kind == "deb":
            _make_older(main, Path(folder) / "older", packages / "old.deb")
        else:
            shutil.copyfile(main, packages / "old.rpm")
        _copy_engine(packages / "engine")
        for script in (*dev_linux.SCRIPTS.glob("check*"), dev_compile.CHECK):
            shutil.copyfile(script, packages / script.name)
        _run(root, kind, suite)
    return f"{main.name} works in a clean {suite}, and leaves nothing ({time.monotonic() - started:.0f} s)."


def _run(root: Path, kind: str, suite: str) -> None:
    """Run the script in namespaces of its own: it sees no process of this machine, and none of its outlives it."""
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", ENTER, str(root)]
    done = subprocess.run(
        [*own, "/bin/sh", "/packages/check.sh", kind, str(_free_port()), str(_free_port())],
        capture_output=True, text=True, errors="replace", check=False, timeout=LONGEST_S,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    print(done.stdout.strip())
    if done.returncode != 0:
        log = root / "tmp" / "supervisor.log"
        words = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        raise Failure(f"the package failed in a clean {suite}:\n{tail(done.stdout + done.stderr + words)}")


def _copy_engine(folder: Path) -> None:
    """Copy a llama-server and weights for it, if both are here; `dev.py engines` gets them."""
    server, weights = dev_engines.find_llama_server(), dev_engines.find_starter_model()
    if server is None or weights is None:
        print("note: no real engine answers in this check; get it: python3 packaging/dev.py engines")
        return
    folder.mkdir()
    shutil.copy(server, folder / "llama-server")
    shutil.copy(weights, folder)


def _free_port() -> int:
    """Return a port that is free now: the clean system shares the network of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _base(suite: str) -> Path:
    """Return the clean system in our cache, made the first time. Raises Failure."""
    base = cache() / f"debian-{suite}-{'-'.join(INCLUDED)}"
    if base.is_dir():
        return base
    print(f"Making a clean {suite} in the cache (a minute or two, once) …")
    partial = base.with_name(f"{base.name}.{os.getpid()}")
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", suite, str(partial), MIRROR],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise Failure(f"debootstrap failed:\n{tail(done.stdout + done.stderr)}")
    partial.replace(base)
    return base


def _make_older(deb: Path, work: Path, out: Path) -> None:
    """Pack the same package as an older version with one file more. Raises Failure."""
    dev_linux.pack(["dpkg-deb", "--raw-extract", str(deb), str(work)], work.parent)
    control = work / "DEBIAN" / "control"
    version = f"Version: {dev_project.version()}-1\n"
    control.write_text(control.read_text("utf-8").replace(version, "Version: 0.0.1-1\n"), encoding="utf-8")
    (work / STALE).touch()
    dev_linux.pack(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(work), str(out)], work.parent)
