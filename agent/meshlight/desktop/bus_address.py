"""Where the user's session bus is."""

import os
from collections.abc import Mapping
from pathlib import Path


def bus_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the session bus, None where there is none."""
    if given := environment.get("DBUS_SESSION_BUS_ADDRESS"):
        return given
    folder = environment.get("XDG_RUNTIME_DIR")
    if folder and (Path(folder) / "bus").is_socket():
        return f"unix:path={folder}/bus"
    return None
