"""Meshlight's entry in the desktop's menu of applications, and its icons, for one user or for a package."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from meshlight.desktop.system.autostart import NAME, desktop_entry
from meshlight.desktop.system.files_made import remove
from meshlight.desktop.system.url_handler import remove_empty_cache, run_silently

FILE: Final = "meshlight.desktop"
ICON_SIZES: Final = (16, 22, 24, 32, 48, 64, 128, 256, 512)
"""In pixels; the theme "hicolor" of every freedesktop system has folders for these."""


class MenuEntry(Protocol):
    """The entry of one system. Methods raise OSError if the system refuses."""

    @property
    def is_on(self) -> bool:
        """Whether the entry exists."""
        ...

    def switch(self, *, on: bool) -> list[Path]:
        """Create or remove it; returns the files that were created or removed. Repeating it does no harm."""
        ...


class FreedesktopMenuEntry:
    """A desktop entry in `applications`, with icons in the theme "hicolor", in one folder of shared data."""

    def __init__(
        self,
        data: Path,
        command: Sequence[str],
        run: Callable[[Sequence[str]], None] = run_silently,
        stop: Path | None = None,
    ) -> None:
        """`data` is such as `~/.local/share`; folders that get empty are removed up to `stop`, which stays."""
        self._data = data
        self._command = command
        self._run = run
        self._stop = data if stop is None else stop
        self._file = data / "applications" / FILE

    @property
    def is_on(self) -> bool:
        """Whether the entry exists."""
        return self._file.is_file()

    def switch(self, *, on: bool) -> list[Path]:
        """Write the entry and the icons, or remove them."""
        files = self._write() if on else remove([self._file, *self._icons()], self._stop)
        # The cache of the icons is left alone: a theme's folder without one is read as it is.
        self._run(["update-desktop-database", str(self._file.parent)])
        if not on:
            remove_empty_cache(self._file.parent, self._stop)
        return files

    def _write(self) -> list[Path]:
        from meshlight.desktop.tray.app_icon import app_icon, svg  # noqa: PLC0415 -- loads Pillow

        *pngs, vector = self._icons()
        for size, png in zip(ICON_SIZES, pngs, strict=True):
            png.parent.mkdir(parents=True, exist_ok=True)
            app_icon(size).save(png, optimize=True)
        vector.parent.mkdir(parents=True, exist_ok=True)
        vector.write_text(svg(), "utf-8")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(entry_text(self._command), "utf-8")
        return [self._file, *pngs, vector]

    def _icons(self) -> list[Path]:
        theme = self._data / "icons" / "hicolor"
        pngs = [theme / f"{size}x{size}" / "apps" / "meshlight.png" for size in ICON_SIZES]
        return [*pngs, theme / "scalable" / "apps" / "meshlight.svg"]


def entry_text(command: Sequence[str]) -> str:
    """Return the text of the menu entry."""
    return desktop_entry(
        command,
        "GenericName=Language Model Router",
        "Categories=Network;",
        "Keywords=LLM;AI;OpenAI;Ollama;llama.cpp;",
        "StartupNotify=true",
        f"StartupWMClass={NAME}",
    )


def menu_entry_here(command: Sequence[str], home: Path | None = None) -> MenuEntry | None:
    """Return this system's menu entry; None on macOS and Windows, where the app or its setup makes it."""
    if sys.platform in {"win32", "darwin"}:
        return None
    home = home or Path.home()
    return FreedesktopMenuEntry(data_folder(home), command, stop=home)


def data_folder(home: Path) -> Path:
    """Return the folder for this user's shared data."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # The Base Directory Specification says to ignore a path that is not absolute.
    return Path(data) if data.startswith("/") else home / ".local" / "share"
