"""Engines that are Python packages: a package of the Python that runs this service, or a program on the PATH."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from meshlight.local_models.runners.base import FoundRunner
from meshlight.local_models.runners.programs import find_program

VersionOf = Callable[[str], str | None]
"""Returns the version of an installed package; None if it is not installed."""


def installed_version(package: str) -> str | None:
    """See `VersionOf`. Imports nothing of it."""
    try:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            return None
        from importlib.metadata import version  # noqa: PLC0415 - it brings email and zipfile, and the package is seldom there

        return version(package)
    except (ImportError, ValueError):
        return None


def find_package(
    package: str,
    program: Sequence[str],
    module: Sequence[str],
    *,
    python: str,
    environ: Mapping[str, str],
    folders: Sequence[str],
    version_of: VersionOf,
) -> FoundRunner | None:
    """Return how a package is run: `module` with our Python, else the `program` of another; None without."""
    if version := version_of(package):
        # -P: nothing of the working directory is imported.
        return FoundRunner(program=(python, "-P", "-m", *module), version=version)
    path = find_program(program[0], environ, folders)
    return FoundRunner(program=(str(Path(path)), *program[1:])) if path else None
