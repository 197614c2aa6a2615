"""Opening a file or a link with what the system has for it, without a shell."""

import os
import re
import shutil
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from meshlight.desktop.system.process import apart

ASK_S = 2.0


class Opens(Protocol):
    """What of the running service is needed to open its page."""

    def link_file(self, fragment: str, snap: str) -> str:
        """Return the path of a file that opens the page."""


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
    """Open a link in the browser; whether there is one, and a screen to show it on.

    Nothing secret may be in it: every user of this machine sees the browser's command line.
    """
    return has_screen() and webbrowser.open(link)


def open_page(service: Opens, fragment: str = "") -> bool:
    """Open the page of a service in the browser, by a file that brings the one-time code."""
    return has_screen() and webbrowser.open(Path(service.link_file(fragment, browser_snap())).as_uri())


def browser_snap(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the snap that the user's browser is, which sees no hidden folder; "" for any other."""
    asks = shutil.which("xdg-settings", path=environ.get("PATH"))
    if sys.platform != "linux" or asks is None or environ.get("BROWSER"):
        return ""
    try:
        said = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [asks, "get", "default-web-browser"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_S,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # A snap's desktop entry is called after the snap and the program in it: firefox_firefox.desktop.
    found = re.fullmatch(rb"([a-z0-9][a-z0-9-]{0,40})_[A-Za-z0-9-]+\.desktop\s*", said)
    return found[1].decode() if found else ""


def has_screen() -> bool:
    """Whether a window can be shown: without a display, a browser could be one that takes the terminal."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
