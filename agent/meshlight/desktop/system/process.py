"""How to start another process of Meshlight: with this Python or with the frozen program, never by fork.

Ending with the process that started us, in whatever way that one ends.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import IO, Any, Final

from meshlight.domain.private_variables import KEY, OWN_VARIABLES, is_private, store_key

HOLDS_STDIN: Final = {"MESHLIGHT_PARENT": "stdin"}
"""Tells a child that its standard input is held open for as long as its parent lives."""
HAS_KEY: Final = {"MESHLIGHT_KEY_IS_TOLD": "stdin"}
"""Tells a child that the local key is the first line of its standard input."""
_LONGEST_KEY: Final = 600


def program(*words: str) -> list[str]:
    """Return the command line of `meshlight` with these words."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *words]
    # -P: a folder called "meshlight" (or "http") where the tray was started must not be taken for ours.
    return [sys.executable, "-P", "-m", "meshlight", *words]


def apart() -> dict[str, Any]:
    """Return what `subprocess.Popen` needs so that our terminal's Ctrl-C leaves a child alone."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def environment(more: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables for a child: ours, without what is secret or was meant for us alone, and `more`."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in HOLDS_STDIN and name not in HAS_KEY and not is_private(name)
    }
    return kept | dict(more)


def service_environment(
    more: Mapping[str, str], environ: Mapping[str, str] = OWN_VARIABLES
) -> dict[str, str]:
    """Return the variables for the service, which alone needs the secrets that they hold."""
    secret = {name: value for name, value in environ.items() if is_private(name)}
    return environment(more, environ) | secret


def start_apart(command: Sequence[str]) -> None:
    """Start a program of ours that outlives us; it is told the local key if only our own variables hold it."""
    key = OWN_VARIABLES.get(KEY, "")
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        command,
        stdin=subprocess.PIPE if key else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(HAS_KEY if key else {}),
        **apart(),
    )
    if process.stdin is not None:
        with suppress(OSError), process.stdin:
            tell_key(process.stdin, key)
    process.returncode = 0  # it is left alone: there is nothing to wait for, and nothing to warn of


def tell_key(stdin: IO[bytes], key: str) -> None:
    """Write the local key to a child that is started with `HAS_KEY`; raises OSError."""
    stdin.write(f"{key}\n".encode())
    stdin.flush()


def hear_key(environ: MutableMapping[str, str] = os.environ, stdin: int = 0) -> None:
    """Take the local key from who started us, if it says that it tells us."""
    if not all(environ.pop(name, "") == value for name, value in HAS_KEY.items()):
        return
    line = b""
    # Letter by letter: what follows on it is not ours to read.
    while len(line) < _LONGEST_KEY and (letter := os.read(stdin, 1)) not in {b"", b"\n"}:
        line += letter
    store_key(line.decode("ascii", "replace"))


STDIN: Final = 0


def end_with_parent(
    end: Callable[[], None], environ: Mapping[str, str] = os.environ, stdin: int = STDIN
) -> None:
    """Call `end`, from a thread, when the parent that says it holds our standard input open is gone."""
    if environ.get("MESHLIGHT_PARENT") != "stdin":
        return

    def watch() -> None:
        # Not by sys.stdin: a thread that waits inside of it makes the interpreter abort at its end.
        while os.read(stdin, 4096):
            pass
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
