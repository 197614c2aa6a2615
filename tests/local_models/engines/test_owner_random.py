"""Whatever is asked for in whatever order: nobody is evicted who must not be, and nobody is forgotten."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from local_models.fake_engines import GB, FakeEngine, Rig, a_model
from meshlight.domain.config import LocalModelSettings
from meshlight.domain.errors import Conflict, RouteUnavailable
from meshlight.domain.local_models import Demand, LocalModel

SIZES = {"a": 2, "b": 3, "c": 5, "d": 7, "e": 12}
names = st.sampled_from(sorted(SIZES))
demands = st.builds(
    Demand, is_guest=st.booleans(), keep_alive_s=st.none() | st.sampled_from([-1.0, 0.0, 5.0, 100.0])
)
steps = st.one_of(
    st.tuples(st.just("ask"), names, demands),
    *[st.tuples(st.just("ask"), names, st.just(Demand()))] * 3,
    st.tuples(st.sampled_from(["answer", "leave", "loaded", "fails", "crashes", "gone"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["load", "unload", "force", "keep", "free", "vanish", "hide"]), names),
    st.tuples(st.just("budget"), st.integers(4, 14)),
    st.tuples(st.just("time"), st.sampled_from([0.5, 3.0, 31.0])),
)


class Play:
    """One run of steps; `check` is called after each."""

    def __init__(self, *, is_quick: bool) -> None:
        """Engines that are quick load and end by themselves; others when a step says so."""
        self.rig = Rig(*(a_model(name, size) for name, size in SIZES.items()), idle_s=60.0, max_loaded=3)
        self.rig.starter.loads_at_once = is_quick
        self.rig.starter.holds_stops = not is_quick
        self.rig.starter.on_start = self.on_start
        self.rig.starter.on_stop = self.on_stop
        self.requests: list[tuple[str, asyncio.Task[object]]] = []
        self.answering: list[str] = []
        self.buttons: list[asyncio.Task[object]] = []
        self.own: dict[str, LocalModelSettings] = {}
        self.unloaded: set[str] = set()
        """Models that were unloaded by hand, hidden or lost: their engines may be ended at any time."""
        self.wrong: list[str] = []

    def on_start(self, model: LocalModel) -> None:
        memory = self.rig.owner.memory()
        if memory.models_bytes > memory.budget_bytes:
            self.wrong.append(f"{model.id} exceeds the budget")
        alive = self.rig.starter.alive()
        if len(alive) >= 3 or model.id in alive:
            self.wrong.append(f"{model.id} is one too many beside {alive}")

    def on_stop(self, engine: FakeEngine, force: bool) -> None:  # noqa: ARG002
        name = engine.model.id
        if name in self.unloaded or engine._ready.done() is False or not engine.is_alive:
            return
        if engine._ready.exception() is not None:
            return
        if self.rig.in_flight[name] > 0:
            self.wrong.append(f"{name} was ended while it was busy")
        if (
            self.own.get(name, LocalModelSettings(id="")).keep
            and not self.rig.catalog.models[name].is_missing
        ):
            self.wrong.append(f"{name} was ended though it is kept")

    async def do(self, step: tuple[object, ...]) -> None:
        rig, starter = self.rig, self.rig.starter
        match step:
            case ("ask", str(name), Demand() as demand):
                self.requests.append((name, rig.ask(name, demand)))
            case ("answer", int(at)) if self.answering:
                rig.answered(self.answering.pop(at % len(self.answering)))
            case ("leave", int(at)) if self.requests:
                self.requests.pop(at % len(self.requests))[1].cancel()
            case ("load", str(name)):
                self.buttons.append(asyncio.ensure_future(rig.owner.load(name, wait=True)))
            case ("unload" | "force" as how, str(name)):
                self.unloaded.add(name)
                self.buttons.append(asyncio.ensure_future(rig.owner.unload(name, force=how == "force")))
            case ("keep" | "free" | "hide" as how, str(name)):
                self.own[name] = LocalModelSettings(id=name, keep=how == "keep", hidden=how == "hide")
                rig.follow(*self.own.values(), idle_s=60.0, max_loaded=3)
            case ("vanish", str(name)):
                is_missing = not rig.catalog.models[name].is_missing
                rig.catalog.models[name] = a_model(name, SIZES[name], is_missing=is_missing)
                rig.owner.catalog_changed()
            case ("budget", int(gigabytes)):
                rig.memory.budget = gigabytes * GB
            case ("time", float(seconds)):
                await rig.turn(seconds)
            case (str(how), int(at)):
                alive = [engine for engine in starter.engines if engine.is_alive]
                if alive:
                    self.to_engine(how, alive[at % len(alive)])
        await rig.turn()
        self.check()

    def to_engine(self, how: str, engine: FakeEngine) -> None:
        if how == "loaded":
            engine.load()
        elif how == "fails":
            engine.fail()
        elif how == "crashes" or engine.stops:
            engine.end()

    def check(self) -> None:
        assert self.wrong == []
        for entry in tuple(self.requests):
            name, request = entry
            if request.done():
                self.requests.remove(entry)
                if not request.cancelled() and self.error(request) is None:
                    self.answering.append(name)
        for button in tuple(self.buttons):
            if button.done():
                self.buttons.remove(button)
                assert isinstance(self.error(button), Conflict | None)
        self.unloaded &= {engine.model.id for engine in self.rig.starter.engines if engine.is_alive}
        for view in self.rig.owner.views():
            assert view.waiting <= sum(name == view.id for name, _ in self.requests)

    @staticmethod
    def error(task: "asyncio.Task[object]") -> BaseException | None:
        error = task.exception()
        assert error is None or isinstance(error, RouteUnavailable | Conflict), error
        return error

    async def finish(self) -> None:
        """Let everything end, as it does in the end: nobody waits on, and nothing is left."""
        rig, starter = self.rig, self.rig.starter
        starter.loads_at_once = True
        starter.holds_stops = False
        rig.memory.budget = 14 * GB
        self.own.clear()
        rig.catalog.models = {name: a_model(name, size) for name, size in SIZES.items()}
        rig.follow(idle_s=60.0, max_loaded=3)
        for _ in range(40):
            for engine in starter.engines:
                engine.load()
                if engine.stops:
                    engine.end()
            await rig.turn(3.0)
            self.check()
            while self.answering:
                rig.answered(self.answering.pop())
        assert self.requests == []
        assert self.buttons == []
        for name in SIZES:
            await rig.owner.unload(name, force=True)
        await rig.turn(1.0)
        assert starter.alive() == []
        assert set(rig.states().values()) <= {"on-disk", "failed"}
        await rig.owner.close()
        assert not rig.owner._tasks


async def play(chosen: Sequence[tuple[object, ...]], *, is_quick: bool, to_the_end: bool) -> None:
    game = Play(is_quick=is_quick)
    starter = game.rig.starter
    try:
        for step in chosen:
            await game.do(step)
        if to_the_end:
            await game.finish()
    finally:
        starter.holds_stops = False
        for engine in starter.engines:
            if engine.stops:
                engine.end()
        await game.rig.owner.close()
        tasks = (*(request for _, request in game.requests), *game.buttons)
        await asyncio.gather(*tasks, return_exceptions=True)
    assert starter.alive() == []
    assert not game.rig.owner._tasks


@settings(max_examples=60)
@given(st.lists(steps, min_size=5, max_size=30), st.booleans())
def test_nobody_is_evicted_wrongly_and_nobody_is_forgotten(
    chosen: list[tuple[object, ...]], is_quick: bool
) -> None:
    asyncio.run(play(chosen, is_quick=is_quick, to_the_end=True))


@settings(max_examples=15)
@given(st.lists(steps, max_size=25), st.booleans())
def test_the_end_of_the_service_ends_all(chosen: list[tuple[object, ...]], is_quick: bool) -> None:
    asyncio.run(play(chosen, is_quick=is_quick, to_the_end=False))
