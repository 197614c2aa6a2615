"""Notices that the configuration file was changed by somebody else, and reads it."""

from collections.abc import Callable

from meshlight.domain.clock import CallLater, Timer
from meshlight.domain.config import Config
from meshlight.domain.errors import ConfigError
from meshlight.storage.config.file import ConfigFile, Signature


class ConfigWatch:
    """One `stat` a second, no thread: tells of a new `Config`, or of the `ConfigError` that keeps the old one.

    A change is read once the file has been still for `settle_s`, so that an editor can write it in several steps,
    or put another file in its place. A deleted file changes nothing: the last good configuration stays in force.
    What `ConfigFile` itself has written is no news.
    """

    def __init__(
        self,
        file: ConfigFile,
        later: CallLater,
        tell: Callable[[Config | ConfigError], None],
        *,
        interval_s: float = 1.0,
        settle_s: float = 0.2,
    ) -> None:
        self._file = file
        self._later = later
        self._tell = tell
        self._interval_s = interval_s
        self._settle_s = settle_s
        self._timer: Timer | None = None
        self._unsettled: tuple[Signature | None] | None = None
        """The state that was seen a moment ago for the first time, in a tuple because "no file" is one too."""

    def start(self) -> None:
        """Begin to look; what was changed since the file was last read is noticed too."""
        self.stop()
        self._timer = self._later(self._interval_s, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._file.signature_now()
        is_news = now != self._file.signature_seen
        is_still = self._unsettled == (now,)
        self._unsettled = (now,) if is_news and not is_still else None
        # Set before the telling, so that whatever goes wrong there does not end the watch.
        self._timer = self._later(self._settle_s if self._unsettled else self._interval_s, self._look)
        if is_news and is_still:
            self._tell(self._read())

    def _read(self) -> Config | ConfigError:
        try:
            return self._file.load(must_exist=True)
        except ConfigError as error:
            return error
