"""A catalog, engines, memory and records that a test moves by hand, and an owner of engines on a clock of its own."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fake_clock import Clock
from meshlight.backends.base import ModelRoute
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalModelSettings, LocalSettings
from meshlight.domain.local_memory import OVERHEAD_BYTES, RESERVE_BYTES, MemoryNow
from meshlight.domain.local_models import Demand, LocalModel, RejectedFile
from meshlight.domain.local_views import DeviceView, LocalModelView, RunnerView, StoreView
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.local_models.engines.owner import EngineDeps, EngineOwner
from meshlight.local_models.interfaces import EngineFailed
from meshlight.local_models.runners.base import Ending

GB = 10**9
OWNER = Demand()
GUEST = Demand(is_guest=True)


def a_model(name: str, gigabytes: float = 1.0, **fields: object) -> LocalModel:
    """Return a model that needs so much memory with any context."""
    given = {
        "format": "gguf",
        "path": f"{name}.gguf",
        "files": (f"{name}.gguf",),
        "size_bytes": int(gigabytes * GB) - OVERHEAD_BYTES,
        "store": "own",
        "context_max": 4_096,
    } | fields
    return LocalModel(id=name, **given)  # type: ignore[arg-type]


class FakeCatalog:
    """Models that a test sets."""

    def __init__(self, *models: LocalModel) -> None:
        self.models: dict[str, LocalModel] = {model.id: model for model in models}
        self.rejected: Sequence[RejectedFile] = ()
        self.stores: Sequence[StoreView] = ()

    def find(self, name: str) -> LocalModel | None:
        named = (model for model in self.models.values() if name in model.names)
        return self.models.get(name) or next(named, None)

    async def refresh(self) -> None:
        pass

    def forget(self, model: str) -> None:
        raise NotImplementedError

    def watch(self, *, closely: bool) -> None:
        pass

    def follow(self, settings: LocalSettings) -> None:
        pass

    def close(self) -> None:
        pass


class FakeEngine:
    """An engine that is loaded, fails, crashes and ends when a test says so."""

    model_name = "model"
    runner_label = "llama.cpp"

    def __init__(self, model: LocalModel, context: int, args: Sequence[str], starter: "FakeStarter") -> None:
        self.model = model
        self.context = context
        self.args = tuple(args)
        self.key = f"key of {model.id}"
        self.address = Address("http", "127.0.0.1", 40_000 + len(starter.engines))
        self.progress: float | None = None
        self.resident = 0
        self.stops: list[bool] = []
        """For each call of `stop`, whether it was by force."""
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ending] = loop.create_future()
        self._starter = starter
        self._ready: asyncio.Future[None] = loop.create_future()

    @property
    def is_alive(self) -> bool:
        return not self.ended.done()

    def log(self) -> tuple[str, ...]:
        return (f"log of {self.model.id}",)

    def resident_bytes(self) -> int:
        return self.resident

    def explain(self, ending: Ending) -> Reason:
        return Reason("crashed", f"It ended with {ending.exit_code}.", "Look at its log.")

    async def wait_ready(self) -> None:
        parts: list[asyncio.Future[Any]] = [self._ready, self.ended]
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            self._ready.result()
        else:
            raise EngineFailed(self.explain(self.ended.result()))

    async def stop(self, *, force: bool = False) -> None:
        self.stops.append(force)
        self._starter.on_stop(self, force)
        if not self._starter.holds_stops:
            self.end(-15)
        await asyncio.wait([self.ended])

    def load(self) -> None:
        """Have it loaded."""
        if not self._ready.done():
            self._ready.set_result(None)

    def fail(self, code: str = "broken") -> None:
        """Have the load fail."""
        if not self._ready.done():
            self._ready.set_exception(EngineFailed(Reason(code, "It is broken.", "Get it again.")))

    def end(self, exit_code: int = 1) -> None:
        """End the process."""
        if self.is_alive:
            self.ended.set_result(Ending(exit_code=exit_code, log=self.log()))


class FakeStarter:
    """Starts fake engines; `loads_at_once` spares a test the loading."""

    def __init__(self) -> None:
        self.engines: list[FakeEngine] = []
        self.loads_at_once = True
        self.holds_stops = False
        self.error: Exception | None = None
        self.label = "llama.cpp"
        self.found: Sequence[DeviceView] = ()
        self.asked = 0
        self.runners: Sequence[RunnerView] = ()
        self.on_start: Callable[[LocalModel], None] = lambda _: None
        self.on_stop: Callable[[FakeEngine, bool], None] = lambda _engine, _force: None

    async def find(self) -> Sequence[RunnerView]:
        self.runners = (RunnerView(name="llama-server", label=self.label, is_usable=True),)
        return self.runners

    async def devices(self) -> Sequence[DeviceView]:
        self.asked += 1
        await asyncio.sleep(0)
        return self.found

    def label_for(self, model: LocalModel) -> str:  # noqa: ARG002 - all are run by the same
        return self.label

    def slots_for(self, model: LocalModel) -> int | None:  # noqa: ARG002
        return None

    async def start(self, model: LocalModel, context: int, args: Sequence[str], load_s: float) -> FakeEngine:  # noqa: ARG002
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.on_start(model)
        engine = FakeEngine(model, context, args, self)
        self.engines.append(engine)
        if self.loads_at_once:
            engine.load()
        return engine

    def follow(self, settings: LocalSettings) -> None:
        pass

    async def end_leftovers(self) -> None:
        pass

    def alive(self) -> list[str]:
        """Return the models whose engines run, in the order in which they were started."""
        return [engine.model.id for engine in self.engines if engine.is_alive]

    def engine(self, model: str) -> FakeEngine:
        """Return the last engine of a model."""
        return [engine for engine in self.engines if engine.model.id == model][-1]


class FakeMemory:
    """A machine whose models may take `budget` in all."""

    is_apple = False
    maps_stay_available = True

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def read(self) -> MemoryNow:
        return MemoryNow(20 * GB, self.budget + RESERVE_BYTES)


class FakeRecords:
    """Records that are kept in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.writes = 0

    def read(self) -> bytes:
        return self.data

    def write(self, data: bytes) -> None:
        self.data = data
        self.writes += 1


class Rig:
    """An owner of fake engines, and requests as the traffic counts them."""

    def __init__(self, *models: LocalModel, budget: float = 10.0, **settings: object) -> None:
        self.clock = Clock()
        self.catalog = FakeCatalog(*models)
        self.starter = FakeStarter()
        self.memory = FakeMemory(int(budget * GB))
        self.records = FakeRecords()
        self.in_flight: Counter[str] = Counter()
        self.changes = 0
        self.owner = EngineOwner(self.deps(), LocalSettings(**settings))  # type: ignore[arg-type]

    def deps(self) -> EngineDeps:
        return EngineDeps(
            catalog=self.catalog,
            starter=self.starter,
            memory=self.memory,
            records=self.records,
            clock=self.clock,
            later=self.clock.later,
            in_flight=lambda model: self.in_flight[model],
            upstream_for=Upstream,
            on_change=self._on_change,
        )

    def _on_change(self) -> None:
        self.changes += 1

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and all that is to be done be done."""
        await self._idle()
        while seconds > 0:
            step = min(seconds, 1.0)
            seconds -= step
            self.clock.pass_time(step)
            await self._idle()

    async def _idle(self) -> None:
        for _ in range(12):
            self.clock.pass_time(0.0)
            await asyncio.sleep(0)

    def ask(self, model: str, demand: Demand = OWNER) -> "asyncio.Task[ModelRoute]":
        """Begin a request: it counts as in flight until `answered`, or until it is refused."""
        self.in_flight[model] += 1
        return asyncio.get_running_loop().create_task(self._ask(model, demand))

    async def _ask(self, model: str, demand: Demand) -> ModelRoute:
        try:
            return await self.owner.route(model, demand)
        except BaseException:
            self.answered(model)
            raise

    def answered(self, model: str) -> None:
        """End a request."""
        self.in_flight[model] -= 1
        self.owner.request_ended(model)

    async def use(self, model: str, demand: Demand = OWNER) -> ModelRoute:
        """Send a request, and have it answered at once."""
        request = self.ask(model, demand)
        await self.turn()
        route = await request
        self.answered(model)
        await self.turn()
        return route

    def follow(self, *models: LocalModelSettings, **settings: object) -> None:
        """Use other settings."""
        self.owner.follow(LocalSettings(models=models, **settings))  # type: ignore[arg-type]

    def states(self) -> Mapping[str, str]:
        return {view.id: view.state for view in self.owner.views()}

    def view(self, model: str) -> LocalModelView:
        return self.owner.view(model)
