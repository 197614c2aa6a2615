"""Starts other processes of Meshlight (with this Python or the frozen program, never by fork).

A child gets the local key by its standard input if only our environment has it, and ends when its parent ends.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from meshlight.domain.private_variables import KEY, OWN_VARIABLES, is_private, store_key

HOLDS_STDIN: Final = {"MESHLIGHT_PARENT": "stdin"}
"""Tells a child that its parent holds its standard input open for as long as the parent lives."""
HAS_KEY: Final = {"MESHLIGHT_KEY_IS_TOLD": "stdin"}
"""Tells a child that the local key is the first line of its standard input."""
_MAX_KEY_BYTES: Final = 600


_LOADER_VARIABLES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Where a frozen program makes its own libraries be found; the system's programs must not load those."""


def program(*arguments: str, windowed: bool = False) -> list[str]:
    """Return the command line of `meshlight` with these arguments.

    `windowed` is for what has a window or an icon and no terminal: on Windows, another program of the installation
    then runs it without a console.
    """
    is_frozen = getattr(sys, "frozen", False)
    own = Path(sys.executable)
    if windowed and sys.platform == "win32":
        # The setup has it beside the folder of its Python; a frozen program beside the other one.
        launcher = (own if is_frozen else own.parent).with_name("meshlightw.exe")
        if launcher.is_file():
            return [str(launcher), *arguments]
        own = next((file for file in (own.with_name("pythonw.exe"),) if file.is_file()), own)
    if is_frozen:
        return [sys.executable, *arguments]
    # -P: a folder called "meshlight" (or "http") in the working directory must not be imported instead of ours.
    return [str(own), "-P", "-m", "meshlight", *arguments]


def restore_loader_variables(environ: MutableMapping[str, str] = os.environ) -> None:
    """Undo what a frozen program's starter did to the search for libraries, so that no child inherits it."""
    if not getattr(sys, "frozen", False):
        return
    for name in _LOADER_VARIABLES:
        environ.pop(name, None)
        original = environ.pop(f"{name}_ORIG", "")
        if original:
            environ[name] = original


def detached_options() -> dict[str, Any]:
    """Return arguments for `subprocess.Popen` so that Ctrl-C in our terminal doesn't reach the child."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def environment(extra: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables for a child: ours without secrets and without those meant for us alone, plus `extra`."""
    inherited = {
        name: value
        for name, value in environ.items()
        if name not in HOLDS_STDIN and name not in HAS_KEY and not is_private(name)
    }
    return inherited | dict(extra)


def service_environment(
    extra: Mapping[str, str], environ: Mapping[str, str] = OWN_VARIABLES
) -> dict[str, str]:
    """Return the variables for the service, including secrets, which only the service needs."""
    secret = {name: value for name, value in environ.items() if is_private(name)}
    return environment(extra, environ) | secret


def start_detached(command: Sequence[str]) -> None:
    """Start a Meshlight program that outlives us; it gets the local key if only our environment has it."""
    key = OWN_VARIABLES.get(KEY, "")
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        command,
        stdin=subprocess.PIPE if key else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(HAS_KEY if key else {}),
        **detached_options(),
    )
    if process.stdin is not None:
        with suppress(OSError), process.stdin:
            send_key(process.stdin, key)
    process.returncode = 0  # it runs on alone: nothing waits for it, and Popen must not warn about that


def send_key(stdin: IO[bytes], key: str) -> None:
    """Write the local key to a child that is started with `HAS_KEY`; raises OSError."""
    stdin.write(f"{key}\n".encode())
    stdin.flush()


def receive_key(environ: MutableMapping[str, str] = os.environ, stdin: int = 0) -> None:
    """Read the local key from standard input, if the process that started us announced it (`HAS_KEY`)."""
    if not all(environ.pop(name, "") == value for name, value in HAS_KEY.items()):
        return
    line = b""
    # Byte by byte, as the rest of the input is not ours to read.
    while len(line) < _MAX_KEY_BYTES and (byte := os.read(stdin, 1)) not in {b"", b"\n"}:
        line += byte
    store_key(line.decode("ascii", "replace"))


STDIN: Final = 0


def end_with_parent(
    end: Callable[[], None], environ: Mapping[str, str] = os.environ, stdin: int = STDIN
) -> None:
    """Call `end`, from a thread, when the parent that holds our standard input open (`HOLDS_STDIN`) has ended."""
    if environ.get("MESHLIGHT_PARENT") != "stdin":
        return

    def watch() -> None:
        # Not by sys.stdin: a thread that waits in it makes the interpreter abort on exit.
        while os.read(stdin, 4096):
            pass
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
