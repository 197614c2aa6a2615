"""The pipe into which an engine writes its log: large enough that it never waits until we have read.

The pipes that an event loop makes hold some twenty lines of small writes (uvloop's are sockets), and a busy engine
writes ten for each request.
"""

import os
import subprocess
import sys
from contextlib import suppress
from typing import Final

SIZE: Final = 1 << 20
"""Bytes that wait at most; more than the system allows is not needed, and not an error."""


class OutputPipe:
    """Both ends of a pipe, until the program has the one for writing. Raises OSError."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        _enlarge(self._reading)

    @property
    def writing(self) -> int:
        """The program's standard output."""
        return self._writing

    def take_reading(self) -> int:
        """Return the other end; closing it is the caller's matter then."""
        reading, self._reading = self._reading, -1
        return reading

    def close(self) -> None:
        """Close what is still open here: after the start, the end for writing."""
        for end in (self._reading, self._writing):
            if end >= 0:
                with suppress(OSError):
                    os.close(end)
        self._reading = self._writing = -1


def output_pipe(platform: str = sys.platform) -> OutputPipe | None:
    """Return a pipe of our own; None where the loop can only read its own ones (Windows)."""
    return None if platform == "win32" else OutputPipe()


def standard_output(pipe: OutputPipe | None) -> int:
    """Return what a program is given as its standard output."""
    return subprocess.PIPE if pipe is None else pipe.writing


def _enlarge(end: int) -> None:
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - there is none on Windows

        with suppress(OSError):  # the system allows no more to this user
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, SIZE)
