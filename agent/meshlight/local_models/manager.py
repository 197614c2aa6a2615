"""This machine's own models as the rest of the service sees them: joins catalog, engines, runners and downloads."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from meshlight.backends.base import ModelRoute, Probe
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import Conflict, NotFound, RouteUnavailable
from meshlight.domain.events import LocalEvent
from meshlight.domain.health import Answered, Refused
from meshlight.domain.local_models import Demand, EngineState, LocalModel
from meshlight.domain.local_views import (
    DownloadView,
    EngineLog,
    LocalModelView,
    LocalView,
    MemoryView,
)
from meshlight.http_client.client import Upstream
from meshlight.local_models.interfaces import Catalog, Downloads, Engines, EngineStarter

log = logging.getLogger(__name__)

EVENT_GAP_S = 0.25
LOOK_S = 60.0
"""Somebody who has asked for the models looks at them for this long."""
TICK_S = 5.0
"""While somebody looks, the memory is measured this often."""
_MEMORY_STEP = 0.01
"""A change of memory by less than this share is not worth an event of its own."""
_MANY = 20
"""Models, of which it takes longer to ask for each than for all."""
_MOVING = frozenset[EngineState]({"waiting", "loading", "draining"})
_IN_MEMORY = frozenset[EngineState]({"ready", "draining"})
_DOWNLOADING = frozenset({"queued", "running", "checking"})

NOTHING_RUNS = Reason(
    "no-runner",
    "This machine has models but nothing to run them.",
    "Get an engine: `meshlight models pull engine`, `brew install llama.cpp` or `winget install llama.cpp`.",
)
GONE = Reason(
    "model-missing",
    "Its file is not there any more, perhaps with its drive.",
    "Connect the drive, or remove the model's folder from the settings.",
)
NOT_RUNNABLE = Reason(
    "no-runner", "Nothing here can run a model of this form.", "`meshlight doctor` says why."
)


class LocalModelManager:
    """Implements `LocalModels`.

    The parts call `catalog_changed`, `engines_changed`, `downloads_changed` and `download_done` on the event loop.
    `own_folder` returns the folder of our own. `publish` gives an event to those who follow them,
    `is_watched` says whether a person's page is among these. `on_known` is called with whether any model is known
    whenever that may have changed, `probe_soon` when `probe` returns something else than before.
    """

    def __init__(  # noqa: PLR0913 - it joins many parts, all given by name
        self,
        *,
        catalog: Catalog,
        engines: Engines,
        starter: EngineStarter,
        downloads: Downloads,
        own_folder: Callable[[], Path],
        settings: LocalSettings,
        clock: Clock,
        later: CallLater,
        publish: Callable[[Callable[[int], LocalEvent]], None],
        is_watched: Callable[[], bool] = lambda: False,
        on_known: Callable[[bool], None] = lambda _: None,
        probe_soon: Callable[[], None] = lambda: None,
    ) -> None:
        self._downloads = downloads
        self._catalog = catalog
        self._engines = engines
        self._starter = starter
        self._own_folder = own_folder
        self._settings = settings
        self._clock = clock
        self._later = later
        self._publish = publish
        self._is_watched = is_watched
        self._on_known = on_known
        self._probe_soon = probe_soon
        self._hidden = _hidden(settings)
        self._probe: Probe | None = None
        """The last probe, until something changes."""
        self._looked_at = float("-inf")
        self._is_close = False
        self._tick: Timer | None = None
        self._flushed_at = float("-inf")
        self._flush_timer: Timer | None = None
        self._shown_ids: frozenset[str] = frozenset()
        self._shown_memory = MemoryView()
        self._shown_downloads: tuple[DownloadView, ...] = ()
        self._revision = self._shown_revision = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    # --- life

    def start(self) -> None:
        """End what an earlier service has left, look for models, load what is kept; returns at once.

        What could run models is asked when there is a model, or somebody looks: that starts programs.
        """
        self._spawn(self._begin())

    def follow(self, settings: LocalSettings) -> None:
        """Use these settings from now on."""
        if settings == self._settings:
            return
        runs_other = _runner_settings(settings) != _runner_settings(self._settings)
        self._settings = settings
        self._hidden = _hidden(settings)
        self._starter.follow(settings)
        self._catalog.follow(settings)
        self._engines.follow(settings)
        if runs_other:
            self._spawn(self._find_runners())
        self._changed()

    async def close(self) -> None:
        """End the engines and everything else; what is being downloaded goes on at the next start."""
        self._is_closed = True
        for timer in (self._tick, self._flush_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._catalog.close()
        await asyncio.gather(
            self._engines.close(), self._downloads.close(), *self._tasks, return_exceptions=True
        )

    # --- what the parts report

    def catalog_changed(self) -> None:
        """Notice that models came or went."""
        self._engines.catalog_changed()
        self._revision += 1
        self._changed()
        if self._catalog.models and not self._starter.runners:
            self._spawn(self._list_with_runners())
        else:
            self._on_known(bool(self._catalog.models))

    def engines_changed(self) -> None:
        """Notice that the state of an engine has changed."""
        self._changed()

    def downloads_changed(self) -> None:
        """Notice that a download has changed."""
        self._schedule()

    def download_done(self) -> None:
        """Look for what has arrived; an engine may have come along."""
        self._spawn(self._catalog.refresh() if self._can_run else self.refresh())

    # --- what others ask

    @property
    def downloads(self) -> Downloads:
        """What is on its way here."""
        return self._downloads

    def view(self) -> LocalView:
        """Return everything."""
        starters = tuple(self._downloads.starters())
        return LocalView(
            models=tuple(self._engines.views()),
            runners=tuple(self._starter.runners),
            devices=tuple(self._engines.devices),
            memory=self._engines.memory(),
            stores=tuple(self._catalog.stores),
            rejected=tuple(self._catalog.rejected),
            downloads=tuple(self._downloads.views()),
            starters=starters,
            can_run=self._can_run,
            can_start=self._can_run or any(one.engine_bytes for one in starters),
            revision=self._revision,
        )

    async def look(self) -> None:
        """Notice what is new on the disks sooner for a while: somebody looks at the models.

        Returns when it is known what can run them.
        """
        self._looked_at = self._clock()
        if not self._is_close and not self._is_closed:
            self._is_close = True
            self._catalog.watch(closely=True)
            self._tick = self._later(TICK_S, self._on_tick)
        if not self._starter.runners:
            await self._engines.prepare()

    def model(self, name: str) -> LocalModelView:
        """Return one model by id or further name; NotFound."""
        return self._engines.view(self._found(name).id)

    def probe(self) -> Probe:
        """Return the health and models of this machine, from memory."""
        if self._probe is None:
            self._probe = self._new_probe()
        return self._probe

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        """Return the route to a model's engine, started if need be; raises RouteUnavailable with the reason."""
        found = self._catalog.find(model)
        if found is None:
            raise RouteUnavailable(GONE)
        return await self._engines.route(found.id, demand)

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """Return the route to a model's engine if it runs."""
        found = self._catalog.find(model)
        return None if found is None else self._engines.route_now(found.id, demand)

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        """Return why the engine behind a route has ended; None if it runs, or nobody knows."""
        found = self._catalog.find(model)
        return None if found is None else await self._engines.why_lost(found.id, upstream)

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        """Load a model; see `Engines.load`."""
        return await self._engines.load(self._found(model).id, wait=wait)

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        """Unload a model; see `Engines.unload`."""
        return await self._engines.unload(self._found(model).id, force=force)

    def log(self, model: str) -> EngineLog:
        """Return the last lines of a model's engine; NotFound."""
        return self._engines.log(self._found(model).id)

    def request_ended(self, model: str) -> None:
        """Notice that an answer was sent, or its client has left; `model` is an id or a further name."""
        found = self._catalog.find(model)
        if found is not None:
            self._engines.request_ended(found.id)

    def names_of(self, model: str) -> tuple[str, ...]:
        """Return the names under which requests for a model are counted."""
        found = self._catalog.models.get(model)
        return (model,) if found is None else (model, *found.names)

    async def delete(self, model: str) -> None:
        """Delete a model's files from our own folder; Conflict for one of another store, or that is loaded."""
        found = self._found(model)
        folder = self._own_folder()
        if found.store != "own":
            raise Conflict(
                f"{found.id} lies in a folder of another program or of yours, where nothing is deleted.",
                "Delete it there; it then disappears from the list.",
            )
        if self._engines.view(found.id).state not in {"on-disk", "failed", "missing"}:
            raise Conflict(f"{found.id} is in use.", "Unload it first.")
        others = {file for one in self._catalog.models.values() if one.id != found.id for file in one.files}
        files = [Path(file) for file in found.files if file not in others]
        try:
            await asyncio.to_thread(delete_files, folder, files)
        except OSError as error:
            raise Conflict(
                f"{found.id} can't be deleted: {error.strerror or type(error).__name__}.",
                "Close the programs that use it, or look at the permissions of the models' folder.",
            ) from None
        self._catalog.forget(found.id)
        await self._catalog.refresh()

    async def refresh(self) -> None:
        """Look at runners and disks again now."""
        await asyncio.gather(self._find_runners(), self._catalog.refresh())

    # ---

    @property
    def settings(self) -> LocalSettings:
        """The settings in force."""
        return self._settings

    @property
    def _can_run(self) -> bool:
        return any(runner.is_usable for runner in self._starter.runners)

    def _found(self, name: str) -> LocalModel:
        found = self._catalog.find(name)
        if found is None:
            raise NotFound(
                f"No model on this machine has the name {name[:200]!r}.", "`meshlight models` lists them all."
            )
        return found

    async def _begin(self) -> None:
        await self._starter.end_leftovers()
        await self._catalog.refresh()
        self._catalog.watch(closely=self._is_close)
        self._engines.follow(self._settings)
        self._downloads.start()

    async def _list_with_runners(self) -> None:
        """Find out what can run the models, and only then say that there are some."""
        await self._engines.prepare()
        self._revision += 1
        self._changed()
        self._on_known(bool(self._catalog.models))

    async def _find_runners(self) -> None:
        before = tuple(self._starter.runners)
        await self._starter.find()
        self._revision += before != tuple(self._starter.runners)
        self._changed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Looking after this machine's models failed: %s", type(error).__name__, exc_info=error)

    def _changed(self) -> None:
        self._probe = None
        self._probe_soon()
        self._schedule()

    # --- the probe

    def _new_probe(self) -> Probe:
        views = {view.id: view for view in self._engines.views()}
        can_run = self._can_run
        models: list[str] = []
        details: dict[str, ModelDetail] = {}
        names: dict[str, str] = {}
        unusable: dict[str, Reason] = {}
        for model in self._catalog.models.values():
            view = views.get(model.id)
            if model.id in self._hidden:
                continue
            if (why := self._why_unusable(model, view, can_run=can_run)) is not None:
                unusable[model.id] = why
            if model.is_missing or (why is not None and why is NOT_RUNNABLE):
                continue
            models.append(model.id)
            details[model.id] = _detail(model, view, self._starter.slots_for(model))
            for name in model.names:
                names.setdefault(name, model.id)
        for model_id in models:
            names.pop(model_id, None)
        return Probe(
            fact=Answered() if can_run else Refused(NOTHING_RUNS),
            models=tuple(models),
            details=details,
            about=self._about(views.values()),
            warnings=(),
            names=names,
            unusable=unusable,
        )

    def _why_unusable(
        self, model: LocalModel, view: LocalModelView | None, *, can_run: bool
    ) -> Reason | None:
        if model.is_missing:
            return GONE if view is None or view.reason is None else view.reason
        if view is not None and view.state == "failed":
            return view.reason
        return NOT_RUNNABLE if can_run and not self._starter.label_for(model) else None

    def _about(self, views: Iterable[LocalModelView]) -> Mapping[str, str]:
        listed = list(views)
        loaded = sum(view.state in _IN_MEMORY for view in listed)
        runners = [
            f"{runner.label} {runner.version}".strip() for runner in self._starter.runners if runner.is_usable
        ]
        about = {"Models": f"{len(listed)}, {loaded} of them in memory"}
        return about | ({"Run by": ", ".join(runners)} if runners else {})

    # --- events

    def _on_tick(self) -> None:
        self._tick = None
        if self._is_watched() or self._clock() - self._looked_at < LOOK_S:
            self._tick = self._later(TICK_S, self._on_tick)
            self._schedule()
        else:
            self._is_close = False
            self._catalog.watch(closely=False)

    def _schedule(self) -> None:
        if self._flush_timer is None and not self._is_closed:
            wait = max(0.0, self._flushed_at + EVENT_GAP_S - self._clock())
            self._flush_timer = self._later(wait, self._flush)

    def _flush(self) -> None:
        """Publish what has changed, and come back while something moves."""
        self._flush_timer = None
        self._flushed_at = self._clock()
        views = self._changed_views()
        ids = frozenset(self._catalog.models)
        removed = tuple(sorted(self._shown_ids - ids))
        memory = self._engines.memory()
        downloads = tuple(self._downloads.views())
        revision = self._revision
        if (
            views
            or removed
            or revision != self._shown_revision
            or downloads != self._shown_downloads
            or _differs(memory, self._shown_memory)
        ):
            event_views = tuple(views)
            self._publish(
                lambda seq: LocalEvent(
                    seq=seq,
                    models=event_views,
                    removed=removed,
                    memory=memory,
                    downloads=downloads,
                    revision=revision,
                )
            )
            self._shown_revision = revision
            self._shown_ids, self._shown_memory, self._shown_downloads = ids, memory, downloads
        if any(view.state in _MOVING for view in views) or any(
            download.state in _DOWNLOADING for download in downloads
        ):
            self._schedule()

    def _changed_views(self) -> Sequence[LocalModelView]:
        changed = self._engines.details_changed()
        if len(changed) > _MANY:
            wanted = frozenset(changed)
            return [view for view in self._engines.views() if view.id in wanted]
        views = []
        for model_id in changed:
            with suppress(NotFound):  # it has gone since
                views.append(self._engines.view(model_id))
        return views


def delete_files(folder: Path, files: Iterable[Path]) -> None:
    """Delete files inside a folder, and the folders below it that are empty then; raises OSError.

    A link is deleted, never what it points to, and nothing outside the folder.
    """
    root = folder.resolve()
    for file in files:
        parent = file.parent.resolve()
        if not parent.is_relative_to(root):
            continue
        (parent / file.name).unlink(missing_ok=True)
        while parent != root and parent.is_relative_to(root):
            try:
                parent.rmdir()
            except OSError:  # it is not empty
                break
            parent = parent.parent


def _hidden(settings: LocalSettings) -> frozenset[str]:
    return frozenset(model.id for model in settings.models if model.hidden)


def _runner_settings(settings: LocalSettings) -> tuple[object, ...]:
    return settings.runner, settings.llama_server


def _detail(model: LocalModel, view: LocalModelView | None, slots: int | None) -> ModelDetail:
    is_loaded = view is not None and view.state in _IN_MEMORY
    context = view.context if view is not None and view.context else model.context_max
    return ModelDetail(
        context=context or None,
        loaded=is_loaded,
        slots=slots,
        load_s=None if view is None else view.load_s,
        quantization=model.quantization,
        parameters=model.parameters,
        capabilities=_capabilities(model),
    )


def _capabilities(model: LocalModel) -> tuple[str, ...]:
    match model.purpose:
        case "embedding":
            return ("embeddings",)
        case "rerank":
            return ("rerank",)
    words: tuple[str, ...] = ("chat", "completion") if model.has_chat_template else ("completion",)
    words += ("tools",) * model.takes_tools + ("vision",) * bool(model.projector)
    return words


def _differs(one: MemoryView, other: MemoryView) -> bool:
    step = max(one.total_bytes, 1) * _MEMORY_STEP
    pairs = (
        (one.available_bytes, other.available_bytes),
        (one.models_bytes, other.models_bytes),
        (one.budget_bytes, other.budget_bytes),
    )
    return any(abs(first - second) >= step for first, second in pairs)
