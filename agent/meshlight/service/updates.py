"""Looks once a day whether there is a newer version, if the user wants that; nothing is downloaded or installed.

The address of the release feed is in the program's own metadata (`project.urls`). Nothing is sent but the request.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from meshlight import __version__
from meshlight.domain.clock import CallLater, Timer
from meshlight.domain.settings_views import UpdateView

log = logging.getLogger(__name__)

DAY_S: Final = 24 * 3600.0
FIRST_S: Final = 30.0
"""After the start, or after it was switched on."""
FEED_BYTES: Final = 512 * 1024
_ENTRIES_MAX: Final = 200
_TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<>]{1,200})</title>")
_VERSION: Final = re.compile(r"(?<![\w.])v?(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?(?![\w.-])")

FeedReader = Callable[[str, int], Awaitable[bytes]]
"""Reads a URL up to a number of bytes; raises any Exception."""


def project_url(label: str) -> str:
    """Return one of the program's own URLs; empty if this build has none of that name."""
    from importlib.metadata import PackageNotFoundError, metadata  # noqa: PLC0415 - loads the parser of e-mails

    with suppress(PackageNotFoundError):
        for line in metadata("meshlight").get_all("Project-URL") or []:
            name, _, url = line.partition(",")
            if name.strip().casefold() == label.casefold():
                return str(url.strip())
    return ""


def newest(feed: str) -> tuple[int, ...] | None:
    """Return the highest version that the titles of an Atom or RSS feed name; pre-releases do not count."""
    titles = _TITLE.findall(feed)[:_ENTRIES_MAX]
    versions = [
        tuple(int(part or 0) for part in found.groups())
        for title in titles
        if (found := _VERSION.search(title))
    ]
    return max(versions, default=None)


class UpdateCheck:
    """Reads the feed once a day while it is on. `on_change` is called when `update` has changed."""

    def __init__(
        self,
        read: FeedReader,
        later: CallLater,
        on_change: Callable[[], None],
        *,
        feed: str | None = None,
        version: str = __version__,
    ) -> None:
        self._read = read
        self._later = later
        self._on_change = on_change
        self._given = feed
        self._version = version
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self.update: UpdateView | None = None
        """The newer version, if there is one."""

    @property
    def feed(self) -> str:
        """The address of the feed; empty if this build names none."""
        if self._given is None:
            self._given = project_url("Release feed")
        return self._given

    def switch(self, *, on: bool) -> None:
        """Look once a day from now on, or no longer; repeating it does no harm."""
        if on and self._timer is None and self.feed:
            self._timer = self._later(FIRST_S, self._begin)
        elif not on:
            self.close()
            self._set(None)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def look(self) -> None:
        """Read the feed now; a feed that can't be read changes nothing, and is read again the next day."""
        try:
            feed = (await self._read(self.feed, FEED_BYTES)).decode("utf-8", "replace")
        except Exception as error:  # noqa: BLE001 - whatever is wrong there is no reason to disturb anybody
            log.info("The release feed can't be read: %s", type(error).__name__)
            return
        found, own = newest(feed), _VERSION.search(self._version)
        mine = tuple(int(part or 0) for part in own.groups()) if own else None
        if found is None or mine is None or found <= mine:
            self._set(None)
        else:
            self._set(UpdateView(version=".".join(map(str, found)), url=project_url("Changelog")))

    def _begin(self) -> None:
        self._timer = self._later(DAY_S, self._begin)
        self._task = asyncio.get_running_loop().create_task(self.look())

    def _set(self, update: UpdateView | None) -> None:
        if update != self.update:
            self.update = update
            self._on_change()
