"""Atomic writes: a temporary file in the same folder is written, flushed, then renamed.

A plain `open(path, "w")` that is killed half-way leaves a broken file; here a reader sees the old content or the new
one, never a part of it. A killed writer leaves its temporary file, which `sweep` removes.
"""

import errno
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

from meshlight.domain.errors import ServiceError

DEFAULT_LIMIT = 1 << 20
"""The most bytes that are read of a file; Meshlight's own are far smaller."""
PRIVATE_FOLDER = 0o700
_USERS = Path("/proc/self/uid_map")
_EVERY_USER = re.compile(r"0 +0 +4294967295")
_NOBODY = 65_534
_TEMPORARY = ".meshlight-tmp"
_WINDOWS_TRIES = 20
_WINDOWS_PAUSE_S = 0.025
_BINARY: int = getattr(os, "O_BINARY", 0)


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, each for this user alone; an existing folder stays as it is."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def refuse_shared(folder: Path) -> None:
    """Raise ServiceError, with the fix, for a folder in which other users could create or replace files.

    A missing folder is checked by its parents: none of them may let everybody rename what is in it.
    """
    if os.name == "nt":
        return  # the user's profile folder is private there, and modes say nothing
    # Both the named path and the resolved one: either may lead through a folder that others can replace.
    for path in dict.fromkeys((folder, *folder.resolve().parents, *folder.absolute().parents)):
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_uid not in _trusted_users(path == folder) and (
            path == folder or not found.st_mode & stat.S_ISVTX
        ):
            raise ServiceError(
                f"The folder {path} belongs to another user (uid {found.st_uid}), who could replace what "
                "Meshlight keeps there.",
                "Run Meshlight as that user, or set MESHLIGHT_HOME to a folder of your own.",
            )
        is_open = found.st_mode & (0o022 if path == folder else 0o002)
        if is_open and (path == folder or not found.st_mode & stat.S_ISVTX):
            raise ServiceError(
                f"Other users may write in the folder {path} (mode {stat.S_IMODE(found.st_mode):04o}), and so "
                "replace what Meshlight keeps there.",
                f"Take that from them: chmod go-w '{path}'; or set MESHLIGHT_HOME to a folder of your own.",
            )


def _trusted_users(is_own: bool) -> set[int]:
    """Return the user ids whose folders are trusted: ours and root's.

    In a sandbox with its own user ids the system's folders seem to belong to `nobody`, which is trusted for them.
    """
    trusted = {os.geteuid(), 0}
    if not is_own:
        with suppress(OSError):
            if not _EVERY_USER.fullmatch(_USERS.read_text("ascii").strip()):
                trusted.add(_NOBODY)
    return trusted


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, flush: bool = True) -> None:
    """Write `data` to `path` in one step, with the permissions `mode` from the first byte on.

    Without `flush` it does not wait for the disk, and may be lost if the power fails. A symbolic link stays a link:
    the file that it points to is replaced. Raises OSError, and then the old content is still there.
    """
    target = path.resolve() if path.is_symlink() else path
    temporary = write_beside(target, data, mode, flush=flush)
    try:
        _replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if flush:
        flush_folder(target.parent)


def write_beside(target: Path, data: bytes, mode: int, *, flush: bool = True) -> Path:
    """Write `data`, by default flushed to the disk, to a new temporary file beside `target`; return its path."""
    make_folder(target.parent)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}{_TEMPORARY}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if hasattr(os, "fchmod"):
                os.fchmod(stream.fileno(), mode)  # the umask may have removed bits
            stream.write(data)
            stream.flush()
            if flush:
                os.fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can flush a folder (not Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path, older_than_s: float = 60.0) -> int:
    """Remove the temporary files of killed writers in `folder`; return their number.

    Younger files stay: another process may be writing one right now.
    """
    removed = 0
    newest = time.time() - older_than_s
    with suppress(OSError):
        for leftover in folder.glob(f".*{_TEMPORARY}"):
            with suppress(OSError):
                if leftover.lstat().st_mtime <= newest:
                    leftover.unlink()
                    removed += 1
    return removed


def read_capped(path: Path, limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; raises OSError for any other."""
    return read_with_stat(path, limit)[0]


def read_with_stat(path: Path, limit: int = DEFAULT_LIMIT) -> tuple[bytes, os.stat_result]:
    """Do as `read_capped`, and return the stat of the file just before its first byte was read too."""
    # Non-blocking: opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0))
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"Larger than {limit} bytes", str(path))
    return data, before


def _replace(temporary: Path, target: Path) -> None:
    """Rename to `target`; Windows refuses while an editor or a virus scanner has it open, so it is tried again."""
    tries = _WINDOWS_TRIES if os.name == "nt" else 1
    for left in reversed(range(tries)):
        try:
            temporary.replace(target)
        except PermissionError:
            if not left:
                raise
            time.sleep(_WINDOWS_PAUSE_S)
        else:
            return
