"""The clipboard, by the system's own programs: fixed commands, the text by stdin, where no process list shows it."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

log = logging.getLogger(__name__)

PATIENCE_S: Final = 3.0
"""They hand the text over at once; longer means that no display answers."""


class Tool(Struct, frozen=True):
    """One program that takes the clipboard's new text from its stdin."""

    argv: tuple[str, ...]
    needs: str = ""
    """The environment variable without which it has nowhere to put it."""


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
    """Put `text` (ASCII) on the clipboard; whether it is there. What stood in the way is told in the log."""
    for tool in _TOOLS.get(platform, _LINUX):
        program = find(tool.argv[0])
        if program is None or (tool.needs and not environment.get(tool.needs)):
            continue
        failed = _hand_over([program, *tool.argv[1:]], text)
        if not failed:
            return True
        log.warning("The clipboard could not be reached: %s", failed)
    if platform not in {"darwin", "win32"}:
        package = "wl-clipboard" if environment.get("WAYLAND_DISPLAY") else "xclip"
        log.warning("No program here reaches the clipboard; %s would.", package)
    return False


def _hand_over(argv: Sequence[str], text: str) -> str:
    """Start one program, give it the text, return what went wrong.

    Its output goes nowhere: on X11 the program stays behind to serve the text, and an open pipe would hold us.
    """
    try:
        subprocess.run(  # noqa: S603 -- fixed words, found on PATH
            argv,
            input=text.encode("ascii", "replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not take the text within {PATIENCE_S:.0f} s."
    except subprocess.CalledProcessError as error:
        return f"{argv[0]} ended with {error.returncode}."
    except OSError as error:
        return f"{argv[0]} can't be started: {error.strerror}."
    return ""
