"""HTML files that open the page in a browser: each posts a one-time code, which keeps it off the command line.

Every user of a machine can read the command lines of all programs, and a browser is started with the address that it
opens. So it gets the path of a file that this user alone can read, and the file contains the code.
"""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from meshlight.domain.clock import CallLater, Timer
from meshlight.storage.files import PRIVATE_FOLDER, make_folder

LIFETIME_S = 60.0
"""As long as the code is valid."""
_SNAP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Meshlight</title>
<form method="post" action="{action}"><input type="hidden" name="code" value="{code}">
<p>The mesh page opens. If it doesn't: <button>Open it</button></p></form>
<script>document.forms[0].submit()</script>
"""


class OpenFiles:
    """The files in `folder` for browsers that are being started; `later` calls a function after some seconds.

    A browser that is a snap can't read hidden folders of its user, so its files are in that snap's own folder.
    """

    def __init__(self, folder: Path, later: CallLater, home: Path | None = None) -> None:
        self._folder = folder
        self._later = later
        self._home = home
        self._files: dict[str, tuple[Path, Timer]] = {}

    def start(self) -> None:
        """Remove the files of a killed service: their codes are not valid any more."""
        with suppress(OSError):
            for leftover in self._folder.glob("*.html"):
                leftover.unlink()

    def write(self, action: str, code: str, snap: str = "") -> Path:
        """Write the file that posts `code` to the address `action`, and return its path; raises OSError."""
        name = _file_name(code)
        path = self._folder_for(snap) / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            import html  # noqa: PLC0415 - half a megabyte, for a file that is seldom written

            stream.write(_PAGE.format(action=html.escape(action), code=html.escape(code)))
        self._files[name] = path, self._later(LIFETIME_S, lambda: self._remove(name))
        return path

    def used(self, code: str) -> None:
        """Remove the file of a code that a browser has sent."""
        self._remove(_file_name(code))

    def close(self) -> None:
        """Remove all files."""
        for name in tuple(self._files):
            self._remove(name)

    def _folder_for(self, snap: str) -> Path:
        if _SNAP_NAME.fullmatch(snap):
            own = (self._home or Path.home()) / "snap" / snap / "common"
            if own.is_dir() and (os.name == "nt" or own.stat().st_uid == os.geteuid()):
                folder = own / "meshlight"
                folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                return folder
        make_folder(self._folder)
        return self._folder

    def _remove(self, name: str) -> None:
        found = self._files.pop(name, None)
        if found is not None:
            path, timer = found
            timer.cancel()
            with suppress(OSError):
                path.unlink()


def _file_name(code: str) -> str:
    """Return the name of a code's file, from which the code can't be derived."""
    return f"{hashlib.sha256(code.encode()).hexdigest()[:32]}.html"
