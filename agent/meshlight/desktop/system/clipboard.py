"""Copies text to the clipboard by the system's own programs; the text goes by stdin, which no process list shows."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 3.0
"""The programs finish at once; if one takes longer, the display doesn't answer."""


class Tool(Struct, frozen=True):
    """A program that copies its stdin to the clipboard."""

    argv: tuple[str, ...]
    variable: str = ""
    """The environment variable that it needs."""


_LINUX: Final = (
    Tool(("wl-copy", "--type", "text/plain"), "WAYLAND_DISPLAY"),
    Tool(("xclip", "-selection", "clipboard", "-in"), "DISPLAY"),
    Tool(("xsel", "--clipboard", "--input"), "DISPLAY"),
)
_TOOLS: Final[dict[str, tuple[Tool, ...]]] = {
    "darwin": (Tool(("pbcopy",)),),
    "win32": (Tool(("clip.exe",)),),
    "linux": _LINUX,
}


def copy(
    text: str,
    *,
    environment: Mapping[str, str] = os.environ,
    find: Callable[[str], str | None] = shutil.which,
    platform: str = sys.platform,
) -> bool:
    """Copy `text` (ASCII) to the clipboard; returns whether that succeeded. Failures are logged."""
    for tool in _TOOLS.get(platform, _LINUX):
        program = find(tool.argv[0])
        if program is None or (tool.variable and not environment.get(tool.variable)):
            continue
        error = _run_tool([program, *tool.argv[1:]], text)
        if not error:
            return True
        log.warning("The clipboard could not be reached: %s", error)
    if platform not in {"darwin", "win32"}:
        package = "wl-clipboard" if environment.get("WAYLAND_DISPLAY") else "xclip"
        log.warning("No clipboard program was found. Install the package %s.", package)
    return False


def _run_tool(argv: Sequence[str], text: str) -> str:
    """Run one program with the text as input; return what went wrong, or "".

    Its output is discarded: on X11 the program stays in the background to serve the text, and a pipe would block us.
    """
    try:
        subprocess.run(  # noqa: S603 -- fixed words, found on PATH
            argv,
            input=text.encode("ascii", "replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not take the text within {TIMEOUT_S:.0f} s."
    except subprocess.CalledProcessError as error:
        return f"{argv[0]} ended with exit code {error.returncode}."
    except OSError as error:
        return f"{argv[0]} can't be started: {error.strerror}."
    return ""
