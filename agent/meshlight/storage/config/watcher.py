"""Watches the configuration file for changes by hand, and reads it again."""

from collections.abc import Callable

from meshlight.domain.clock import CallLater, Timer
from meshlight.domain.config import Config
from meshlight.domain.errors import ConfigError
from meshlight.storage.config.file import ConfigFile, Signature


class ConfigWatch:
    """Reports a new `Config`, or the `ConfigError` that keeps the old one; three `stat`s in 5 seconds, no thread.

    A change is read once the file has not changed for `settle_s`, so that an editor can write it in several steps,
    or replace the file. A deleted file is reported as an error: the last good configuration stays in force. What
    `ConfigFile` itself has written is not reported.
    """

    def __init__(
        self,
        file: ConfigFile,
        later: CallLater,
        on_change: Callable[[Config | ConfigError], None],
        *,
        interval_s: float = 5 / 3,
        settle_s: float = 0.2,
    ) -> None:
        self._file = file
        self._later = later
        self._on_change = on_change
        self._interval_s = interval_s
        self._settle_s = settle_s
        self._timer: Timer | None = None
        self._unsettled: tuple[Signature | None] | None = None
        """A changed state that was found by the last poll; in a tuple, because None ("no file") is a state too."""

    def start(self) -> None:
        """Start polling; changes since the file was last read are noticed too."""
        self.stop()
        self._timer = self._later(self._interval_s, self._poll)

    def stop(self) -> None:
        """Stop polling."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _poll(self) -> None:
        now = self._file.current_signature()
        is_changed = now != self._file.last_signature
        is_settled = self._unsettled == (now,)
        self._unsettled = (now,) if is_changed and not is_settled else None
        # Set before the callback, so that an error in there does not end the watch.
        self._timer = self._later(self._settle_s if self._unsettled else self._interval_s, self._poll)
        if is_changed and is_settled:
            self._on_change(self._read())

    def _read(self) -> Config | ConfigError:
        try:
            return self._file.load(must_exist=True)
        except ConfigError as error:
            return error
