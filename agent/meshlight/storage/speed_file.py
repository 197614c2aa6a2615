"""The learned speeds of routes, in a file that outlives a restart."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from threading import Lock

from meshlight.storage.files import read_capped, write_atomic

log = logging.getLogger(__name__)

LIMIT = 1 << 20
"""Bytes of the file that are read."""


class SpeedFile:
    """Reads and writes the file at `path`. Without it, speeds are learned anew, so no fault of it is an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._newest = 0
        """The number of the newest data that was given."""
        self._writing: asyncio.Future[None] | None = None

    def read(self) -> bytes:
        """Return what was written last; empty when nothing was, or it can't be read."""
        with suppress(OSError):
            return read_capped(self._path, LIMIT)
        return b""

    def write(self, data: bytes) -> None:
        """Store this in the place of what was there; the file follows in a thread."""
        self._newest += 1
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._replace, self._newest, data)

    def write_now(self, data: bytes) -> None:
        """Do as `write`, and return when it is done."""
        self._newest += 1
        self._replace(self._newest, data)

    def _replace(self, number: int, data: bytes) -> None:
        with self._lock:
            if number < self._newest:  # newer data waits already, or is written
                return
            try:
                write_atomic(self._path, data)
            except OSError as error:
                log.warning("Learned speeds can't be kept over a restart: %s", error)
