"""Opening `meshlight://` links: the entry by which a freedesktop system hands them to Meshlight."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from meshlight.desktop.system.autostart import quoted

SCHEME_TYPE = "x-scheme-handler/meshlight"
FILE = "meshlight-link.desktop"
_WAIT_S = 10.0


def run_quietly(words: Sequence[str]) -> None:
    """Run a tool of the desktop that may not be there, without its output."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - fixed words, no shell
            words, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_WAIT_S
        )


class LinkHandler:
    """A desktop entry in `~/.local/share/applications` that names the scheme as its MIME type.

    `xdg-mime` makes it the default and `update-desktop-database` lets running programs know; a desktop without
    them reads the entry by itself (Desktop Entry Specification, "MimeType"; shared-mime-info, "x-scheme-handler").
    Methods raise OSError where the system refuses.
    """

    def __init__(
        self, folder: Path, command: Sequence[str], run: Callable[[Sequence[str]], None] = run_quietly
    ) -> None:
        self._file = folder / FILE
        self._command = command
        self._run = run

    @property
    def is_on(self) -> bool:
        """Whether the entry is there."""
        return self._file.is_file()

    def switch(self, *, on: bool) -> None:
        """Make the entry, or remove it; either twice does no harm."""
        folder = self._file.parent
        if on:
            lines = (
                "[Desktop Entry]",
                "Type=Application",
                "Version=1.0",
                "Name=Meshlight",
                "Comment=Adds a backend from a meshlight:// link, after you have looked at it",
                # %u is the link, handed over as one word of its own and through no shell.
                f"Exec={' '.join(map(quoted, self._command))} %u",
                "Icon=meshlight",
                "Terminal=false",
                "NoDisplay=true",
                f"MimeType={SCHEME_TYPE};",
            )
            folder.mkdir(parents=True, exist_ok=True)
            self._file.write_text("\n".join(lines) + "\n", "utf-8")
        else:
            self._file.unlink(missing_ok=True)
        self._run(["update-desktop-database", str(folder)])
        if on:
            self._run(["xdg-mime", "default", FILE, SCHEME_TYPE])


def link_handler_here(command: Sequence[str], home: Path | None = None) -> LinkHandler | None:
    """Return this system's way; None where there is none yet (macOS, Windows)."""
    if sys.platform in {"win32", "darwin"}:
        return None
    data = os.environ.get("XDG_DATA_HOME", "")
    # The Base Directory Specification says that a path that is not absolute is to be left aside.
    folder = Path(data) if data.startswith("/") else (home or Path.home()) / ".local" / "share"
    return LinkHandler(folder / "applications", command)
