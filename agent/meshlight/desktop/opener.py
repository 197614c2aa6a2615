"""Opening a file or a link with what the system has for it, without a shell."""

import os
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path

from meshlight.desktop.program import apart


def open_file(path: Path) -> bool:
    """Open a file in the user's viewer; whether that was begun."""
    if not path.exists():
        return False
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606 - a file of ours, by its whole path
        return True
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            [opener, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **apart(),
        )
    except OSError:
        return False
    # Some openers stay for as long as the viewer is open; whoever has ended must be taken leave of.
    threading.Thread(target=process.wait, name="viewer", daemon=True).start()
    return True


def open_link(link: str) -> bool:
    """Open a link in the browser; whether there is one, and a screen to show it on."""
    return has_screen() and webbrowser.open(link)


def has_screen() -> bool:
    """Whether a window can be shown: without a display, a browser could be one that takes the terminal."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
