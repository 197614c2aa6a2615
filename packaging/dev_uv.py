"""uv, which installs and resolves for other Pythons and systems than those of this machine."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dev_venv
from dev_venv import CONSTRAINTS, ROOT, Failure, tail, uv

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Every Python that a package for a system must run on."""
LINUX = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
WINDOWS = "x86_64-pc-windows-msvc"
PLATFORMS = (*LINUX.values(), "aarch64-apple-darwin", WINDOWS)
"""No macOS on Intel: cryptography has no wheel for it any more."""
WITHOUT_WHEEL = ("proxy-tools",)
"""Packages of pure Python that are published as source alone."""
AT_ONCE = 4
LONGEST_S = 300


def install(words: Sequence[str], target: Path, python: str, platform: str) -> None:
    """Install packages with everything they need for a Python and a platform into a folder. Raises Failure."""
    fault = _run(["--link-mode", "copy", *words], target, python, platform)
    if fault is not None:
        raise Failure(f"uv could not install for Python {python} on {platform}:\n{fault}")


def find(version: str) -> Path | None:
    """Return the Python of a version that is on this machine, if there is one; nothing is downloaded."""
    done = subprocess.run(
        [str(uv()), "python", "find", "--no-config", "--no-python-downloads", "--system", version],
        capture_output=True, text=True, check=False, timeout=LONGEST_S,
    )  # fmt: skip
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def unresolved() -> str | None:
    """Check that each platform and Python has a wheel of each dependency, by metadata; returns what is missing."""
    uv()
    pairs = [(python, platform) for python in PYTHONS for platform in PLATFORMS]
    with (
        tempfile.TemporaryDirectory(prefix="meshlight-resolve-") as folder,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):

        def check(pair: tuple[str, str]) -> str | None:
            words = ["--dry-run", "--requirements", str(ROOT / "pyproject.toml")]
            return _run(words, Path(folder) / "-".join(pair), *pair)

        faults = [
            f"Python {python} on {platform}:\n{fault}"
            for (python, platform), fault in zip(pairs, pool.map(check, pairs), strict=True)
            if fault is not None
        ]
    return "\n".join(faults) or None


def _run(words: Sequence[str], target: Path, python: str, platform: str) -> str | None:
    """Run `uv pip install`; returns its last words if it failed."""
    sources = [word for name in WITHOUT_WHEEL for word in ("--no-binary", name)]
    done = subprocess.run(
        [
            str(uv()), "pip", "install", "--no-config", "--no-progress", "--no-python-downloads",
            "--only-binary", ":all:", *sources, "--constraints", str(CONSTRAINTS),
            "--python-version", python, "--python-platform", platform, "--target", str(target), *words,
        ],
        capture_output=True, text=True, check=False, timeout=LONGEST_S, cwd=target.parent,
        env=dev_venv.environment(dev_venv.VENV, dev_venv.uv_variables()),
    )  # fmt: skip
    return None if done.returncode == 0 else tail(done.stderr)
