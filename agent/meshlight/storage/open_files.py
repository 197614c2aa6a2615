"""Files that open the page in a browser: each posts a one-time code, which so stands in no command line.

Every user of a machine can read the command lines of all programs, and a browser is started with what it opens.
So it is given the path of a file that this user alone may read, and the file brings the code.
"""

import hashlib
import html
import os
import re
from contextlib import suppress
from pathlib import Path

from meshlight.domain.clock import CallLater, Timer
from meshlight.storage.files import PRIVATE_FOLDER, make_folder

KEPT_S = 60.0
"""As long as the code works."""
_NAME_OF_SNAP = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Meshlight</title>
<form method="post" action="{action}"><input type="hidden" name="code" value="{code}">
<p>The mesh page opens. If it doesn't: <button>Open it</button></p></form>
<script>document.forms[0].submit()</script>
"""


class OpenFiles:
    """The files under `folder` that wait for a browser; `later` calls a function after some seconds.

    A browser that is a snap sees no hidden folder of its user, so for one of those the file lies where that snap
    keeps its own things.
    """

    def __init__(self, folder: Path, later: CallLater, home: Path | None = None) -> None:
        self._folder = folder
        self._later = later
        self._home = home
        self._files: dict[str, tuple[Path, Timer]] = {}

    def start(self) -> None:
        """Remove what a killed service left: its codes are worth nothing any more."""
        with suppress(OSError):
            for left in self._folder.glob("*.html"):
                left.unlink()

    def write(self, action: str, code: str, snap: str = "") -> Path:
        """Write the file that posts `code` to the address `action`, and return its path; raises OSError."""
        mark = _mark(code)
        path = self._place(snap) / f"{mark}.html"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(_PAGE.format(action=html.escape(action), code=html.escape(code)))
        self._files[mark] = path, self._later(KEPT_S, lambda: self._remove(mark))
        return path

    def used(self, code: str) -> None:
        """Remove the file of a code that a browser has brought."""
        self._remove(_mark(code))

    def close(self) -> None:
        """Remove them all."""
        for mark in tuple(self._files):
            self._remove(mark)

    def _place(self, snap: str) -> Path:
        if _NAME_OF_SNAP.fullmatch(snap):
            own = (self._home or Path.home()) / "snap" / snap / "common"
            if own.is_dir() and (os.name == "nt" or own.stat().st_uid == os.geteuid()):
                folder = own / "meshlight"
                folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                return folder
        make_folder(self._folder)
        return self._folder

    def _remove(self, mark: str) -> None:
        found = self._files.pop(mark, None)
        if found is not None:
            path, timer = found
            timer.cancel()
            with suppress(OSError):
                path.unlink()


def _mark(code: str) -> str:
    """Return the name of a code's file, which tells nothing of the code."""
    return hashlib.sha256(code.encode()).hexdigest()[:32]
