"""Service tokens that outlive a restart: one small file for each account, sealed by whoever writes it."""

import asyncio
import hashlib
import logging
import time
from contextlib import suppress
from pathlib import Path

from meshlight.storage.files import read_capped, write_atomic

log = logging.getLogger(__name__)

LIFE_S = 86_400.0
"""No token lives longer than a day, so a file that is older holds nothing of use."""


class TokenFiles:
    """Reads and writes the files in `folder`; for the event loop's thread.

    What was written is there for the next `read` at once; the file follows in a thread. A file that can't be read
    or written costs new tokens after the next restart and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sealed: dict[str, bytes] = {}
        self._unsaved: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    def read(self, account: str) -> bytes:
        """Return what was written last for an account; empty when nothing was, or it can't be read."""
        if account not in self._sealed:
            self._sealed[account] = b""
            with suppress(OSError):
                self._sealed[account] = read_capped(self._path(account))
        return self._sealed[account]

    def write(self, account: str, sealed: bytes) -> None:
        """Store this for an account, in the place of what was there."""
        self._sealed[account] = sealed
        self._unsaved.add(account)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write what is unsaved, one file at a time, so that the newest of two versions is written last."""
        while self._unsaved:
            account = self._unsaved.pop()
            try:
                await asyncio.to_thread(self._replace, self._path(account), self._sealed[account])
            except OSError as error:
                log.warning("Service tokens can't be kept over a restart: %s", error)

    def _replace(self, path: Path, sealed: bytes) -> None:
        write_atomic(path, sealed)
        oldest = time.time() - LIFE_S
        for other in self._folder.iterdir():
            with suppress(OSError):
                if other.lstat().st_mtime < oldest:
                    other.unlink()

    def _path(self, account: str) -> Path:
        """Return an account's file; its name tells nobody whose it is."""
        return self._folder / hashlib.sha256(account.encode()).hexdigest()[:32]
