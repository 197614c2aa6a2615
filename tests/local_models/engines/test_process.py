"""One engine's life, with small programs for engines and a clock that stands still."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fake_clock import Clock
from local_models.engines_here import model_at
from meshlight.domain.backend import Reason
from meshlight.domain.clock import Timer
from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import LocalModel, ModelFormat, RunnerName
from meshlight.http_client.address import Address
from meshlight.local_models.engines.guard import Guard, guard_for
from meshlight.local_models.engines.log_ring import LINES
from meshlight.local_models.engines.process import STALL_S, STARTS, EngineProcess, Means
from meshlight.local_models.engines.ready_check import CheckReady
from meshlight.local_models.interfaces import EngineFailed
from meshlight.local_models.runners import reasons
from meshlight.local_models.runners.base import Ending, FoundRunner, Launch, LaunchSettings, Runner

WAITS = "import time; print('hello', flush=True); time.sleep(600)"
BIND_FAILS = "print('E srv start: couldn\\'t bind HTTP server socket, port: 1'); raise SystemExit(1)"
STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)


class StillLoop:
    """A clock that stands still, as a loop."""

    def __init__(self) -> None:
        self.clock = Clock()

    def time(self) -> float:
        return self.clock.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        return self.clock.later(delay, callback)


class Small(Runner):
    """Runs code of Python as an engine."""

    name: ClassVar[RunnerName] = "xllamacpp"
    label: ClassVar[str] = "small"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"gguf"})

    def __init__(self, code: str, warm_up: str = "") -> None:
        self.code = code
        self.warm_up = warm_up

    async def find(self, settings: LocalSettings) -> FoundRunner:  # noqa: ARG002
        return FoundRunner(program=(sys.executable,))

    def launch(self, found: FoundRunner, model: LocalModel, settings: LaunchSettings) -> Launch:
        argv = (*found.program, "-I", "-S", "-c", self.code)
        environ = {"ITS_KEY": settings.key}
        return Launch(argv=argv, environ=environ, model_name=model.id, warm_up=self.warm_up)

    def explain(self, ending: Ending, model: LocalModel) -> Reason:  # noqa: ARG002
        return reasons.explain(ending, reasons.LLAMA_CPP, self.label)

    def progress(self, line: str) -> float | None:
        return float(line.removeprefix("at ")) if line.startswith("at ") else None


class FakeFamily:
    """A process whose memory a test sets."""

    memory = 0
    listens: bool | None = True

    def look(self) -> None:
        pass

    def resident_bytes(self) -> int:
        return self.memory

    def listens_on(self, port: int) -> bool | None:  # noqa: ARG002
        return self.listens


class Stage:
    """Makes engines, and lets time pass."""

    def __init__(self) -> None:
        self.loop = StillLoop()
        self.family = FakeFamily()
        self.statuses: dict[str, int] = {}
        self.checks = 0
        self.never: asyncio.Event = asyncio.Event()
        self.asked: CheckReady = self.check
        self.notes: list[tuple[str, int]] = []
        self.ports = iter(range(20_001, 20_100))
        self.engines: list[EngineProcess] = []
        self.loaded_s: list[float] = []
        self.guard: Callable[[bool], Guard] = lambda has_children: guard_for(has_children=has_children)

    async def check(self, _address: Address, path: str, _body: str) -> int:
        self.checks += 1
        if path not in self.statuses and path != "/health":
            await self.never.wait()
        return self.statuses.get(path, 0)

    async def start(self, runner: Runner, **fields: Any) -> EngineProcess:
        means = Means(
            loop=self.loop,
            environ=os.environ,
            guard=self.guard,
            port=lambda: next(self.ports),
            check_ready=self.asked,
            family=lambda _pid: self.family,
            started=lambda pid, _model: self.notes.append(("started", pid)),
            ended=lambda pid: self.notes.append(("ended", pid)),
        )
        program = fields.pop("program", sys.executable)
        engine = EngineProcess(
            means,
            runner,
            FoundRunner(program=(program,)),
            model_at(Path("/m/a.gguf"), size_bytes=1000),
            LaunchSettings(port=20_000, key="k" * 20, context=4096),
            on_ready=self.loaded_s.append,
            **{"load_s": 1800.0, "usual_s": None} | fields,
        )
        await engine.start()
        self.engines.append(engine)
        return engine

    async def until(self, holds: Callable[[], bool], step_s: float = 0.002, most_s: float = 100.0) -> None:
        """Let time pass until something holds: of the still clock not more than this, of the real one as needed."""
        end = self.loop.time() + most_s
        while not holds():
            self.loop.clock.pass_time(min(step_s, max(0.0, end - self.loop.time())))
            await asyncio.sleep(0)

    async def failure(self, engine: EngineProcess, step_s: float = 0.002, most_s: float = 100.0) -> Reason:
        waiting = asyncio.ensure_future(engine.wait_ready())
        await self.until(waiting.done, step_s, most_s)
        with pytest.raises(EngineFailed) as failed:
            await waiting
        return failed.value.reason


@pytest.fixture
async def stage() -> Any:
    stage = Stage()
    yield stage
    stopping = [asyncio.ensure_future(engine.stop(force=True)) for engine in stage.engines]
    await stage.until(lambda: all(task.done() for task in stopping))


async def test_it_is_ready_when_it_says_so_and_the_port_is_its_own(stage: Stage) -> None:
    engine = await stage.start(Small(WAITS))
    stage.statuses["/health"] = 200
    stage.family.listens = False
    waiting = asyncio.ensure_future(engine.wait_ready())
    await stage.until(lambda: stage.checks > 5)
    assert not waiting.done()
    stage.family.listens = None  # the system does not tell
    await stage.until(waiting.done)
    await waiting
    assert engine.progress == 1.0
    assert stage.loaded_s
    stopping = asyncio.ensure_future(engine.stop())
    await stage.until(stopping.done)
    assert stage.notes == [("started", engine.pid), ("ended", engine.pid)]
    assert engine.resident_bytes() == 0


async def test_a_load_without_a_sign_of_progress_has_failed(stage: Stage) -> None:
    engine = await stage.start(Small(WAITS))
    begun = stage.loop.time()
    reason = await stage.failure(engine, 1.0, 10_000.0)
    assert reason.code == "stalled"
    assert stage.loop.time() - begun >= STALL_S
    assert engine.ended.done()
    assert engine.explain(engine.ended.result()) == reason


async def test_growing_memory_is_a_sign_but_not_for_ever(stage: Stage) -> None:
    engine = await stage.start(Small(WAITS), load_s=1000.0)
    begun = stage.loop.time()

    def grow() -> None:
        stage.family.memory = int((stage.family.memory or 100) * 1.05) + 10
        stage.loop.call_later(60.0, grow)

    grow()
    assert (await stage.failure(engine, 1.0, 10_000.0)).code == "too-slow"
    assert stage.loop.time() - begun > 1000.0


async def test_the_progress_of_a_load(stage: Stage) -> None:
    by_memory = await stage.start(Small(WAITS))
    assert not by_memory.progress
    stage.family.memory = 500
    assert by_memory.progress == 0.4
    stage.family.memory = 100
    assert by_memory.progress == 0.4  # it never goes back
    by_time = await stage.start(Small(WAITS), usual_s=20.0)
    stage.loop.clock.pass_time(5.0)
    assert by_time.progress == 0.25
    stage.loop.clock.pass_time(50.0)
    assert by_time.progress == 0.99
    told = await stage.start(Small("import time; print('at 0.5', flush=True); time.sleep(600)"), usual_s=1.0)
    await stage.until(lambda: bool(told.log()), 0.0)
    assert told.progress == 0.5


async def test_a_taken_port_is_tried_three_times(stage: Stage) -> None:
    engine = await stage.start(Small(BIND_FAILS))
    reason = await stage.failure(engine)
    assert reason.code == "port-taken"
    assert [what for what, _ in stage.notes] == ["started", "ended"] * STARTS
    assert engine.address.port == 20_000 + STARTS - 1


async def test_a_stranger_at_the_taken_port_does_not_make_the_next_start_ready(stage: Stage) -> None:
    runner, engines = Small(BIND_FAILS), stage.engines

    async def check(address: Address, path: str, body: str) -> int:
        if address.port == 20_000:  # the stranger answers when the engine has long moved on
            await stage.until(lambda: engines[0].address != address)
            return 200
        return await stage.check(address, path, body)

    stage.asked = check
    engine = await stage.start(runner)
    runner.code = WAITS
    waiting = asyncio.ensure_future(engine.wait_ready())
    await stage.until(lambda: stage.checks > 1 or waiting.done())
    assert not waiting.done()
    stage.statuses["/health"] = 200
    await stage.until(waiting.done)
    await waiting


async def test_an_end_while_it_loads_is_told_at_once(stage: Stage) -> None:
    engine = await stage.start(Small("print('E unknown model architecture: \\'new\\''); raise SystemExit(3)"))
    assert (await stage.failure(engine)).code == "too-old"
    assert (await engine.ended).exit_code == 3


async def test_a_flood_of_lines_holds_up_nobody(stage: Stage) -> None:
    engine = await stage.start(Small("while True: print('x' * 10_000)"))
    await stage.until(lambda: bool(engine.log()), 0.0)
    before = engine._ring.count
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert engine._ring.count - before < 300  # what one read has at most, and not a thousand of them
    assert len(engine.log()) <= LINES
    stage.statuses["/health"] = 200
    waiting = asyncio.ensure_future(engine.wait_ready())
    await stage.until(waiting.done)
    await waiting


async def test_it_is_stopped_while_it_waits(stage: Stage) -> None:
    engine = await stage.start(Small(WAITS))
    waiting = asyncio.ensure_future(engine.wait_ready())
    stopping = asyncio.ensure_future(engine.stop())
    await stage.until(lambda: waiting.done() and stopping.done())
    with pytest.raises(EngineFailed, match="unloaded"):
        await waiting


async def test_one_that_does_not_listen_is_killed(stage: Stage) -> None:
    engine = await stage.start(Small(STUBBORN))
    await stage.until(lambda: bool(engine.log()), 0.0)
    begun = stage.loop.time()
    stopping = asyncio.ensure_future(engine.stop())
    await stage.until(stopping.done)
    assert stage.loop.time() - begun >= 3.0
    assert (await engine.ended).exit_code == -9


async def test_a_program_that_is_not_there_is_an_error_in_words(stage: Stage, tmp_path: Path) -> None:
    engine = await stage.start(Small(WAITS), program=str(tmp_path / "absent"))
    assert (await stage.failure(engine)).code == "file-missing"

    def refuse(_has_children: bool) -> Guard:
        raise OSError("Windows made no job object for the engine")

    stage.guard = refuse
    with pytest.raises(EngineFailed, match="small can't be started: Windows made no job object"):
        await stage.start(Small(WAITS))


async def test_an_engine_that_is_up_before_it_is_loaded_is_asked_once(stage: Stage) -> None:
    engine = await stage.start(Small(WAITS, warm_up="{}"))
    stage.statuses["/health"] = 200
    waiting = asyncio.ensure_future(engine.wait_ready())
    await stage.until(lambda: stage.checks > 5)
    assert not waiting.done()
    stage.statuses["/v1/completions"] = 200
    stage.never.set()
    await stage.until(waiting.done)
    await waiting


@pytest.mark.parametrize("failed", [{"/health": 503}, {"/health": 200, "/v1/completions": 500}])
async def test_such_an_engine_fails_by_its_answer(stage: Stage, failed: dict[str, int]) -> None:
    engine = await stage.start(Small("print('E invalid magic', flush=True); " + WAITS, warm_up="{}"))
    await stage.until(lambda: bool(engine.log()), 0.0)
    stage.statuses |= failed
    assert (await stage.failure(engine)).code == "not-gguf"
    assert engine.ended.done()


async def test_its_environment_has_its_key_and_none_of_ours(stage: Stage) -> None:
    os.environ["MESHLIGHT_SECRET_TEST"] = "ours"
    try:
        engine = await stage.start(
            Small("import os, time; print(sorted(os.environ), flush=True); time.sleep(9)")
        )
    finally:
        del os.environ["MESHLIGHT_SECRET_TEST"]
    await stage.until(lambda: bool(engine.log()), 0.0)
    assert "ITS_KEY" in engine.log()[0]
    assert "MESHLIGHT" not in engine.log()[0]
    assert "k" * 20 not in repr(engine._launch)
