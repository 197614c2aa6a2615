"""The parts of `LocalModelManager` as a test wants them: nothing is read, nothing runs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from fake_clock import Clock
from meshlight.backends.base import ModelRoute
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import NotFound
from meshlight.domain.events import LocalEvent
from meshlight.domain.local_models import Demand, LocalModel, RejectedFile
from meshlight.domain.local_views import (
    DeviceView,
    DownloadView,
    EngineLog,
    Fit,
    LocalModelView,
    MemoryView,
    RepositoryView,
    RunnerView,
    StarterView,
    StoreView,
)
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.local_models.interfaces import RunningEngine
from meshlight.local_models.manager import LocalModelManager

LLAMA = RunnerView(name="llama-server", label="llama.cpp", version="b1", is_usable=True)


def local_model(model_id: str, **fields: object) -> LocalModel:
    """A model of one file in a folder of the user's."""
    given = {
        "path": f"/m/{model_id}.gguf",
        "size_bytes": 10,
        "store": "folder",
        "has_chat_template": True,
        "takes_tools": True,
    }
    given = given | fields
    given.setdefault("files", (given["path"],))
    return LocalModel(id=model_id, format="gguf", **given)  # type: ignore[arg-type]


class FakeCatalog:
    def __init__(self, *models: LocalModel) -> None:
        self.models: Mapping[str, LocalModel] = {model.id: model for model in models}
        self.rejected: Sequence[RejectedFile] = ()
        self.stores: Sequence[StoreView] = ()
        self.refreshed = 0
        self.watched: list[bool] = []
        self.is_closed = False
        self.settings: LocalSettings | None = None
        self.on_change: Callable[[], None] = lambda: None

    def find(self, name: str) -> LocalModel | None:
        found = self.models.get(name)
        return found or next((model for model in self.models.values() if name in model.names), None)

    def put(self, *models: LocalModel) -> None:
        self.models = {model.id: model for model in models}
        self.on_change()

    async def refresh(self) -> None:
        self.refreshed += 1

    def forget(self, model: str) -> None:
        self.models = {key: one for key, one in self.models.items() if key != model}
        self.on_change()

    def watch(self, *, closely: bool) -> None:
        self.watched.append(closely)

    def follow(self, settings: LocalSettings) -> None:
        self.settings = settings

    def close(self) -> None:
        self.is_closed = True


class FakeEngines:
    """Every model of the catalog is on disk until a test sets another view."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self._catalog = catalog
        self._views: dict[str, LocalModelView] = {}
        self._changed: list[str] = []
        self.on_change: Callable[[], None] = lambda: None
        self.routed: list[tuple[str, Demand]] = []
        self.ended: list[str] = []
        self.catalog_changes = 0
        self.prepared = 0
        self.running: dict[str, ModelRoute] = {}
        self.on_prepare: Callable[[], None] = lambda: None
        self.measured = MemoryView(total_bytes=1_000)
        self.settings: LocalSettings | None = None
        self.is_closed = False

    def set(self, model: str, **fields: object) -> None:
        self._views[model] = replace(self.view(model), **fields)
        self._changed.append(model)
        self.on_change()

    @property
    def devices(self) -> Sequence[DeviceView]:
        return (DeviceView(name="GPU", total_bytes=8, free_bytes=4),)

    def memory(self) -> MemoryView:
        return self.measured

    def fit(self, need: int) -> tuple[Fit, int]:
        del need
        return "now", 0

    async def prepare(self) -> None:
        self.prepared += 1
        self.on_prepare()

    def views(self) -> list[LocalModelView]:
        return [self.view(model) for model in self._catalog.models]

    def view(self, model: str) -> LocalModelView:
        if model not in self._catalog.models:
            raise NotFound("No such model.")
        return self._views.get(model) or LocalModelView(id=model, state="on-disk")

    def details_changed(self) -> list[str]:
        changed, self._changed = self._changed, []
        return changed

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        self.routed.append((model, demand))
        self.running[model] = ModelRoute(Upstream(parse_address("http://127.0.0.1:1")), (), model)
        return self.running[model]

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        return self.running.get(model) if not demand.is_guest else None

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        del upstream
        return Reason("engine-ended", f"The engine of {model} ran out of memory.")

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        del wait
        self.set(model, state="loading")
        return self.view(model)

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        del force
        self.set(model, state="on-disk")
        return self.view(model)

    def log(self, model: str) -> EngineLog:
        return EngineLog(model=model, lines=("a line",))

    def request_ended(self, model: str) -> None:
        self.ended.append(model)

    def follow(self, settings: LocalSettings) -> None:
        self.settings = settings

    def catalog_changed(self) -> None:
        self.catalog_changes += 1

    async def close(self) -> None:
        self.is_closed = True


class FakeStarter:
    def __init__(self, *runners: RunnerView) -> None:
        self.runners: Sequence[RunnerView] = runners
        self.did: list[str] = []
        self.labels = "llama.cpp"

    async def find(self) -> Sequence[RunnerView]:
        self.did.append("find")
        return self.runners

    async def devices(self) -> Sequence[DeviceView]:
        raise NotImplementedError

    def label_for(self, model: LocalModel) -> str:
        return self.labels if model.format == "gguf" else ""

    def slots_for(self, model: LocalModel) -> int | None:
        return 4 if model.format == "gguf" else None

    async def start(
        self, model: LocalModel, context: int, args: Sequence[str], load_s: float
    ) -> RunningEngine:
        raise NotImplementedError

    def follow(self, settings: LocalSettings) -> None:
        self.did.append(f"follow {settings.runner}")

    async def end_leftovers(self) -> None:
        self.did.append("end leftovers")


class FakeDownloads:
    def __init__(self) -> None:
        self.all: tuple[DownloadView, ...] = ()
        self.started = asyncio.Event()
        self.is_closed = False

    def views(self) -> Sequence[DownloadView]:
        return self.all

    def starters(self) -> Sequence[StarterView]:
        return ()

    async def repository(self, name: str) -> RepositoryView:
        return RepositoryView(name=name, files=())

    async def pull(self, name: str) -> DownloadView:
        return DownloadView(id="1", name=name, state="queued")

    async def pause(self, download_id: str) -> DownloadView:
        return DownloadView(id=download_id, name="a", state="paused")

    async def resume(self, download_id: str) -> DownloadView:
        return DownloadView(id=download_id, name="a", state="queued")

    async def cancel(self, download_id: str) -> None:
        del download_id

    def start(self) -> None:
        self.started.set()

    async def close(self) -> None:
        self.is_closed = True


class Rig:
    """A manager with fake parts on a fake clock."""

    def __init__(self, *models: LocalModel, own_folder: Path = Path("/own")) -> None:
        self.clock = Clock()
        self.catalog = FakeCatalog(*models)
        self.engines = FakeEngines(self.catalog)
        self.starter = FakeStarter(LLAMA)
        self.downloads = FakeDownloads()
        self.events: list[LocalEvent] = []
        self.known: list[bool] = []
        self.probes = 0
        self.has_page = False
        self.manager = LocalModelManager(
            catalog=self.catalog,
            engines=self.engines,
            starter=self.starter,
            downloads=self.downloads,
            own_folder=lambda: own_folder,
            settings=LocalSettings(),
            clock=self.clock,
            later=self.clock.later,
            publish=lambda make: self.events.append(make(len(self.events))),
            is_watched=lambda: self.has_page,
            on_known=self.known.append,
            probe_soon=self._count_probe,
        )
        self.catalog.on_change = self.manager.catalog_changed
        self.engines.on_change = self.manager.engines_changed

    def _count_probe(self) -> None:
        self.probes += 1
