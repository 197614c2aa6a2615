"""Starting at login: an entry where each system looks for it, made and removed by the menu; off by default."""

import os
import plistlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

NAME = "meshlight"
LABEL = "dev.meshlight.tray"
_RUN_KEY = r"Software\Microsoft\Windows\CurrentVersion\Run"


class Autostart(Protocol):
    """One system's way of starting a program at login. Methods raise OSError where the system refuses."""

    @property
    def is_on(self) -> bool:
        """Whether the entry is there."""
        ...

    def switch(self, *, on: bool) -> None:
        """Make the entry, or remove it; either twice does no harm."""
        ...


class DesktopEntry:
    """Linux and other freedesktop systems: a file in `~/.config/autostart`."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._file = folder / f"{NAME}.desktop"
        self._command = command

    @property
    def is_on(self) -> bool:
        """Whether the entry is there, and not switched off by the desktop's own settings."""
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return False
        said = {name.strip(): value.strip().lower() for name, _, value in (x.partition("=") for x in lines)}
        return said.get("Hidden") != "true" and said.get("X-GNOME-Autostart-enabled") != "false"

    def switch(self, *, on: bool) -> None:
        """Write the file or remove it."""
        if not on:
            self._file.unlink(missing_ok=True)
            return
        lines = (
            "[Desktop Entry]",
            "Type=Application",
            "Version=1.0",
            "Name=Meshlight",
            "Comment=Every language model you can reach, behind one local address",
            f"Exec={' '.join(map(quoted, self._command))}",
            "Icon=meshlight",
            "Terminal=false",
            "StartupNotify=false",
            "X-GNOME-Autostart-enabled=true",
        )
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("\n".join(lines) + "\n", "utf-8")


class LaunchAgent:
    """macOS: a property list in `~/Library/LaunchAgents`; it counts from the next login on."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._file = folder / f"{LABEL}.plist"
        self._command = command

    @property
    def is_on(self) -> bool:
        """Whether the property list is there."""
        return self._file.is_file()

    def switch(self, *, on: bool) -> None:
        """Write the property list or remove it."""
        if not on:
            self._file.unlink(missing_ok=True)
            return
        entry = {
            "Label": LABEL,
            "ProgramArguments": list(self._command),
            "RunAtLoad": True,
            "ProcessType": "Interactive",
            "LimitLoadToSessionType": "Aqua",
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(plistlib.dumps(entry))


class Registry(Protocol):
    """What is used of one key of the Windows registry."""

    def get(self, name: str) -> str | None:
        """Return a value, None if it is not there."""
        ...

    def set(self, name: str, value: str) -> None:
        """Write a value."""
        ...

    def remove(self, name: str) -> None:
        """Remove a value that may not be there."""
        ...


class RunEntry:
    """Windows: a value of the user's own Run key."""

    def __init__(self, registry: Registry, command: Sequence[str]) -> None:
        self._registry = registry
        self._command = command

    @property
    def is_on(self) -> bool:
        """Whether the value is there."""
        return self._registry.get("Meshlight") is not None

    def switch(self, *, on: bool) -> None:
        """Write the value or remove it."""
        if on:
            import subprocess  # noqa: PLC0415 - only for Windows' own rules of quoting

            self._registry.set("Meshlight", subprocess.list2cmdline(self._command))
        else:
            self._registry.remove("Meshlight")


def autostart_here(command: Sequence[str], home: Path | None = None) -> Autostart | None:
    """Return this system's way; None where there is none."""
    home = home or Path.home()
    if sys.platform == "win32":
        return RunEntry(RunKey(), command)
    if sys.platform == "darwin":
        return LaunchAgent(home / "Library" / "LaunchAgents", command)
    config = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification says that a path that is not absolute is to be left aside.
    folder = Path(config) if config.startswith("/") else home / ".config"
    return DesktopEntry(folder / "autostart", command)


if sys.platform == "win32":
    import winreg

    class RunKey:
        """The Run key of this user."""

        def get(self, name: str) -> str | None:
            """Return a value, None if it is not there."""
            try:
                with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _RUN_KEY) as key:
                    return str(winreg.QueryValueEx(key, name)[0])
            except FileNotFoundError:
                return None

        def set(self, name: str, value: str) -> None:
            """Write a value."""
            with winreg.CreateKey(winreg.HKEY_CURRENT_USER, _RUN_KEY) as key:
                winreg.SetValueEx(key, name, 0, winreg.REG_SZ, value)

        def remove(self, name: str) -> None:
            """Remove a value that may not be there."""
            try:
                with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _RUN_KEY, access=winreg.KEY_SET_VALUE) as key:
                    winreg.DeleteValue(key, name)
            except FileNotFoundError:
                return


def quoted(word: str) -> str:
    """Quote a word as the Desktop Entry Specification wants it in `Exec`."""
    for sign in ("\\", '"', "`", "$"):
        word = word.replace(sign, f"\\{sign}")
    # The value is a string of the file format besides, in which a backslash is doubled; % begins a field code.
    return f'"{word}"'.replace("\\", "\\\\").replace("%", "%%")
