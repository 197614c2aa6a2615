"""Packages tried as a person uses them: installed, started, asked, removed, and what is left compared with before."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dev_frozen
import dev_venv
from dev_venv import Failure, tail

LONGEST_S = 120.0
POLL_S = 0.2
LINK = "meshlight://add?kind=ollama&url=http://gpu.lan:11434"
NOT_RUNNING = 4
NOT_OURS = re.compile(
    r"^\.cache/|^\.config/(xfce4|dconf)/|^\.local/share/(uv/tools/\.|gvfs|recently)|/__pycache__/"
)
APP = Path("/Applications/Meshlight.app")
WINDOWS_KEYS = (
    r"Software\Classes\meshlight",
    r"Software\Microsoft\Windows\CurrentVersion\Run",
    r"Software\Microsoft\Windows\CurrentVersion\Uninstall\Meshlight",
    "Environment",
)


def with_uv(wheel: Path, picture: Path | None = None) -> str:
    """Install a wheel by `uv tool install` in a home on a virtual screen with Xfce's panel, use it, and remove it.

    Menu entry, icon, start at login and links are used by the desktop's own tools; `picture` gets the screen. Returns
    a line. Raises Failure.
    """
    with tempfile.TemporaryDirectory(prefix="meshlight-uv-") as folder, _desktop(Path(folder)) as environ:
        home = Path(folder) / "home"
        theirs = home / ".config" / "mimeapps.list"
        theirs.write_text("[Default Applications]\ntext/html=theirs.desktop\n", encoding="utf-8")
        at_first = listing(home)
        uv = [str(dev_venv.uv()), "tool"]
        constraints = ["--constraints", str(dev_venv.CONSTRAINTS)]
        _run(
            [
                *uv,
                "install",
                "--no-config",
                "--compile-bytecode",
                "--python",
                sys.executable,
                *constraints,
                str(wheel),
            ],
            environ,
        )
        installed = listing(home)
        meshlight = str(home / ".local" / "bin" / "meshlight")
        _run([meshlight, "selftest", "--need", "tray"], environ)
        for words in (["desktop", "--install"], ["login", "on"]):
            _run([meshlight, *words], environ)
        _check_entries(home, environ)
        _launch(["gio", "launch", str(home / ".config" / "autostart" / "meshlight.desktop")], environ)
        _wait("the service, started by the entry of the login", lambda: _answers(meshlight, environ))
        _launch(["gio", "open", LINK], environ)
        listens = home / ".local" / "state" / "meshlight" / "window.bell"
        _wait("the window that a link opens", lambda: _runs(environ, "window") and listens.exists())
        if picture is not None:
            grab = "import sys; from PIL import ImageGrab; ImageGrab.grab(xdisplay=sys.argv[1]).save(sys.argv[2])"
            _run(dev_venv.python("-c", grab, environ["DISPLAY"], str(picture)), environ)
        said = _run([meshlight, "uninstall", "--all", "--yes"], environ)
        _wait(
            "the end of all processes",
            lambda: not any(_runs(environ, word) for word in ("serve", "tray", "window")),
        )
        _compare("`meshlight uninstall --all`", installed, listing(home))
        _run([*uv, "uninstall", "meshlight"], environ)
        # uv keeps its own folders, and the panel has settings.
        _compare("`uv tool uninstall`", at_first, listing(home))
    removed = sum(line.startswith("Removed ") for line in said.splitlines())
    return (
        f"{wheel.name} works by `uv tool install`, and leaves the home as it was ({removed} things removed)."
    )


def listing(folder: Path) -> dict[str, str]:
    """Return the digest of each file and the target of each link below a folder.

    Without what the desktop writes by itself, uv's own lock, and modules that Python compiles at their first use.
    """
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and not NOT_OURS.search(name):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def setup(file: Path) -> str:
    """Install by the setup of Windows, use it, remove it; returns a line. Raises Failure."""
    place = Path(os.environ["LOCALAPPDATA"]) / "Programs" / "Meshlight"
    environ = dict(os.environ)
    menu = Path(os.environ["APPDATA"]) / "Microsoft" / "Windows" / "Start Menu" / "Programs" / "Meshlight.lnk"
    before = _registry()
    _run([str(file), "/S"], environ)
    _use(place / "meshlight.exe", environ)
    if not menu.is_file() or _registry() == before:
        raise Failure("the setup made no entry in the start menu, or none in the registry.")
    _run([str(file), "/S"], environ)  # over a running one: it must end that, and leave one program
    _use(place / "meshlight.exe", environ)
    _run([str(place / "uninstall.exe"), "/S"], environ)
    _wait("the end of the removal", lambda: not place.exists() and not menu.exists())
    if _registry() != before:
        raise Failure(f"the registry is not as before:\n{_registry()}\nwas:\n{before}")
    return f"{file.name} installs, works, and leaves nothing."


def app(dmg: Path) -> str:
    """Install the app of a .dmg, use it, remove it; returns a line. Raises Failure."""
    environ = dict(os.environ)
    agents = Path.home() / "Library" / "LaunchAgents"
    before = listing(agents)
    with tempfile.TemporaryDirectory(prefix="meshlight-dmg-") as folder:
        _run(["hdiutil", "attach", str(dmg), "-nobrowse", "-mountpoint", folder], environ)
        try:
            shutil.copytree(Path(folder) / APP.name, APP, symlinks=True)
        finally:
            _run(["hdiutil", "detach", folder], environ)
    program = APP / "Contents" / "MacOS" / "meshlight"
    try:
        _use(program, environ)
        _run([str(program), "uninstall", "--all", "--yes"], environ)
        _compare("the app", before, listing(agents))
    finally:
        shutil.rmtree(APP)
    return f"{dmg.name} installs, works, and leaves nothing."


def _use(program: Path, environ: Mapping[str, str]) -> None:
    """Try the installation, set it to start at login, and leave the service running."""
    _run([str(program), "selftest"], environ)
    _run([str(program), "login", "on"], environ)
    subprocess.Popen(
        [str(program), "serve", "--quiet"], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait("the service", lambda: _answers(str(program), environ))


@contextmanager
def _desktop(folder: Path) -> Iterator[dict[str, str]]:
    """Run a screen, a session bus and a panel with a home of their own; yields the variables of a session there."""
    home, runtime = folder / "home", folder / "runtime"
    (home / ".config").mkdir(parents=True)
    runtime.mkdir(mode=0o700)
    environ = dev_frozen.person(home, os.environ)
    environ["PATH"] = f"{home}/.local/bin:{os.environ['PATH']}"
    environ |= {
        "XDG_RUNTIME_DIR": str(runtime), "XDG_CURRENT_DESKTOP": "XFCE", "LC_ALL": "C.UTF-8",
        "UV_CACHE_DIR": str(folder / "uv"), "UV_PYTHON_DOWNLOADS": "never", "NO_AT_BRIDGE": "1",
    }  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []
    try:
        environ["DISPLAY"] = f":{_started(running, ['Xvfb', '-displayfd', '1', '-nolisten', 'tcp'], environ)}"
        environ["DBUS_SESSION_BUS_ADDRESS"] = _started(
            running, ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"], environ
        )
        panel = ["xfce4-panel", "--disable-wm-check"]
        running.append(
            subprocess.Popen(panel, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        _wait("the panel", lambda: "StatusNotifierWatcher" in _run(["dbus-send", "--session", "--print-reply",
            "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.ListNames"], environ))  # fmt: skip
        yield environ
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _started(
    running: list[subprocess.Popen[bytes]], command: Sequence[str], environ: Mapping[str, str]
) -> str:
    """Start a server that prints its address; returns that."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    running.append(process)
    assert process.stdout is not None  # noqa: S101 - as the line above says
    return process.stdout.readline().decode().strip()


def _check_entries(home: Path, environ: Mapping[str, str]) -> None:
    """Let the desktop's own tools judge the entries and find the icon. Raises Failure."""
    data = home / ".local" / "share"
    for entry in (*data.glob("applications/*.desktop"), *(home / ".config" / "autostart").iterdir()):
        _run(["desktop-file-validate", str(entry)], environ)
    if "meshlight-link.desktop" not in _run(["gio", "mime", "x-scheme-handler/meshlight"], environ):
        raise Failure("links of meshlight:// are not opened by it.")
    look = (
        "import gi; gi.require_version('Gtk', '3.0'); from gi.repository import Gtk, Gio\n"
        "icon = Gtk.IconTheme.get_default().lookup_icon('meshlight', 48, 0)\n"
        "print(icon and icon.get_filename(), *(app.get_id() for app in Gio.AppInfo.get_all() if app.should_show()))"
    )
    said = _run(["/usr/bin/python3", "-c", look], environ).split()
    if not said[0].startswith(str(data)) or "meshlight.desktop" not in said:
        raise Failure(f"the desktop finds no icon or no entry of Meshlight: {' '.join(said[:5])}")


def _answers(program: str, environ: Mapping[str, str]) -> bool:
    done = subprocess.run([program, "status"], env=environ, capture_output=True, check=False)
    return done.returncode < NOT_RUNNING


def _runs(environ: Mapping[str, str], word: str) -> bool:
    """Whether a program of Meshlight with this command runs in the session of these variables."""
    mark = f"XDG_RUNTIME_DIR={environ['XDG_RUNTIME_DIR']}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"meshlight" in words and word.encode() in words and mark in (folder / "environ").read_bytes():
                return True
        except OSError:
            continue
    return False


def _registry() -> str:
    """Return what `reg query` says of the keys that the setup writes to."""
    done = [
        subprocess.run(["reg", "query", rf"HKCU\{key}", "/s"], capture_output=True, text=True, check=False)
        for key in WINDOWS_KEYS
    ]
    return "\n".join(one.stdout for one in done)


def _compare(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise Failure for a file that is new, gone or changed."""
    new = [f"new: {name}" for name in after.keys() - before.keys()]
    gone = [f"gone: {name}" for name in before.keys() - after.keys()]
    changed = [f"changed: {name}" for name in before.keys() & after.keys() if before[name] != after[name]]
    if new or gone or changed:
        raise Failure(
            f"after {what} the files are not as before:\n{tail(chr(10).join(new + gone + changed))}"
        )


def _wait(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so. Raises Failure."""
    until = time.monotonic() + LONGEST_S
    while not is_so():
        if time.monotonic() > until:
            raise Failure(f"not seen within {LONGEST_S:g} s: {what}.")
        time.sleep(POLL_S)


def _launch(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Start a program by the desktop; it inherits no pipe of ours, whose end would be waited for. Raises Failure."""
    done = subprocess.run(
        command, check=False, env=environ, timeout=60,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)} failed.")


def _run(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Run a program to its end; returns what it said. Raises Failure."""
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=environ, timeout=600
    )
    if done.returncode != 0:
        raise Failure(
            f"{' '.join([Path(command[0]).name, *command[1:]])} failed:\n{tail(done.stdout + done.stderr)}"
        )
    return done.stdout
