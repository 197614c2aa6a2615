"""A file on its way here, named by the hash that it shall have, so that a later start finds it and goes on.

Everything here blocks: call it in a thread, one call at a time.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from meshlight.domain.backend import Reason
from meshlight.local_models.downloads.problems import TryLater

BLOCK = 1 << 20
ETAG_MAX = 256
FOLDER_MODE = 0o755


class Part:
    """The part of one file in `folder`, hashed as far as `size` says; locked against other processes while open.

    What is on the disk from an earlier start is hashed by `hash_more` before anything is written.
    """

    def __init__(self, folder: Path, sha256: str) -> None:
        self.path = folder / f"{sha256}.part"
        self.whole = folder / f"{sha256}.whole"
        """Where the file is when it has arrived and its hash was right."""
        self._sha256 = sha256
        self._etag = folder / f"{sha256}.etag"
        self._lock = FileLock(folder / f"{sha256}.lock", thread_local=False)
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes that are hashed."""

    @property
    def is_open(self) -> bool:
        """Whether it is open, and locked."""
        return self._file is not None

    def open(self) -> int:
        """Lock and open it; return the bytes that are on the disk. Raises TryLater if another process has it."""
        self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise TryLater(
                Reason(
                    "locked",
                    "Another Meshlight on this machine downloads this file.",
                    "It goes on when that one has ended.",
                )
            ) from None
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)
        except BaseException:
            self._lock.release()
            raise
        return self.path.stat().st_size

    def hash_more(self, limit: int) -> bool:
        """Hash up to `limit` further bytes of what is on the disk; return whether there may be more."""
        file = self._opened()
        file.seek(self.size)
        end = self.size + limit
        while self.size < end:
            block = file.read(min(BLOCK, end - self.size))
            if not block:
                return False
            self._hash.update(block)
            self.size += len(block)
        return True

    def write(self, data: bytes) -> None:
        """Append; raises OSError, and then nothing of `data` counts as written."""
        file = self._opened()
        file.seek(self.size)
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with suppress(OSError):
                file.truncate(self.size)
            raise
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Begin anew with an empty file."""
        self._opened().truncate(0)
        self._hash = hashlib.sha256()
        self.size = 0
        self._etag.unlink(missing_ok=True)

    @property
    def is_right(self) -> bool:
        """Whether the hash is the one that it shall be."""
        return self._hash.hexdigest() == self._sha256

    def etag(self) -> str:
        """Return the ETag under which the first byte arrived; empty if there was none."""
        try:
            with self._etag.open(encoding="latin-1") as file:
                return file.read(ETAG_MAX)
        except OSError:
            return ""

    def note_etag(self, etag: str) -> None:
        """Store the ETag under which the first byte arrived."""
        self._etag.write_text(etag, encoding="latin-1")

    def finish(self) -> Path:
        """Flush it to the disk and give it the name `whole`; return that."""
        file = self._opened()
        os.fsync(file.fileno())
        file.close()
        self._file = None
        self.path.replace(self.whole)
        self._etag.unlink(missing_ok=True)
        return self.whole

    def close(self) -> None:
        """Close and unlock it; what is here stays."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._lock.is_locked:
            return
        if self.whole.exists():  # nobody needs the lock any more
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
                Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("The part is not open.")
        return self._file


def delete(folder: Path, sha256: str) -> None:
    """Delete whatever is here of a file: its part, or the whole of it."""
    for ending in ("part", "whole", "etag", "lock"):
        with suppress(OSError):
            (folder / f"{sha256}.{ending}").unlink()


class Checking:
    """Hashes a file that is here, slice by slice, so that a cancelled check of a large one ends soon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._at = 0

    def hash_more(self, limit: int) -> bool:
        """Hash up to `limit` further bytes; return whether there may be more. Raises OSError."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            end = self._at + limit
            while self._at < end:
                block = file.read(min(BLOCK, end - self._at))
                if not block:
                    return False
                self._hash.update(block)
                self._at += len(block)
        return True

    @property
    def sha256(self) -> str:
        """The hash of what was hashed."""
        return self._hash.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the hash of a small file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
