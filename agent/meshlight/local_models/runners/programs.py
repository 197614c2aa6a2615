"""Programs on this machine: where they are, and what they say when they are asked something short."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from meshlight.local_models.child_process import end_process

ANSWER_TIMEOUT_S: Final = 10.0
"""Seconds for a question; the first start of a program with GPU libraries is slow."""
ANSWER_BYTES: Final = 65_536


class Answer(Struct, frozen=True):
    """What a program said; `exit_code` is None if it did not start, or not end in time."""

    exit_code: int | None
    text: str = ""


Ask = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Answer]]
"""Runs a command with this environment, and returns what it said on both outputs; never raises."""


async def ask(argv: Sequence[str], environ: Mapping[str, str]) -> Answer:
    """See `Ask`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            cwd=neutral_folder(),
            limit=ANSWER_BYTES,
            start_new_session=sys.platform != "win32",
        )
    except (OSError, ValueError):
        return Answer(None)
    read = bytearray()
    output = process.stdout or asyncio.StreamReader()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while (data := await output.read(4096)) and len(read) < ANSWER_BYTES:
                read += data
            if data:  # it says more than anybody reads
                process.kill()
            return Answer(await process.wait(), read.decode("utf-8", "replace"))
    except TimeoutError:
        return Answer(None, read.decode("utf-8", "replace"))
    finally:
        await end_process(process)


def neutral_folder() -> str:
    """Return a working directory from which no program loads anything: the root of the file system."""
    return Path(sys.executable or os.sep).anchor or os.sep


def usual_folders(environ: Mapping[str, str], system: str = sys.platform) -> tuple[str, ...]:
    """Return where programs are that a service started by the desktop doesn't have on its PATH."""
    if system == "win32":
        local = environ.get("LOCALAPPDATA", "")
        return (str(Path(local) / "Microsoft" / "WinGet" / "Links"),) if local else ()
    home = environ.get("HOME", "")
    own = (str(Path(home) / ".local" / "bin"),) if home else ()
    return (*own, "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin")


def find_program(name: str, environ: Mapping[str, str], further: Iterable[str] = ()) -> str | None:
    """Return the absolute path of a program on the PATH, or in one of the further folders."""
    folders = [*environ.get("PATH", "").split(os.pathsep), *further]
    # Not what lies in the working directory, which an empty or relative entry means.
    absolute = os.pathsep.join(folder for folder in folders if Path(folder).is_absolute())
    found = shutil.which(name, path=absolute) if absolute else None
    return found if found and Path(found).is_absolute() else None


def file_mark(path: str) -> tuple[str, int]:
    """Return a path with the time of its last change, in ns; -1 if it is not there."""
    try:
        return path, Path(path).stat().st_mtime_ns
    except OSError:
        return path, -1


def is_script(path: str) -> bool:
    """Whether a program is a script, which may start the real one as its child."""
    try:
        with Path(path).open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
