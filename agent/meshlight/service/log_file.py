"""The log file of the service, which never grows beyond a limit.

`logging.handlers` has the same, and brings pickle for its others: more than half a megabyte, for weeks.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1_000_000


class LogFile(logging.FileHandler):
    """Writes to a file, which becomes `….1` once it has `max_bytes`, in place of an older one; a new one begins."""

    def __init__(self, file: Path, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(file, encoding="utf-8")
        self._file = file
        self._max_bytes = max_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. What goes wrong is told on stderr: whoever logs must not fail by it."""
        try:
            if self.stream is not None and os.fstat(self.stream.fileno()).st_size >= self._max_bytes:
                self.close()
                with suppress(OSError):  # it is gone, or (on Windows) somebody has it open: it grows on
                    self._file.replace(self._file.with_name(f"{self._file.name}.1"))
            super().emit(record)
        except OSError:
            self.handleError(record)
