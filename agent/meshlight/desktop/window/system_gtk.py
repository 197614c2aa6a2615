"""Makes GTK's Python modules of the Linux distribution importable in a virtual environment of the same Python.

And what GTK is told and asked before its first window.
"""

import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

MODULES: Final = frozenset({"gi", "cairo"})
"""No other module of the distribution is importable, so that none of our libraries is replaced by an older one."""
_VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SYSTEM_FOLDERS: Final = tuple(
    Path(folder)
    for folder in (
        "/usr/lib/python3/dist-packages",
        f"/usr/lib64/{_VERSION}/site-packages",
        f"/usr/lib/{_VERSION}/site-packages",
    )
)


class SystemModuleFinder:
    """An import finder for `MODULES` in one folder, used after all other finders."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module (the interface of `importlib`)."""
        return (
            PathFinder.find_spec(name, [self._folder], target) if path is None and name in MODULES else None
        )


def use_system_gtk(folders: Sequence[Path] = SYSTEM_FOLDERS) -> bool:
    """Make `import gi` work if the distribution has it for this Python version; returns whether it works."""
    if find_spec("gi") is not None:
        return True
    if sys.platform != "linux":
        return False
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for folder in folders:
        if (folder / "gi" / f"_gi{suffix}").is_file():
            sys.meta_path.append(SystemModuleFinder(folder))
            return True
    return False


def name_windows(name: str) -> None:
    """Give GTK's windows the name and icon of the menu entry `name`, by which desktops know whose they are.

    Before GTK starts. Raises ImportError, ValueError without GTK 3.
    """
    import gi  # noqa: PLC0415 - the distribution's, see above

    gi.require_version("Gtk", "3.0")
    from gi.repository import GLib  # noqa: PLC0415 - the same

    GLib.set_prgname(name)  # WM_CLASS, and the app id on Wayland; without it, the name of the script
    from gi.repository import Gtk  # noqa: PLC0415 - starts GTK

    Gtk.Window.set_default_icon_name(name)


def has_dark_theme() -> bool:
    """Whether WebKit will tell the page that a dark look is preferred; for what is shown before its first paint."""
    from gi.repository import Gtk  # noqa: PLC0415 - the same

    settings = Gtk.Settings.get_default()
    if settings is None:
        return True
    theme = settings.get_property("gtk-theme-name") or ""
    return settings.get_property("gtk-application-prefer-dark-theme") or theme.lower().endswith("-dark")
