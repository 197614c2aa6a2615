"""A gateway on a free port, with the guard and all control handlers that this machine's own models need."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from msgspec.structs import replace

import node
from gateway.fake_local_models import FakeLocalModels
from gateway.rig import Rig
from mesh.memory_settings import MemorySettingsStore
from meshlight.domain.api_types import Identity, RouterView, SnapshotView
from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.domain.local_models import LOCAL_ID
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.app import build_app
from meshlight.gateway.control.events import Events
from meshlight.gateway.control.page import Page, web_folder
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.lane import Lane
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.ollama_local import OllamaLocal
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.parts import GatewayParts
from meshlight.gateway.server.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.server.listener import bind
from meshlight.gateway.server.server import serve
from meshlight.mesh.event_hub import EventHub
from meshlight.mesh.event_publisher import EventPublisher
from meshlight.mesh.model_loading import ModelLoading

KEY = "canary-77e1-local-key"
NOW = 1_700_000_000.0


class LocalGateway:
    """What a running gateway consists of; `local` is None where this machine's own models are switched off."""

    def __init__(self, local: FakeLocalModels | None, config: Config | None = None) -> None:
        self.local = local
        self.rig = Rig()
        self.settings = MemorySettingsStore(Config(lane=node.LANE) if config is None else config)
        self.loading = ModelLoading(
            self.rig.registry, self.rig.links, self.rig.prober, self.rig.traffic, local
        )
        self.requires_key = True
        self.origins: Sequence[str] = ()
        self._settings: tuple[tuple[Config, bool, tuple[str, ...]] | None, Config] = None, Config()
        self.sessions = Sessions(time.monotonic)
        self.hub = EventHub(self._view)
        router = RouterView(
            node_id="n",
            name="n",
            version="1",
            status="running",
            uptime_s=1.0,
            requests=self.rig.traffic.router.requests(),
        )
        self.publisher = EventPublisher(
            self.rig.registry,
            self.rig.traffic,
            self.hub,
            self.rig.clock,
            self.rig.clock.later,
            lambda: router,
        )
        self.url = ""
        self.lane: Lane | None = None
        self.http: httpx.AsyncClient
        if local is not None:
            local.on_change = self.probe
            self.probe()

    def probe(self) -> None:
        """Put what this machine says of its models into the registry, as its backend's probe does."""
        if self.local is None:
            return
        backend = Backend(
            id=LOCAL_ID,
            name="This machine",
            kind="llamacpp",
            ring="machine",
            url=self.local.url,
            source="own",
        )
        self.rig.registry.put(backend)
        self.rig.registry.record_probe(LOCAL_ID, self.local.probe())

    def _view(self) -> SnapshotView:
        return self.publisher.view()

    def parts(self, port: int) -> GatewayParts:
        registry, started = self.rig.registry, int(NOW)
        local = None if self.local is None else OllamaLocal(self.local, wall=lambda: NOW, pause=self._pause)
        return GatewayParts(
            inference=Inference(
                self.rig.relay,
                ModelCatalog(registry, started),
                Ollama(registry, started, "1.0", self.rig.links, local),
            ),
            relay=self.rig.relay,
            events=Events(self.hub),
            page=Page(web_folder(), self.sessions, lambda _: None),
            view=self.publisher.view,
            sessions=self.sessions,
            identity=Identity(version="1.0"),
            url=self.url,
            port=port,
            is_app_key=lambda _: False,
            is_key=KEY.encode().__eq__,
            prove=lambda _: "",
            settings=self._in_force,
            write_link=lambda _, __, ___: Path(),
            dependencies={
                "publisher": self.publisher,
                "registry": registry,
                "settings": self.settings,
                "local_models": self.local,
                "model_loading": self.loading,
            }
            | dict.fromkeys(
                (
                    "app_texts",
                    "findings",
                    "history",
                    "traffic",
                    "route_memory",
                    "prober",
                    "refresher",
                    "backend_admin",
                    "machine",
                    "access_keys",
                    "sessions",
                    "sign_in",
                    "model_tester",
                    "peers",
                    "welcome",
                )
            ),
        )

    def _in_force(self) -> Config:
        """Return the configuration; the same object while nothing of it changes."""
        wanted = self.settings.config, self.requires_key, tuple(self.origins)
        if self._settings[0] != wanted:
            config, requires_key, origins = wanted
            self._settings = wanted, replace(config, require_key=requires_key, allowed_origins=origins)
        return self._settings[1]

    async def _pause(self, _: float) -> None:
        await asyncio.sleep(0)
        if self.local is not None:
            self.local.fake_downloads.step()


@asynccontextmanager
async def running(
    local: FakeLocalModels | None, config: Config | None = None, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[LocalGateway]:
    """Serve a gateway."""
    gateway = LocalGateway(local, config)
    sock = bind("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    gateway.url = f"http://127.0.0.1:{port}"
    stop, ready = asyncio.Event(), asyncio.Event()
    app = build_app(gateway.parts(port))
    gateway.lane = app.lane if isinstance(app.lane, Lane) else None
    serving = asyncio.create_task(serve(app, [sock], stop=stop, ready=ready.set, limits=limits))
    await ready.wait()
    headers = {"authorization": f"Bearer {KEY}"}
    try:
        async with httpx.AsyncClient(
            base_url=gateway.url, headers=headers, trust_env=False, timeout=30, verify=node.PLAIN
        ) as gateway.http:
            yield gateway
    finally:
        stop.set()
        await serving
        gateway.rig.links.close()
