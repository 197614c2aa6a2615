"""This machine's own models as the gateway sees them, without engines, disks and network."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from meshlight.backends.base import ModelRoute, Probe
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.errors import Conflict, NotFound, RouteUnavailable
from meshlight.domain.health import Answered
from meshlight.domain.local_models import Demand
from meshlight.domain.local_views import (
    DownloadView,
    EngineLog,
    LocalModelView,
    LocalView,
    MemoryView,
    RepositoryFile,
    RepositoryView,
    StarterView,
)
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.local_models.interfaces import Downloads

QWEN = LocalModelView(
    id="owner/qwen:Q4_K_M",
    state="on-disk",
    size_bytes=4_000,
    need_bytes=5_000,
    context_max=32_768,
    context=8_192,
    quantization="Q4_K_M",
    parameters="1.7B",
    architecture="qwen3",
    runner="llama-server",
    can_delete=True,
)
FOREIGN = replace(QWEN, id="borrowed", store="lmstudio", can_delete=False)


class FakeDownloads:
    """Downloads that get on by one step whenever `step` is called."""

    def __init__(self) -> None:
        self.listed: dict[str, DownloadView] = {}
        self.plan: list[DownloadView | None] = []
        """What the newest download becomes, step by step; None is a cancelled one."""
        self.error: Exception | None = None

    def step(self) -> None:
        if self.plan and (last := next(reversed(self.listed), None)) is not None:
            following = self.plan.pop(0)
            if following is None:
                del self.listed[last]
            else:
                self.listed[last] = replace(following, id=last, name=self.listed[last].name)

    def views(self) -> Sequence[DownloadView]:
        return tuple(self.listed.values())

    def starters(self) -> Sequence[StarterView]:
        return (
            StarterView(
                name="starter", label="SmolLM2", size_bytes=98, licence="Apache-2.0", good_for="a try"
            ),
        )

    async def repository(self, name: str) -> RepositoryView:
        if self.error is not None:
            raise self.error
        return RepositoryView(
            name=name, files=(RepositoryFile(name=f"{name}:Q4_K_M", quantization="Q4_K_M", size_bytes=5),)
        )

    async def pull(self, name: str) -> DownloadView:
        if self.error is not None:
            raise self.error
        view = DownloadView(id=f"d{len(self.listed) + 1}", name=name, state="queued")
        self.listed[view.id] = view
        return view

    async def pause(self, download_id: str) -> DownloadView:
        return self._set(download_id, "paused")

    async def resume(self, download_id: str) -> DownloadView:
        return self._set(download_id, "running")

    async def cancel(self, download_id: str) -> None:
        self._find(download_id)
        del self.listed[download_id]

    def start(self) -> None:
        raise AssertionError("only the service starts them")

    async def close(self) -> None:
        raise AssertionError("only the service ends them")

    def _find(self, download_id: str) -> DownloadView:
        if download_id not in self.listed:
            raise NotFound("There is no such download.", "GET /mesh/models lists them.")
        return self.listed[download_id]

    def _set(self, download_id: str, state: Any) -> DownloadView:
        self.listed[download_id] = replace(self._find(download_id), state=state)
        return self.listed[download_id]


class FakeLocalModels:
    """Models that are loaded at once; `calls` are what was done, in order."""

    def __init__(self, *models: LocalModelView, url: str = "http://127.0.0.1:9") -> None:
        self.models = {model.id: model for model in models}
        self.fake_downloads = FakeDownloads()
        self.downloads: Downloads = self.fake_downloads
        self.enabled = True
        self.busy: set[str] = set()
        self.unfit: Reason | None = None
        """Why no guest's model can be loaded."""
        self.calls: list[tuple[object, ...]] = []
        self.on_change: Callable[[], None] = lambda: None
        self.called = asyncio.Event()
        """Set once something was called."""
        self.loading: asyncio.Event | None = None
        """What a load waits for."""
        self.url = url
        self.looks = 0
        self.running: dict[str, ModelRoute] = {}
        """Where the engines are that were asked for."""

    async def look(self) -> None:
        self.looks += 1

    def view(self) -> LocalView:
        if not self.enabled:
            return LocalView(enabled=False)
        loaded = [model for model in self.models.values() if model.state == "ready"]
        memory = MemoryView(
            total_bytes=100_000,
            budget_bytes=50_000,
            models_bytes=sum(model.need_bytes for model in loaded),
        )
        return LocalView(
            models=tuple(self.models.values()),
            memory=memory,
            downloads=tuple(self.downloads.views()),
            starters=tuple(self.downloads.starters()),
            can_run=True,
            can_start=True,
        )

    def model(self, name: str) -> LocalModelView:
        for model in self.models.values():
            if name in {model.id, model.id.partition(":")[0]}:
                return model
        raise NotFound(f"No model of this machine is called {name[:60]!r}.", "`meshlight models` lists them.")

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        del model, upstream
        return None

    def probe(self) -> Probe:
        shown = [model for model in self.models.values() if not model.hidden]
        return Probe(
            fact=Answered(0.0),
            models=tuple(model.id for model in shown),
            details={model.id: ModelDetail(loaded=model.state == "ready") for model in shown},
            can_load=True,
        )

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        self.calls.append(("route", model, demand))
        if demand.is_guest and self.unfit is not None:
            raise RouteUnavailable(self.unfit)
        self._set(model, "ready")
        if model not in self.running:
            self.running[model] = ModelRoute(Upstream(parse_address(self.url)), (), model)
        return self.running[model]

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        del demand
        return self.running.get(model)

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        self.calls.append(("load", model, wait))
        self.called.set()
        if not wait:
            return self._set(model, "loading")
        if self.loading is not None:
            await self.loading.wait()
        if self.unfit is not None:
            self.models[model] = replace(self.models[model], state="failed", reason=self.unfit)
            return self.models[model]
        return self._set(model, "ready")

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        self.calls.append(("unload", model, force))
        if model in self.busy and not force:
            raise Conflict(f"{model} answers 1 request now.", "Wait, or unload it by force.")
        return self._set(model, "on-disk")

    def log(self, model: str) -> EngineLog:
        return EngineLog(model=model, lines=("loaded",))

    async def delete(self, model: str) -> None:
        self.calls.append(("delete", model))
        if not self.models[model].can_delete:
            raise Conflict(f"{model} belongs to LM Studio.", "Delete it there.")
        del self.models[model]
        self.on_change()

    async def refresh(self) -> None:
        self.calls.append(("refresh",))

    def _set(self, model: str, state: Any) -> LocalModelView:
        self.models[model] = replace(self.models[model], state=state)
        self.on_change()
        return self.models[model]
