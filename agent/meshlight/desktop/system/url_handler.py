"""Registers Meshlight on a freedesktop system as the program that opens `meshlight://` links."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from meshlight.desktop.system.autostart import quote_exec

SCHEME_TYPE = "x-scheme-handler/meshlight"
FILE = "meshlight-link.desktop"
_TIMEOUT_S = 10.0


def run_silently(command: Sequence[str]) -> None:
    """Run a desktop tool that may be missing, and discard its output."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - fixed words, no shell
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S
        )


class LinkHandler:
    """A desktop entry in `~/.local/share/applications` with the URL scheme as its MIME type.

    `xdg-mime` makes it the default and `update-desktop-database` notifies running programs; a desktop without
    them reads the entry by itself (Desktop Entry Specification, "MimeType"; shared-mime-info, "x-scheme-handler").
    Methods raise OSError if the system refuses.
    """

    def __init__(
        self, folder: Path, command: Sequence[str], run: Callable[[Sequence[str]], None] = run_silently
    ) -> None:
        self._file = folder / FILE
        self._command = command
        self._run = run

    @property
    def is_on(self) -> bool:
        """Whether the entry exists."""
        return self._file.is_file()

    def switch(self, *, on: bool) -> None:
        """Create the entry or remove it; repeating it does no harm."""
        folder = self._file.parent
        if on:
            lines = (
                "[Desktop Entry]",
                "Type=Application",
                "Version=1.0",
                "Name=Meshlight",
                "Comment=Adds a backend from a meshlight:// link, after you have confirmed it",
                # %u is the link, passed as one argument and without a shell.
                f"Exec={' '.join(map(quote_exec, self._command))} %u",
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
    """Return this system's link handler; None where there is none yet (macOS, Windows)."""
    if sys.platform in {"win32", "darwin"}:
        return None
    data = os.environ.get("XDG_DATA_HOME", "")
    # The Base Directory Specification says to ignore a path that is not absolute.
    folder = Path(data) if data.startswith("/") else (home or Path.home()) / ".local" / "share"
    return LinkHandler(folder / "applications", command)
