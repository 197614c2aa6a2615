"""Fetches one file: goes on at the byte where it stopped, waits out an absent network, checks the hash.

What has arrived lies in a part file named by the expected hash (see `part.py`), so a pause, a kill and a reboot lose
nothing. All reading, writing and hashing of files happens in threads.
"""

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.local_models.downloads.part import Part
from meshlight.local_models.downloads.problems import (
    DownloadFailed,
    TryLater,
    disk_full,
    in_gb,
    write_problem,
)
from meshlight.local_models.downloads.threads import in_thread
from meshlight.local_models.downloads.web import Answer, Web

PAUSE_MAX_S = 60.0
TRIES = 20
"""Failures that count, one after the other without a byte between them, that end a download."""
REPORT_S = 0.25
BUFFER = 1 << 20
FLUSH_S = 0.5
"""What has arrived is written when it is as large as the buffer, or as old as this."""
SLICE = 64 << 20
"""Bytes that are hashed at once, so that a cancelled download ends soon."""
MARGIN = 2_000_000_000
"""Bytes that stay free on the disk: a system whose disk is full fails in odd ways."""
MARGIN_MIN = 100_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class Source(Struct, frozen=True, kw_only=True):
    """A file of the web, and what it has to be."""

    url: str
    name: str
    """For people."""
    size: int
    sha256: str


class Progress(Struct, frozen=True):
    """How far a fetch is; `reason` says what it waits for."""

    state: Literal["checking", "running", "waiting"]
    done_bytes: int
    reason: Reason | None = None


Report = Callable[[Progress], None]


class Pauses:
    """The waits between tries: 1, 2, 4, 8 … seconds, at most a minute. Counts the failures that count."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin with the shortest again, after progress."""
        self._next_s = 1.0
        self._counted = 0

    def after(self, problem: TryLater) -> float:
        """Return the seconds to wait; raises DownloadFailed when it was tried often enough."""
        self._counted += problem.counts
        if self._counted >= TRIES:
            raise DownloadFailed(problem.reason) from problem
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, PAUSE_MAX_S)
        return wait_s if problem.after_s is None else max(problem.after_s, 1.0)


class Fetcher:
    """Fetches files, one at a time for each part file; holds nothing between two of them."""

    def __init__(
        self,
        *,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
        free_bytes: Callable[[Path], int] | None = None,
        part: Callable[[Path, str], Part] = Part,
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._free_bytes = free_bytes or free_space
        self._part = part

    async def fetch(self, web: Web, source: Source, folder: Path, report: Report) -> Path:
        """Fetch into `folder` and return the whole file, whose hash is right.

        `report` is called on the loop, at most 4 times a second while nothing but the number changes. When cancelled,
        what has arrived stays. Raises DownloadFailed.
        """
        part = self._part(folder, source.sha256)
        run = _Run(web, source, part, _Throttled(report, self._clock), self._clock)
        pauses = Pauses()
        anew = 0
        try:
            while True:
                try:
                    return await self._attempt(run, folder)
                except _Wrong:
                    await in_thread(part.restart)
                    anew += 1
                    if anew > 1:
                        raise _wrong_hash(source) from None
                except TryLater as problem:
                    if run.has_progressed:
                        pauses.restart()
                    wait_s = pauses.after(problem)
                    run.report(Progress("waiting", part.size, problem.reason))
                    await self._pause(wait_s)
        except OSError as error:
            raise write_problem(error, source.size - part.size) from error
        finally:
            await in_thread(part.close)

    async def _attempt(self, run: "_Run", folder: Path) -> Path:
        """Open the part, hash what an earlier start has left, receive the rest, and check the hash."""
        part, size = run.part, run.source.size
        run.has_progressed = False
        if not part.is_open:
            on_disk = await in_thread(part.open)
            if await in_thread(_is_whole, part.whole, size):
                return part.whole
            if on_disk > size:
                await in_thread(part.restart)
                on_disk = 0
            while part.size < on_disk:
                run.report(Progress("checking", part.size))
                if not await in_thread(part.hash_more, SLICE):
                    break
        if part.size < size:
            await self._check_space(run, folder)
            await run.receive()
        run.report(Progress("checking", part.size))
        if not part.is_right:
            raise _Wrong
        return await in_thread(part.finish)

    async def _check_space(self, run: "_Run", folder: Path) -> None:
        left = run.source.size - run.part.size
        needed = left + margin_for(run.source.size)
        free = await in_thread(self._free_bytes, folder)
        if free < needed:
            raise disk_full(needed - free)


class _Wrong(Exception):
    """What is here is not what was wanted: it has to be fetched anew."""


class _Run:
    """One fetch: its source, its part, and what one answer does to it."""

    def __init__(
        self, web: Web, source: Source, part: Part, report: Report, clock: Callable[[], float]
    ) -> None:
        self._web = web
        self.source = source
        self.part = part
        self.report = report
        self._clock = clock
        self.has_progressed = False

    async def receive(self) -> None:
        """Ask for what is missing, and write it."""
        part, source = self.part, self.source
        self.report(Progress("running", part.size))
        headers = {}
        etag = await in_thread(part.etag)
        if part.size:
            headers["range"] = f"bytes={part.size}-"
            if etag:
                headers["if-range"] = etag
        async with self._web.get(source.url, what=source.name, headers=headers) as answer:
            self._refuse_another_file(answer)
            skipped = self._begins_at(answer, etag)
            if skipped is None:
                raise _Wrong
            # A weak ETag is not for ranges (RFC 9110, section 13.1.5).
            new_etag = answer.headers.get("etag", "")
            if not part.size and new_etag and not new_etag.startswith("W/"):
                await in_thread(part.note_etag, new_etag)
            await self._write(answer, skipped)
        if part.size < source.size:
            raise TryLater(
                Reason("offline", "The connection ended before the file did.", "It goes on by itself."),
                counts=True,
            )

    def _refuse_another_file(self, answer: Answer) -> None:
        """Raise DownloadFailed (`changed`) if the hub says that the file is another one by now."""
        total = _total_of(answer)
        is_other = bool(_SHA256.fullmatch(answer.linked_etag)) and answer.linked_etag != self.source.sha256
        if is_other or (total is not None and total != self.source.size):
            says = (
                "has another checksum" if is_other else f"has {total:,} bytes instead of {self.source.size:,}"
            )
            raise DownloadFailed(
                Reason(
                    "changed",
                    f"{self.source.name} was changed on the hub: it {says}.",
                    "Pull it again, to get the new one.",
                )
            )

    def _begins_at(self, answer: Answer, etag: str) -> int | None:
        """Return how many bytes of the body are here already; None if the file has to be begun anew."""
        part = self.part
        if answer.status == 416:
            return None
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            return 0 if match and int(match[1]) == part.size else None
        # The whole file: because the server has no ranges, or because it is another file than the one begun.
        new_etag = answer.headers.get("etag", "")
        return None if part.size and etag and new_etag and etag != new_etag else part.size

    async def _write(self, answer: Answer, skipped: int) -> None:
        part, size = self.part, self.source.size
        buffer = bytearray()
        flushed_at = self._clock()
        try:
            async for received in answer.chunks:
                chunk = received
                if skipped:
                    chunk, skipped = received[skipped:], max(0, skipped - len(received))
                buffer += chunk
                if part.size + len(buffer) > size:
                    raise _Wrong
                now = self._clock()
                if len(buffer) >= BUFFER or now - flushed_at >= FLUSH_S:
                    await self._flush(buffer)
                    flushed_at = now
        finally:  # also when the connection breaks off, or it is cancelled: every byte counts
            if part.size + len(buffer) <= size:
                await self._flush(buffer)

    async def _flush(self, buffer: bytearray) -> None:
        if not buffer:
            return
        data = bytes(buffer)
        buffer.clear()
        await in_thread(self.part.write, data)
        self.has_progressed = True
        self.report(Progress("running", self.part.size))


class _Throttled:
    """Passes progress on: at once when the state changes, else at most 4 times a second."""

    def __init__(self, report: Report, clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock
        self._last: Progress | None = None
        self._at = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        last = self._last
        if (
            last is not None
            and (last.state, last.reason) == (progress.state, progress.reason)
            and now - self._at < REPORT_S
        ):
            return
        self._last, self._at = progress, now
        self._report(progress)


def margin_for(size: int) -> int:
    """Return the bytes that have to stay free beside a file of `size` bytes.

    As many as it has, between 0.1 and 2 GB: a starter of 98 MB shall not fail for a disk with 1.5 GB left, which it
    hardly changes.
    """
    return min(max(size, MARGIN_MIN), MARGIN)


def free_space(folder: Path) -> int:
    """Return the bytes that this user may still write in a folder, which need not exist yet; blocks."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _total_of(answer: Answer) -> int | None:
    """Return the size of the whole file that an answer tells; None if it doesn't."""
    if answer.status == 206:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        return int(match[3]) if match else None
    length = answer.headers.get("content-length", "")
    return int(length) if answer.status == 200 and length.isascii() and length.isdigit() else None


def _wrong_hash(source: Source) -> DownloadFailed:
    return DownloadFailed(
        Reason(
            "wrong-hash",
            f"{source.name} ({in_gb(source.size)}) arrived with the wrong checksum, twice.",
            "It was deleted. Something on the way changes it (a proxy?), or the hub has a broken file: try another.",
        )
    )
