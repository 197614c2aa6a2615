"""Registers Meshlight on a freedesktop system as the program that opens `meshlight://` links."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from meshlight.desktop.system.autostart import desktop_entry
from meshlight.desktop.system.files_made import remove, remove_empty

SCHEME_TYPE = "x-scheme-handler/meshlight"
FILE = "meshlight-link.desktop"
_TIMEOUT_S = 10.0
_OURS_ALONE = "\0"
"""Stands for a removed line that came first in its section."""


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
        self,
        folder: Path,
        command: Sequence[str],
        run: Callable[[Sequence[str]], None] = run_silently,
        *,
        defaults: Path | None = None,
        stop: Path | None = None,
    ) -> None:
        """`defaults` is the user's `mimeapps.list`; folders that get empty are removed up to `stop`, which stays."""
        self._file = folder / FILE
        self._command = command
        self._run = run
        self._defaults = defaults
        self._stop = folder if stop is None else stop

    @property
    def is_on(self) -> bool:
        """Whether the entry exists."""
        return self._file.is_file()

    def switch(self, *, on: bool) -> list[Path]:
        """Create the entry or remove it, and return the files that changed; repeating it does no harm."""
        folder = self._file.parent
        if on:
            folder.mkdir(parents=True, exist_ok=True)
            self._file.write_text(handler_text(self._command), "utf-8")
            self._run(["update-desktop-database", str(folder)])
            self._run(["xdg-mime", "default", FILE, SCHEME_TYPE])
            return [self._file]
        is_there = self._file.is_file()
        self._file.unlink(missing_ok=True)
        self._run(["update-desktop-database", str(folder)])
        remove_empty_cache(folder, self._stop)
        changed = [self._file] if is_there else []
        if self._defaults is not None and _forget_default(self._defaults, self._stop):
            changed.append(self._defaults)
        return changed


def handler_text(command: Sequence[str]) -> str:
    """Return the text of the desktop entry that opens links."""
    return desktop_entry(
        command,
        "NoDisplay=true",
        f"MimeType={SCHEME_TYPE};",
        field_code="%u",  # the link, passed as one argument and without a shell
        comment="Adds a backend from a meshlight:// link, after you have confirmed it",
    )


def remove_empty_cache(folder: Path, stop: Path) -> None:
    """Remove the cache that `update-desktop-database` leaves in a folder without entries, and the empty folder."""
    cache = folder / "mimeinfo.cache"
    if cache.is_file() and [file.name for file in folder.iterdir()] == [cache.name]:
        remove([cache], stop)
    remove_empty(folder, stop)


def without_default(text: str) -> str:
    """Return the text of a `mimeapps.list` without our entry, and without the section that it alone was in."""
    kept: list[str] = []
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if not equals or name.strip() != SCHEME_TYPE:
            kept.append(line)
        elif others := [one for one in value.split(";") if one.strip() not in {"", FILE}]:
            kept.append(f"{name}={';'.join(others)};" if FILE in value else line)
        elif kept and kept[-1].startswith("["):
            kept.append(_OURS_ALONE)
    result: list[str] = []
    for place, line in enumerate(kept):
        if line != _OURS_ALONE:
            result.append(line)
            continue
        rest = next((other for other in kept[place + 1 :] if other.strip()), "[")
        if rest.startswith("["):  # nothing else is in this section: xdg-mime wrote it, after an empty line
            result.pop()
            if result and not result[-1]:
                result.pop()
    return "\n".join(result)


def _forget_default(file: Path, stop: Path) -> bool:
    """Remove our entry from a `mimeapps.list`; returns whether there was one."""
    try:
        text = file.read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    if FILE not in text:
        return False
    left = without_default(text)
    if not left.strip():
        remove([file], stop)
        return True
    target = file.resolve()  # it may be a link into a folder of dotfiles
    new = target.with_name(f"{target.name}.meshlight")
    new.write_text(left, "utf-8", "surrogateescape")
    new.replace(target)
    return True


def link_handler_here(command: Sequence[str], home: Path | None = None) -> LinkHandler | None:
    """Return this system's link handler; None where there is none yet (macOS, Windows)."""
    if sys.platform in {"win32", "darwin"}:
        return None
    data = os.environ.get("XDG_DATA_HOME", "")
    # The Base Directory Specification says to ignore a path that is not absolute.
    home = home or Path.home()
    folder = Path(data) if data.startswith("/") else home / ".local" / "share"
    config = os.environ.get("XDG_CONFIG_HOME", "")
    defaults = (Path(config) if config.startswith("/") else home / ".config") / "mimeapps.list"
    return LinkHandler(folder / "applications", command, defaults=defaults, stop=home)
