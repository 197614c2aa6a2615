"""The seams between the rooms of this package, and to the rest of the service; tests put their own parts there.

catalog  ── Catalog ──▶ engines (the one owner) ◀── Starter ── runners, processes
downloads ── on_done ──▶ catalog.refresh
backends/this_machine, gateway/control/local_models, cli ──▶ LocalModels (manager.py), which joins them all
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from meshlight.backends.base import ModelRoute, Probe
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import Demand, LocalModel, RejectedFile
from meshlight.domain.local_views import (
    DeviceView,
    DownloadView,
    EngineLog,
    Fit,
    LocalModelView,
    LocalView,
    MemoryView,
    RepositoryView,
    RunnerView,
    StarterView,
    StoreView,
)
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.local_models.runners.base import Ending


class Catalog(Protocol):
    """The models on this machine's disks; the constructor's `on_change` is called on the loop after a change."""

    @property
    def models(self) -> Mapping[str, LocalModel]:
        """All models by id, those that are missing included."""

    @property
    def rejected(self) -> Sequence[RejectedFile]:
        """Files that are no usable models, and why."""

    @property
    def stores(self) -> Sequence[StoreView]:
        """Where was looked."""

    def find(self, name: str) -> LocalModel | None:
        """Return the model of this id or further name."""

    async def refresh(self) -> None:
        """Look again now, in a thread; joins a scan that runs already."""

    def watch(self, *, closely: bool) -> None:
        """Look every 10 s (`closely`: somebody looks) or every 60 s from now on."""

    def forget(self, model: str) -> None:
        """Leave out a model that was deleted, instead of calling it missing."""

    def follow(self, settings: LocalSettings) -> None:
        """Look where these settings say from now on."""

    def close(self) -> None:
        """Stop looking."""


class EngineFailed(Exception):
    """An engine did not start, or ended while loading; `reason` says why in plain words."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


class RunningEngine(Protocol):
    """One engine process that was started."""

    @property
    def address(self) -> Address:
        """Where it listens, on loopback."""

    @property
    def key(self) -> str:
        """The key that it wants."""

    @property
    def model_name(self) -> str:
        """The model's name there."""

    @property
    def runner_label(self) -> str:
        """What runs it."""

    @property
    def context(self) -> int:
        """The context that it was started with, in tokens."""

    @property
    def progress(self) -> float | None:
        """0 to 1 while it loads, if it tells."""

    @property
    def ended(self) -> asyncio.Future[Ending]:
        """Done when the process is gone."""

    def log(self) -> tuple[str, ...]:
        """Return its last lines (200 at most), sanitized."""

    def resident_bytes(self) -> int:
        """Return the memory that it takes now; 0 if that can't be read."""

    def explain(self, ending: Ending) -> Reason:
        """Say why it ended."""

    async def wait_ready(self) -> None:
        """Wait until the model is loaded; raises EngineFailed when it ends, stalls for 120 s or takes too long."""

    async def stop(self, *, force: bool = False) -> None:
        """End it (at once with `force`) and return when the process is gone."""


class EngineStarter(Protocol):
    """Chooses a runner for a model and starts engines."""

    async def find(self) -> Sequence[RunnerView]:
        """Look which runners can be used; cheap the second time."""

    @property
    def runners(self) -> Sequence[RunnerView]:
        """What was found last."""

    async def devices(self) -> Sequence[DeviceView]:
        """Return the devices with memory of their own."""

    def label_for(self, model: LocalModel) -> str:
        """Return the label of the runner that would run it; empty if none can."""

    def slots_for(self, model: LocalModel) -> int | None:
        """Return how many requests its engine answers at the same time; None for no known number."""

    async def start(
        self, model: LocalModel, context: int, args: Sequence[str], load_s: float
    ) -> RunningEngine:
        """Start an engine for a model; raises EngineFailed, BadRequest for arguments that are not allowed."""

    def follow(self, settings: LocalSettings) -> None:
        """Use these settings from now on."""

    async def end_leftovers(self) -> None:
        """End the engines that an earlier service has left behind, by pid and start time."""


class Engines(Protocol):
    """The one owner of all engines: starts, counts, evicts, unloads. No locks: everything runs on the event loop."""

    async def prepare(self) -> None:
        """Find out how much room the devices have, before anybody asks what fits."""

    def views(self) -> Sequence[LocalModelView]:
        """Return all models of the catalog with their engines."""

    def view(self, model: str) -> LocalModelView:
        """Return one; NotFound when there is none."""

    def details_changed(self) -> Sequence[str]:
        """Return the ids of the models whose view changed since the last call."""

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        """Return the route to a model's engine, started if need be; raises RouteUnavailable with the reason."""

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """Return the same if the engine runs, else None."""

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        """Return why the engine behind a route's client has ended, once its process is gone; None if it runs."""

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        """Load a model; NotFound, Conflict (with numbers) when it can't fit."""

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        """Unload a model and return when its process is gone.

        Running answers may take 10 s to end, and if they don't: Conflict, and it stays; with `force` they are cut at
        once.
        """

    def log(self, model: str) -> EngineLog:
        """Return the last lines of a model's engine; NotFound."""

    def request_ended(self, model: str) -> None:
        """Count the idle time from now: the last byte of an answer was sent, or its client has left."""

    def memory(self) -> MemoryView:
        """Return the memory as far as models are concerned."""

    @property
    def devices(self) -> Sequence[DeviceView]:
        """The devices with memory of their own, as they were before the last load."""

    def fit(self, need: int) -> tuple[Fit, int]:
        """Return whether something that needs so many bytes fits, and by how many it is too big (0 if it fits)."""

    def catalog_changed(self) -> None:
        """Follow the catalog, after each of its changes."""

    def follow(self, settings: LocalSettings) -> None:
        """Use these settings from now on; loads what is kept."""

    async def close(self) -> None:
        """End all engines, in parallel."""


class Downloads(Protocol):
    """What is on its way here. `on_change` and `on_done` are constructor arguments."""

    def views(self) -> Sequence[DownloadView]:
        """Return all downloads, the running one first."""

    def starters(self) -> Sequence[StarterView]:
        """Return the models that are offered to those who have none."""

    async def repository(self, name: str) -> RepositoryView:
        """Return what `owner/repo` offers; raises NotFound, BadRequest, BackendCheckFailed (offline, gated)."""

    async def pull(self, name: str) -> DownloadView:
        """Begin to download `starter`, a starter's name, or `owner/repo[:QUANT]`; it may be queued.

        Raises as `repository`, and Conflict if the disk has too little room, or a choice has to be made.
        """

    async def pause(self, download_id: str) -> DownloadView:
        """Pause; what is here stays. NotFound."""

    async def resume(self, download_id: str) -> DownloadView:
        """Go on where it stopped. NotFound."""

    async def cancel(self, download_id: str) -> None:
        """Forget it, and delete what is here of it. NotFound."""

    def start(self) -> None:
        """Go on with what an earlier service has begun."""

    async def close(self) -> None:
        """Stop; what is here stays, to go on at the next start."""


class LocalModels(Protocol):
    """All of it, as the backend of kind `local`, the control API and Ollama's API see it."""

    @property
    def downloads(self) -> Downloads:
        """What is on its way here."""

    def view(self) -> LocalView:
        """Return everything."""

    async def look(self) -> None:
        """Notice what is new on the disks sooner for a while: somebody looks at the models.

        Returns when it is known what can run them.
        """

    def model(self, name: str) -> LocalModelView:
        """Return one model by id or further name; NotFound."""

    def probe(self) -> Probe:
        """Return the health and models of this machine, from memory."""

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        """See `Engines.route`."""

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """See `Engines.route_now`."""

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        """See `Engines.why_lost`."""

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        """See `Engines.load`."""

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        """See `Engines.unload`."""

    def log(self, model: str) -> EngineLog:
        """See `Engines.log`."""

    async def delete(self, model: str) -> None:
        """Delete a model's files from our own folder; Conflict for one of another store, or that is loaded."""

    async def refresh(self) -> None:
        """Look at runners and disks again now."""


OnChange = Callable[[], None]
