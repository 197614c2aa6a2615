"""Downloads whose code is loaded when somebody asks for one: on most days nobody does, and it takes a megabyte."""

from collections.abc import Callable, Sequence

from meshlight.domain.local_views import DownloadView, RepositoryView, StarterView
from meshlight.local_models.interfaces import Downloads


class LazyDownloads:
    """Implements `Downloads` by what `make` returns; `has_left` says whether an earlier service left any to do."""

    def __init__(self, make: Callable[[], Downloads], has_left: Callable[[], bool]) -> None:
        self._make = make
        self._has_left = has_left
        self._made: Downloads | None = None

    @property
    def _downloads(self) -> Downloads:
        if self._made is None:
            self._made = self._make()
        return self._made

    def views(self) -> Sequence[DownloadView]:
        """See `Downloads`."""
        return () if self._made is None else self._made.views()

    def starters(self) -> Sequence[StarterView]:
        """See `Downloads`."""
        return self._downloads.starters()

    async def repository(self, name: str) -> RepositoryView:
        """See `Downloads`."""
        return await self._downloads.repository(name)

    async def pull(self, name: str) -> DownloadView:
        """See `Downloads`."""
        return await self._downloads.pull(name)

    async def pause(self, download_id: str) -> DownloadView:
        """See `Downloads`."""
        return await self._downloads.pause(download_id)

    async def resume(self, download_id: str) -> DownloadView:
        """See `Downloads`."""
        return await self._downloads.resume(download_id)

    async def cancel(self, download_id: str) -> None:
        """See `Downloads`."""
        await self._downloads.cancel(download_id)

    def start(self) -> None:
        """See `Downloads`."""
        if self._has_left():
            self._downloads.start()

    async def close(self) -> None:
        """See `Downloads`."""
        if self._made is not None:
            await self._made.close()
