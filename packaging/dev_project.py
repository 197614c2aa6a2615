"""What pyproject.toml and the repository say of the project: for all packages the same."""

from __future__ import annotations

import subprocess
import time
import tomllib
from functools import lru_cache
from typing import Any

from dev_venv import ROOT

LICENCE = "Apache-2.0"
NAME = "Meshlight"


@lru_cache(maxsize=1)
def facts() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["project"]
    return found


def version() -> str:
    """Return the version that is built."""
    return str(facts()["version"])


def homepage() -> str:
    """Return the address of the repository, under which its releases are."""
    return str(facts()["urls"]["Homepage"])


def epoch() -> int:
    """Return the time of the last commit: the same tree gives the same package, byte for byte."""
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else int(time.time())
