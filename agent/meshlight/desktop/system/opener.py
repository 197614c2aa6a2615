"""Opens a file in the user's viewer, or a page in the browser, without a shell."""

import os
import re
import shutil
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from meshlight.api_client.client import ApiClient
from meshlight.desktop.system.process import detached_options
from meshlight.desktop.system.screen import has_screen

TIMEOUT_S = 2.0


def open_file(path: Path) -> bool:
    """Open a file in the user's viewer; returns whether the viewer was started."""
    if not path.exists():
        return False
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606 - our own file, by its full path
        return True
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            [opener, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **detached_options(),
        )
    except OSError:
        return False
    # Some openers run for as long as the viewer is open; waiting avoids a zombie process.
    threading.Thread(target=process.wait, name="viewer", daemon=True).start()
    return True


def open_link(link: str) -> bool:
    """Open a link in the browser; returns whether there is a browser and a screen.

    The link must not contain a secret: every user of this machine can see the browser's command line.
    """
    return has_screen() and webbrowser.open(link)


def open_page(client: ApiClient, fragment: str = "") -> bool:
    """Open the service's page in the browser, by a file with the one-time code; returns whether that worked."""
    return has_screen() and webbrowser.open(Path(client.link_file(fragment, browser_snap())).as_uri())


def browser_snap(environ: Mapping[str, str] = os.environ) -> str:
    """Return the snap package of the user's browser, which can't read hidden folders; "" if it is not a snap."""
    xdg_settings = shutil.which("xdg-settings", path=environ.get("PATH"))
    if sys.platform != "linux" or xdg_settings is None or environ.get("BROWSER"):
        return ""
    try:
        output = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [xdg_settings, "get", "default-web-browser"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # A snap's desktop entry is named after the snap and its program: firefox_firefox.desktop.
    found = re.fullmatch(rb"([a-z0-9][a-z0-9-]{0,40})_[A-Za-z0-9-]+\.desktop\s*", output)
    return found[1].decode() if found else ""
