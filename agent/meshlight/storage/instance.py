"""One service per user: a lock file for the running one, and the runtime file that says where it listens."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from filelock import FileLock, Timeout

from meshlight.domain.config import Runtime
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import ServiceError
from meshlight.storage.files import make_folder, read_capped, write_atomic


class AlreadyRunning:
    """Another service of this user holds the lock; its runtime file says where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path


class Started:
    """This process is the one service, for as long as this object exists.

    The lock is released by `release`, or by the system when the process ends.
    """

    def __init__(self, lock: FileLock, path: Path) -> None:
        self._lock = lock
        self.path = path

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        self._lock.release(force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def start_alone(lock_file: Path) -> Started | AlreadyRunning:
    """Acquire the lock if it is free, without waiting.

    Raises ServiceError where no lock file can be created (folder not writable, disk full).
    """
    try:
        make_folder(lock_file.parent)
        lock = FileLock(lock_file, mode=0o600, thread_local=False)
        lock.acquire(blocking=False)
    except Timeout:
        return AlreadyRunning(lock_file)
    except OSError as error:
        raise ServiceError(
            f"The lock file {lock_file} can't be made: {error.strerror or error}.",
            "Make its folder writable for you, or set MESHLIGHT_HOME to one that is.",
        ) from error
    return Started(lock, lock_file)


class RuntimeFile:
    """The runtime file at one path: written after the port is bound, removed when the service ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, runtime: Runtime) -> None:
        """Write where the service listens, for this user's programs; raises OSError."""
        write_atomic(
            self.path, msgspec.json.encode(runtime), flush=False
        )  # it means nothing after a power cut

    def read(self) -> Runtime | None:
        """Return what the last service wrote; None where there is nothing usable.

        A service that was killed leaves its file, so readers let the service prove itself at `/healthz`.
        """
        try:
            data = read_capped(self.path)
        except OSError:
            return None
        return decode_or_none(data, Runtime)

    def remove(self, instance: str) -> bool:
        """Remove the file if it is still that of `instance`; return whether it was."""
        found = self.read()
        if found is None or found.instance != instance:
            return False
        with suppress(OSError):
            self.path.unlink()
        return True
