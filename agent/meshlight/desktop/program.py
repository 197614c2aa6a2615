"""How to start another process of Meshlight: with this Python or with the frozen program, never by fork."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

HOLDS_STDIN: Final = {"MESHLIGHT_PARENT": "stdin"}
"""Tells a child that its standard input is held open for as long as its parent lives."""


def program(*words: str) -> list[str]:
    """Return the command line of `meshlight` with these words."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *words]
    # -P: a folder called "meshlight" (or "http") where the tray was started must not be taken for ours.
    return [sys.executable, "-P", "-m", "meshlight", *words]


def apart() -> dict[str, Any]:
    """Return what `subprocess.Popen` needs so that our terminal's Ctrl-C leaves a child alone."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def environment(more: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables for a child: ours, without what was meant for us alone, and `more`."""
    return {name: value for name, value in environ.items() if name not in HOLDS_STDIN} | dict(more)
