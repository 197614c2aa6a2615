"""Small files of the service's own state, for parts that know no paths: read at the start, replaced as a whole."""

import asyncio
import logging
from pathlib import Path

from meshlight.storage.files import read_capped, write_atomic

log = logging.getLogger(__name__)

LIMIT = 64 << 20


class StateFile:
    """One file; both methods block."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit

    def read(self) -> bytes:
        """Return what was written last; empty without a file. Raises OSError."""
        try:
            return read_capped(self._path, self._limit)
        except FileNotFoundError:
            return b""

    def write(self, data: bytes) -> None:
        """Replace the content, also if the power fails meanwhile. Raises OSError."""
        write_atomic(self._path, data)

    def write_quickly(self, data: bytes) -> None:
        """Replace the content without waiting for the disk: what was written outlives this process only.

        Raises OSError.
        """
        write_atomic(self._path, data, flush=False)


class BackgroundStateFile:
    """One file that is written in a thread; a file that can't be read or written is as good as none."""

    def __init__(self, file: StateFile, what: str) -> None:
        self._file = file
        self._what = what
        """What is in it, for the log."""
        self._unsaved: bytes | None = None
        self._writing: asyncio.Task[None] | None = None

    def read(self) -> bytes:
        """Return what was written last; empty when nothing was, or it can't be read."""
        try:
            return self._file.read()
        except OSError as error:
            log.warning("%s can't be read: %s", self._what, error.strerror)
            return b""

    def write(self, data: bytes) -> None:
        """Replace the content soon; of two versions, the newer one stays."""
        self._unsaved = data
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while (data := self._unsaved) is not None:
            self._unsaved = None
            try:
                await asyncio.to_thread(self._file.write, data)
            except OSError as error:
                log.warning("%s can't be kept: %s", self._what, error.strerror)
