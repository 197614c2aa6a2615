"""Programs of the system that the tests need: installed where we may, named where we may not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev_venv import tail, tool


@dataclass(frozen=True)
class Program:
    """One program: the names it may have on PATH, whole paths it may have besides, and who provides it."""

    names: tuple[str, ...]
    apt: tuple[str, ...]
    brew: str
    use: str
    paths: tuple[str, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether one of its names is on PATH or one of its paths exists."""
        return any(tool(name) for name in self.names) or any(Path(path).exists() for path in self.paths)


CHROMIUM = Program(
    names=("chromium", "chromium-browser", "google-chrome", "chrome"),
    paths=(
        "/Applications/Google Chrome.app",
        "/Applications/Chromium.app",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    ),
    apt=("chromium",),
    brew="--cask chromium",
    use="the tests of the page",
)
WEBDRIVER = Program(
    names=("WebKitWebDriver",),
    apt=("webkit2gtk-driver",),
    brew="safari",
    use="the test of the page in the window's engine",
)
NODE = Program(
    names=("node",),
    apt=("nodejs",),
    brew="node",
    use="the page's own unit tests, and the agents that are tried",
)
NPM = Program(names=("npm", "npm.cmd"), apt=("npm",), brew="node", use="the type check of the page")
NGINX = Program(
    names=("nginx",),
    paths=("/usr/sbin/nginx",),
    apt=("nginx-light",),
    brew="nginx",
    use="the bench: what we are compared to",
)
HAPROXY = Program(
    names=("haproxy",), paths=("/usr/sbin/haproxy",), apt=("haproxy",), brew="haproxy",
    use="the bench: what we are compared to",
)  # fmt: skip
WRK = Program(names=("wrk",), apt=("wrk",), brew="wrk", use="the bench: the load")
DBUS = Program(names=("dbus-daemon",), apt=("dbus-daemon",), brew="dbus", use="the tests of the tray")
XVFB = Program(
    names=("Xvfb",), apt=("xvfb",), brew="--cask xquartz", use="the tests of the tray and the window"
)
XCLIP = Program(names=("xclip",), apt=("xclip",), brew="xclip", use="the test of the clipboard")
INDICATOR = Program(
    names=("AyatanaAppIndicator3",),
    paths=tuple(
        f"/usr/{folder}/girepository-1.0/AyatanaAppIndicator3-0.1.typelib"
        for folder in ("lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib")
    ),
    apt=("python3-gi", "gir1.2-gtk-3.0", "gir1.2-ayatanaappindicator3-0.1"),
    brew="pygobject3",
    use="the test of pystray's own way to the tray",
)
WEBKIT = Program(
    names=("WebKit2-4.1.typelib",),
    paths=tuple(
        f"/usr/{folder}/girepository-1.0/WebKit2-4.1.typelib"
        for folder in ("lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib")
    ),
    apt=("python3-gi", "gir1.2-gtk-3.0", "gir1.2-webkit2-4.1"),
    brew="pygobject3",
    use="the test of the window",
)
KEYRING = Program(
    names=("gnome-keyring-daemon",),
    apt=("gnome-keyring",),
    brew="gnome-keyring",
    use="the tests of the keyring",
)
IPROUTE = Program(
    names=("ip",),
    paths=("/usr/sbin/ip", "/sbin/ip"),
    apt=("iproute2",),
    brew="iproute2mac",
    use="the tests of several machines on a network",
)
STRIP = {
    architecture: Program(
        names=(f"{machine}-linux-gnu-strip",),
        apt=(f"binutils-{machine.replace('_', '-')}-linux-gnu",),
        brew="binutils",
        use=f"packages for {architecture}",
    )
    for architecture, machine in (("amd64", "x86_64"), ("arm64", "aarch64"))
}


def compiler(name: str) -> Program:
    """Return the C compiler that a Python names for its extension modules."""
    return Program(
        names=(name,), apt=("gcc", "libc6-dev"), brew="gcc", use="the compiled modules (dev.py compile)"
    )  # fmt: skip


MICROSOFT = Program(
    names=("cl",),
    paths=(r"C:\Program Files (x86)\Microsoft Visual Studio\Installer\vswhere.exe",),
    apt=(),
    brew="",
    use="the compiled modules (dev.py compile)",
)
"""Microsoft's compiler, which setuptools finds by its installer."""


def headers(folder: Path, version: str) -> Program:
    """Return the headers of a Python whose folder for them is `folder`; apt has those of its own Python only."""
    return Program(
        names=("Python.h",),
        paths=(str(folder / "Python.h"),),
        apt=(f"python{version}-dev",),
        brew=f"python@{version}",
        use="the compiled modules (dev.py compile)",
    )


NSIS = Program(names=("makensis",), apt=("nsis",), brew="makensis", use="the setup for Windows")
SEVEN_ZIP = Program(
    names=("7z", "7zz"), apt=("p7zip-full",), brew="sevenzip", use="a look into the setup for Windows"
)
RPMBUILD = Program(names=("rpmbuild",), apt=("rpm",), brew="rpm", use="packages for Fedora")
DEBOOTSTRAP = Program(
    names=("debootstrap",),
    paths=("/usr/sbin/debootstrap",),
    apt=("debootstrap",),
    brew="debootstrap",
    use="the test of a package in a clean system",
)
DESKTOP_FILES = Program(
    names=("desktop-file-validate",),
    apt=("desktop-file-utils",),
    brew="desktop-file-utils",
    use="the test of the entry in the menu",
)
PANEL = Program(
    names=("xfce4-panel",),
    apt=("xfce4-panel", "libglib2.0-bin", "xdg-utils"),
    brew="xfce4-panel",
    use="the try of the wheel on a desktop",
)
TRAY = (DBUS, XVFB, XCLIP, INDICATOR, WEBKIT, KEYRING, DESKTOP_FILES)
"""What plays a Linux desktop: its panel, its windows, its keyring."""


def provide(wanted: Sequence[Program]) -> list[str]:
    """Install what is missing where that is possible without asking; say the rest.

    Returns one sentence for each program that is still missing, with the command that would bring it.
    """
    missing = [program for program in wanted if not program.is_here]
    if not missing:
        return []
    packages = [package for program in missing for package in program.apt]
    root = _apt_as_root()
    words = ""
    if root is not None:
        print(f"Installing {', '.join(packages)} with apt …")
        words = _apt(root, packages)
    left = [program for program in missing if not program.is_here]
    if left and words:
        print(f"apt could not install it:\n{words}", file=sys.stderr)
    return [
        f"{program.names[0]} is missing, needed for {program.use}: {_advice(program)}" for program in left
    ]


def _apt_as_root() -> list[str] | None:
    """Return what to put before apt-get to run it as root unasked; None where that can't be done."""
    if sys.platform != "linux" or tool("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if (
        tool("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def _apt(root: Sequence[str], packages: Sequence[str]) -> str:
    """Refresh apt's lists once and install; return apt's last words if it failed, else nothing."""
    said = ""
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        command = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = tail(done.stdout + done.stderr, 10)  # a failed update may still leave a usable older list
    return said


def _advice(program: Program) -> str:
    if sys.platform == "darwin":
        return f"brew install {program.brew}"
    if sys.platform == "win32":
        return f"install {program.names[0]} and put it on PATH"
    return f"sudo apt-get install {' '.join(program.apt)} (or your distribution's package of it)"
