"""A fetcher, a hub and a queue as the tests of downloads use them: nothing waits, and every pause is noted."""

import asyncio
import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from meshlight.domain.local_views import DownloadView, Fit
from meshlight.local_models.downloads.fetch import Fetcher, Progress, Source
from meshlight.local_models.downloads.hub import Hub, HubSettings
from meshlight.local_models.downloads.package_index import PackageIndex
from meshlight.local_models.downloads.queue import DownloadQueue, EnginePort, Ports
from meshlight.local_models.downloads.starters import STARTERS, Starter
from meshlight.local_models.downloads.web import Web
from servers.fake_hub import FakeHub

ROOMY = 1 << 50


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes of which no two stretches are alike."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secrets


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return sorted(folder.iterdir())


def part_sizes(folder: Path) -> list[int]:
    """Return the sizes of the parts in a folder."""
    return [path.stat().st_size for path in entries(folder) if path.suffix == ".part"]


def hasty() -> Callable[[], float]:
    """Return a clock by which a second passes at each look, so that what arrives is written and told at once."""
    return itertools.count().__next__


class Pauses:
    """Waits for nothing, but notes for how long; `on_pause` is set at each, for a test to mend the network."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.happened = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seen.append(seconds)
        self.happened.set()
        await asyncio.sleep(0)


class Fetching:
    """A fetcher with a record of its pauses and reports."""

    def __init__(self, hub: FakeHub, folder: Path, *, free: int = ROOMY, token: str = "") -> None:
        self.hub = hub
        self.folder = folder
        self.pauses = Pauses()
        self.seen: list[Progress] = []
        self.web = Web(origin=hub.url, token=lambda: token)
        self.fetcher = Fetcher(pause=self.pauses, clock=hasty(), free_bytes=lambda _: free)
        self.has_begun = asyncio.Event()
        """Set when bytes have arrived."""

    def source(self, path: str = "a.gguf", repository: str = "me/tiny", sha256: str = "") -> Source:
        data = self.hub.repositories[repository].files[path]
        return Source(
            url=f"{self.hub.url}/{repository}/resolve/main/{path}",
            name=path,
            size=len(data),
            sha256=sha256 or hashlib.sha256(data).hexdigest(),
        )

    async def fetch(self, source: Source | None = None) -> Path:
        """Fetch, and close the connections."""
        try:
            return await self.fetcher.fetch(self.web, source or self.source(), self.folder, self._note)
        finally:
            await self.web.close()

    def _note(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.done_bytes:
            self.has_begun.set()


class MemoryState:
    """The list of downloads, kept in memory."""

    def __init__(self) -> None:
        self.data = b""

    def read(self) -> bytes:
        return self.data

    def write(self, data: bytes) -> None:
        self.data = data


class Queue:
    """A queue at a hub, whose changes can be waited for."""

    def __init__(
        self,
        hub: FakeHub,
        folder: Path,
        *,
        state: MemoryState | None = None,
        free: int = ROOMY,
        token: str = "",
        fits: tuple[Fit, int] = ("now", 0),
        index: PackageIndex | None = None,
        starters: Sequence[Starter] = STARTERS,
        engine: EnginePort | None = None,
    ) -> None:
        self.folder = folder
        self.state = state or MemoryState()
        self.pauses = Pauses()
        self.done: list[str] = []
        self.views: list[DownloadView] = []
        """What was seen of the first download, change by change."""
        self._changed = asyncio.Event()
        ports = Ports(
            folder=lambda: folder,
            state=self.state,
            fits=lambda _: fits,
            is_here=lambda model: model in self.done,
            on_change=self._change,
            on_done=self.done.append,
            engine=engine,
        )
        self.queue = DownloadQueue(
            ports,
            Hub(HubSettings(endpoint=hub.url, token=token)),
            fetcher=Fetcher(pause=self.pauses, clock=hasty(), free_bytes=lambda _: free),
            package_index=index,
            pause=self.pauses,
            free_bytes=lambda _: free,
            starters=starters,
        )

    def _change(self) -> None:
        views = self.queue.views()
        self.views += views[:1]
        self._changed.set()

    async def until(self, *states: str) -> DownloadView:
        """Wait until the first download is in one of these states."""
        while True:
            self._changed.clear()
            views = self.queue.views()
            if views and views[0].state in states:
                return views[0]
            await self._changed.wait()

    async def until_begun(self) -> None:
        """Wait until bytes of the first download are here."""
        while not self.queue.views()[0].done_bytes:
            self._changed.clear()
            await self._changed.wait()

    async def until_done(self, number: int = 1) -> None:
        """Wait until so many downloads are done."""
        while len(self.done) < number:
            self._changed.clear()
            await self._changed.wait()
            await asyncio.sleep(0)

    @property
    def files(self) -> list[str]:
        """All files below the folder for models."""
        return sorted(
            path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()
        )
