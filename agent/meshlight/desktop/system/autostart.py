"""Start at login: an entry in the place that each system reads, created and removed by the tray's menu."""

import os
import plistlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from meshlight.desktop.system.files_made import remove

NAME = "meshlight"
LABEL = "dev.meshlight.tray"
_RUN_KEY = r"Software\Microsoft\Windows\CurrentVersion\Run"


class Autostart(Protocol):
    """One system's entry for programs that start at login. Methods raise OSError if the system refuses."""

    @property
    def is_on(self) -> bool:
        """Whether the entry exists."""
        ...

    def switch(self, *, on: bool) -> None:
        """Create the entry or remove it; repeating it does no harm."""
        ...


class DesktopEntry:
    """Linux and other freedesktop systems: a file in `~/.config/autostart`."""

    def __init__(self, folder: Path, command: Sequence[str], stop: Path | None = None) -> None:
        """Folders that get empty are removed up to `stop`, which stays."""
        self._file = folder / f"{NAME}.desktop"
        self._command = command
        self._stop = folder.parent if stop is None else stop

    @property
    def is_on(self) -> bool:
        """Whether the entry exists and is not disabled in the desktop's own settings."""
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return False
        values = {name.strip(): value.strip().lower() for name, _, value in (x.partition("=") for x in lines)}
        return values.get("Hidden") != "true" and values.get("X-GNOME-Autostart-enabled") != "false"

    def switch(self, *, on: bool) -> None:
        """Write the file or remove it."""
        if not on:
            remove([self._file], self._stop)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        text = desktop_entry(self._command, "StartupNotify=false", "X-GNOME-Autostart-enabled=true")
        self._file.write_text(text, "utf-8")


class LaunchAgent:
    """macOS: a property list in `~/Library/LaunchAgents`, which applies from the next login on."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._file = folder / f"{LABEL}.plist"
        self._command = command

    @property
    def is_on(self) -> bool:
        """Whether the property list exists."""
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
    """The access to one key of the Windows registry (`RunKey`, or a fake in tests)."""

    def get(self, name: str) -> str | None:
        """Return a value, or None if it is missing."""
        ...

    def set(self, name: str, value: str) -> None:
        """Write a value."""
        ...

    def remove(self, name: str) -> None:
        """Remove a value, which may be missing."""
        ...


class RunEntry:
    """Windows: a value of the user's own Run key."""

    def __init__(self, registry: Registry, command: Sequence[str]) -> None:
        self._registry = registry
        self._command = command

    @property
    def is_on(self) -> bool:
        """Whether the value exists."""
        return self._registry.get("Meshlight") is not None

    def switch(self, *, on: bool) -> None:
        """Write the value or remove it."""
        if on:
            import subprocess  # noqa: PLC0415 - only for Windows' quoting rules

            self._registry.set("Meshlight", subprocess.list2cmdline(self._command))
        else:
            self._registry.remove("Meshlight")


def autostart_here(command: Sequence[str], home: Path | None = None) -> Autostart | None:
    """Return this system's autostart entry for a command; None where it is not supported."""
    home = home or Path.home()
    if sys.platform == "win32":
        return RunEntry(RunKey(), command)
    if sys.platform == "darwin":
        return LaunchAgent(home / "Library" / "LaunchAgents", command)
    config = os.environ.get("XDG_CONFIG_HOME", "")
    # The Base Directory Specification says to ignore a path that is not absolute.
    folder = Path(config) if config.startswith("/") else home / ".config"
    return DesktopEntry(folder / "autostart", command, stop=home)


if sys.platform == "win32":
    import winreg

    class RunKey:
        """The Run key of this user."""

        def get(self, name: str) -> str | None:
            """Return a value, or None if it is missing."""
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
            """Remove a value, which may be missing."""
            try:
                with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _RUN_KEY, access=winreg.KEY_SET_VALUE) as key:
                    winreg.DeleteValue(key, name)
            except FileNotFoundError:
                return


def desktop_entry(
    command: Sequence[str],
    *lines: str,
    field_code: str = "",
    comment: str = "Every language model you can reach, behind one local address",
) -> str:
    """Return a desktop entry that runs a command, with further `lines`; `field_code` is its last argument (`%u`)."""
    execute = " ".join([*map(quote_exec, command), *([field_code] if field_code else [])])
    entry = (
        "[Desktop Entry]",
        "Type=Application",
        "Version=1.0",
        f"Name={NAME.capitalize()}",
        f"Comment={comment}",
        # Desktops ignore the entry once the program is gone.
        f"TryExec={command[0]}".replace("\\", "\\\\"),
        f"Exec={execute}",
        f"Icon={NAME}",
        "Terminal=false",
        *lines,
    )
    return "\n".join(entry) + "\n"


def quote_exec(argument: str) -> str:
    """Quote an argument for `Exec` as the Desktop Entry Specification demands."""
    for character in ("\\", '"', "`", "$"):
        argument = argument.replace(character, f"\\{character}")
    # The file format doubles each backslash once more; % starts a field code.
    return f'"{argument}"'.replace("\\", "\\\\").replace("%", "%%")
