"""How far the user has come in the first run, in a file of the state."""

import logging
from pathlib import Path

import msgspec

from meshlight.domain.welcome import Progress
from meshlight.storage.files import read_capped, write_atomic

log = logging.getLogger(__name__)

LIMIT = 4_096
"""Bytes of the file that are read."""


class WelcomeFile:
    """Reads and writes the file at `path`; without one, `is_known` says whether this user has set something up."""

    def __init__(self, path: Path, *, is_known: bool) -> None:
        self._path = path
        self._progress = self._read() or Progress(is_over=is_known)

    @property
    def progress(self) -> Progress:
        """How far the user has come."""
        return self._progress

    def write(self, progress: Progress) -> None:
        """Keep this; if that fails, it lasts as long as the service."""
        if progress == self._progress:
            return
        self._progress = progress
        try:
            write_atomic(self._path, msgspec.json.encode(progress), flush=False)
        except OSError as error:
            log.warning("How far the first run came can't be kept over a restart: %s", error)

    def _read(self) -> Progress | None:
        """Return what was kept; None if nothing was, or nobody can tell what."""
        try:
            return msgspec.json.decode(read_capped(self._path, LIMIT), type=Progress)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s can't be read: %s", self._path, type(error).__name__)
            return Progress(is_over=True, login_asked=True)
