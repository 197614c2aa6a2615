"""One service for each user: the second one to start learns that there is a first."""

from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from meshlight.domain.errors import ServiceError
from meshlight.store.files import make_folder


class AlreadyRunning:
    """Another service of this user holds the lock; its runtime file says where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path


class Started:
    """This process is the one service for as long as this object is kept.

    The lock is given back by `release`, or by the system when the process dies.
    """

    def __init__(self, lock: FileLock, path: Path) -> None:
        self._lock = lock
        self.path = path

    def release(self) -> None:
        """Let another service start; doing it twice does no harm."""
        self._lock.release(force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def start_alone(lock_file: Path) -> Started | AlreadyRunning:
    """Take the lock if it is free, without waiting.

    Raises ServiceError where no lock can be made at all (folder not writable, disk full).
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
