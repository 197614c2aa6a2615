"""The port that the configuration file names, read before anything else of it is understood."""

import tomllib
from pathlib import Path

from meshlight.domain.config import DEFAULT_PORT
from meshlight.storage.files import read_capped

_PORT_MAX = 65_535


def written_port(path: Path) -> int | None:
    """Return the port that the file at `path` names, or the usual one; None if only all of the file can tell.

    So it is where the file can't be read: the last valid one holds then, which `ConfigFile` keeps.
    """
    try:
        port = tomllib.loads(read_capped(path).decode("utf-8-sig")).get("port", DEFAULT_PORT)
    except FileNotFoundError:
        return DEFAULT_PORT
    except (OSError, ValueError, RecursionError):  # ValueError: no UTF-8, or no TOML
        return None
    return port if type(port) is int and 1 <= port <= _PORT_MAX else None
