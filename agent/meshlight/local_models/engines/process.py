"""One engine: its process, from the start to the end, its log, and why it ended."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, cast

from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.domain.clock import Loop, Timer
from meshlight.domain.config import HOST
from meshlight.domain.local_models import LocalModel
from meshlight.domain.text import duration
from meshlight.http_client.address import Address
from meshlight.local_models.engines.child_environment import child_environment
from meshlight.local_models.engines.guard import Guard, guard_for
from meshlight.local_models.engines.log_ring import LogRing, PathHider
from meshlight.local_models.engines.output_pipe import OutputPipe, output_pipe, standard_output
from meshlight.local_models.engines.ports import free_port
from meshlight.local_models.engines.process_facts import Family
from meshlight.local_models.engines.ready_check import CheckReady, check_ready
from meshlight.local_models.interfaces import EngineFailed
from meshlight.local_models.runners.base import Ending, FoundRunner, Launch, LaunchSettings, Runner
from meshlight.local_models.runners.programs import is_script, neutral_folder
from meshlight.local_models.runners.reasons import BIND_FAILED

FIRST_POLL_S: Final = 0.05
LAST_POLL_S: Final = 0.5
SOON_S: Final = 0.02
"""From a line of the log to the next poll and the next read: the line may say that it is ready."""
STALL_S: Final = 120.0
"""Seconds without any sign of progress, after which a load has failed."""
MEMORY_GROWTH: Final = 0.01
"""By which share the memory has to grow to be a sign of progress."""
MEMORY_EVERY_S: Final = 1.0
TERMINATE_S: Final = 3.0
"""From the request to end to the end by force."""
LAST_WORDS_S: Final = 0.3
"""How long the output of an ended process is waited for, if one of its children still holds it open."""
LOG_PAUSE_S: Final = 2.0 if sys.platform == "linux" else 0.25
"""Between two reads of the log of a loaded engine, which writes ten lines for each request: a wake-up for each would
be a good part of what a request costs. Only on Linux does the pipe hold the lines of so long a time."""
STARTS: Final = 3
"""Starts on another port, if the one that was chosen was taken meanwhile."""
ALMOST: Final = 0.99
MAPPED: Final = 0.8
"""The share of a load that is done when all weights are in memory, roughly."""
_COMPLETIONS: Final = "/v1/completions"


def _guard(has_children: bool) -> Guard:
    return guard_for(has_children=has_children)


def _family(pid: int) -> Family:
    from meshlight.local_models.engines.process_family import RealFamily  # noqa: PLC0415 - once an engine runs

    return RealFamily(pid)


class System(Struct, frozen=True, kw_only=True):
    """What the operating system gives; see `Means`."""

    guard: Callable[[bool], Guard] = _guard
    port: Callable[[], int] = free_port
    check_ready: CheckReady = check_ready
    family: Callable[[int], Family] = _family


class Means(Struct, frozen=True, kw_only=True):
    """What an engine's process is made with; a test has its own."""

    loop: Loop
    environ: Mapping[str, str]
    guard: Callable[[bool], Guard]
    """Returns a new guard; the argument says whether the engine consists of several processes."""
    port: Callable[[], int]
    check_ready: CheckReady
    family: Callable[[int], Family]
    """Returns a process with its children."""
    started: Callable[[int, str], None]
    """Gets the process id of each start, and the model's id."""
    ended: Callable[[int], None]


class EngineProcess:
    """See `RunningEngine`. Made by `start_engine`; one event loop only."""

    def __init__(
        self,
        means: Means,
        runner: Runner,
        found: FoundRunner,
        model: LocalModel,
        settings: LaunchSettings,
        *,
        load_s: float,
        usual_s: float | None,
        on_ready: Callable[[float], None],
    ) -> None:
        """`load_s`: seconds that the load may take; `usual_s`: that it took last time; `on_ready` gets them now."""
        self._means = means
        self._runner = runner
        self._found = found
        self._model = model
        self._settings = settings
        self._load_s = load_s
        self._usual_s = usual_s
        self._on_ready = on_ready
        # A script may start the engine as its child.
        self._has_children = runner.has_children or is_script(found.program[0])
        self._launch: Launch
        self._guard: Guard
        self._transport: asyncio.SubprocessTransport | None = None
        self._has_own_pipe = False
        self._log_pipe: asyncio.ReadTransport | None = None
        """Its output, where the pipe is our own."""
        self._exited_start = self._read_start = 0
        """The last start whose process has exited, and the last one whose output was read to its end."""
        self._ring = LogRing()
        self._hide = PathHider(
            (model.path, *model.files, model.projector, found.program[0]),
            (means.environ.get("HOME", ""), means.environ.get("USERPROFILE", ""), sys.prefix),
            settings.key,
        )
        self._starts = 0
        self._respawn: asyncio.Task[None] | None = None
        self._begun = means.loop.time()
        self._told: float | None = None
        self._highest = 0.0
        self._is_ready = False
        self._is_stopping = False
        self._gave_up: Reason | None = None
        self._wake: asyncio.Future[None] | None = None
        self._has_news = False
        self._later: Timer | None = None
        self._has_exited = False
        self._has_port = False
        self._family: Family | None = None
        self._pid = 0
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> Address:
        """See `RunningEngine`; it may change until the engine is ready."""
        return Address("http", HOST, self._settings.port)

    @property
    def key(self) -> str:
        """See `RunningEngine`."""
        return self._settings.key

    @property
    def model_name(self) -> str:
        """See `RunningEngine`."""
        return self._launch.model_name

    @property
    def runner_label(self) -> str:
        """See `RunningEngine`."""
        return self._runner.label

    @property
    def context(self) -> int:
        """See `RunningEngine`."""
        return self._settings.context

    @property
    def pid(self) -> int:
        """The process that was started (of a minder, where there is one)."""
        return self._pid

    @property
    def progress(self) -> float | None:
        """As its log tells, or by the time of its last load, or by how much of the weights is in memory."""
        if self._is_ready:
            return 1.0
        if self._told is not None:
            share = self._told
        elif self._usual_s:
            share = (self._means.loop.time() - self._begun) / self._usual_s
        else:
            share = MAPPED * self.resident_bytes() / self._model.size_bytes if self._model.size_bytes else 0.0
        self._highest = max(self._highest, min(share, ALMOST))
        return self._highest or None

    def log(self) -> tuple[str, ...]:
        """See `RunningEngine`."""
        return self._ring.lines(self._hide)

    def resident_bytes(self) -> int:
        """See `RunningEngine`."""
        if self._family is None or self.ended.done():
            return 0
        return self._family.resident_bytes()

    def explain(self, ending: Ending) -> Reason:
        """See `RunningEngine`."""
        if self._gave_up is not None:
            return self._gave_up
        if self._is_stopping:
            return Reason("stopped", "It was unloaded.")
        return self._runner.explain(ending, self._model)

    async def start(self) -> None:
        """Start the process; raises EngineFailed, BadRequest for arguments that are not allowed."""
        self._starts += 1
        self._launch = self._runner.launch(self._found, self._model, self._settings)
        pipe: OutputPipe | None = None
        try:
            pipe = output_pipe()
            self._has_own_pipe = pipe is not None
            self._guard = self._means.guard(self._has_children)
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Output(self, self._starts),
                *self._guard.command(self._launch.argv),
                stdin=self._guard.stdin,
                stdout=standard_output(pipe),
                stderr=subprocess.STDOUT,
                env=child_environment(self._means.environ, self._launch.environ),
                cwd=neutral_folder(),
                **self._guard.options,
            )
            self._pid = transport.get_pid()
            self._guard.started(transport)
            if pipe is not None:
                await self._read_from(pipe.take_reading())
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise EngineFailed(
                Reason("cannot-run", f"{self._runner.label} can't be started: {why}.", "Install it again.")
            ) from None
        finally:
            if pipe is not None:
                pipe.close()
        self._family = self._means.family(self._pid)
        self._means.started(self._pid, self._model.id)
        if self._is_stopping:  # while it started on another port
            self._guard.kill()

    async def _read_from(self, reading: int) -> None:
        """Hear what the process writes into a pipe of our own."""
        file = os.fdopen(reading, "rb", buffering=0)
        start = self._starts
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _Log(self, start), file)
        self._log_pipe = transport

    async def wait_ready(self) -> None:
        """See `RunningEngine`."""
        loop = self._means.loop
        signs = _Signs(loop.time())
        poll_s, answer = FIRST_POLL_S, _Answer()
        try:
            while not (self._is_up() and await self._is_loaded(answer)):
                now = loop.time()
                signs.see(now, self._ring.count, self._told, self._measured)
                if reason := self._too_late(now, signs.last):
                    await self._give_up(reason)
                await self._pause(poll_s)
                poll_s = min(poll_s * 1.5, LAST_POLL_S)
        finally:
            answer.forget()
        self._is_up()
        self._is_ready = True
        self._on_ready(loop.time() - self._begun)

    def _is_up(self) -> bool:
        if self.ended.done():
            raise EngineFailed(self.explain(self.ended.result()))
        return True

    async def _is_loaded(self, answer: "_Answer") -> bool:
        if answer.is_due:
            if answer.status != 200:
                await self._give_up(self._explained())
            return True
        address = self.address
        status = await self._means.check_ready(address, self._launch.ready_path, "")
        if self.address != address:
            return False  # it was started anew at another port, and a stranger has answered at this one
        if status and status != 200 and self._launch.warm_up:  # it is up, and has failed
            await self._give_up(self._explained())
        # In a thread, as the system takes long to tell where there are many connections.
        if status and not self._has_port:
            has_port = await asyncio.to_thread(self._look_for_port)
            if self.address != address:
                return False
            self._has_port = has_port
        if status != 200 or not self._has_port:
            return False
        if self._launch.warm_up:
            body = self._launch.warm_up
            answer.ask(lambda: self._means.check_ready(self.address, _COMPLETIONS, body), self._awake)
            return False
        return True

    def _look_for_port(self) -> bool:
        """Whether it is this engine that answers: another program that took the port must never get a prompt."""
        if self._family is None or self._family.listens_on(self._settings.port) is not False:
            self._look()
            return True
        # Even one without children by its own account may have been started by another.
        self._family.look()
        return self._family.listens_on(self._settings.port) is not False

    def _look(self) -> None:
        if self._family is not None and (self._has_children or self._guard.has_minder):
            self._family.look()

    def _measured(self) -> int:
        self._look()
        return self.resident_bytes()

    def _explained(self) -> Reason:
        return self._runner.explain(Ending(exit_code=None, log=self.log()), self._model)

    def _too_late(self, now: float, last_sign: float) -> Reason | None:
        if now - self._begun > self._load_s:
            return Reason(
                "too-slow",
                f"It was not loaded within {duration(self._load_s)}.",
                "Give it more time by `load_s` under [local], or choose a smaller model.",
            )
        if now - last_sign > STALL_S:
            return Reason(
                "stalled",
                f"Its load did not go on for {duration(STALL_S)}.",
                "Look at its log, and at the drive it is on.",
            )
        return None

    async def _give_up(self, reason: Reason) -> NoReturn:
        self._gave_up = reason
        await self.stop(force=True)
        raise EngineFailed(reason)

    async def stop(self, *, force: bool = False) -> None:
        """See `RunningEngine`."""
        self._is_stopping = True
        if self.ended.done():
            return
        if not force and self._respawn is None:
            self._guard.terminate()
            await self._wait_ended(TERMINATE_S)
        if not self.ended.done():
            self._guard.kill()
        await asyncio.shield(self.ended)

    async def _wait_ended(self, seconds: float) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(*_: object) -> None:
            if not waiting.done():
                waiting.set_result(None)

        timer = self._means.loop.call_later(seconds, done)
        self.ended.add_done_callback(done)
        try:
            await waiting
        finally:
            timer.cancel()
            self.ended.remove_done_callback(done)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until something happens."""
        wake = self._wake = asyncio.get_running_loop().create_future()
        timer = self._means.loop.call_later(SOON_S if self._has_news else seconds, self._awake)
        self._has_news = False
        try:
            await wake
        finally:
            timer.cancel()
            self._wake = None

    def _awake(self) -> None:
        if self._wake is None:
            self._has_news = True
        elif not self._wake.done():
            self._wake.set_result(None)

    # What the process does, as `_Output` hears it.

    def written(self, data: bytes) -> None:
        """Take what it has written."""
        if self._is_ready:
            self._ring.write(data)
            self._read_later(LOG_PAUSE_S)
        else:
            self._ring.write(data, self._loading_line)
            self._read_later(SOON_S)

    def _loading_line(self, line: str) -> None:
        share = self._runner.progress(line)
        if share is not None:
            self._told = min(max(share, 0.0), 1.0)

    def _read_later(self, seconds: float) -> None:
        """Read no more for a moment: lines are not worth a wake-up each, and a flood of them must hold up nobody."""
        if self._later is None and not self._has_exited and (pipe := self._output()) is not None:
            pipe.pause_reading()
            self._later = self._means.loop.call_later(seconds, self._read_again)

    def _read_again(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if (pipe := self._output()) is not None:
            pipe.resume_reading()
        self._awake()

    def _output(self) -> asyncio.ReadTransport | None:
        pipe: asyncio.BaseTransport | None = self._log_pipe
        if pipe is None and self._transport is not None:
            pipe = self._transport.get_pipe_transport(1)
        # By cast: uvloop's is one without saying so.
        return None if pipe is None or pipe.is_closing() else cast("asyncio.ReadTransport", pipe)

    def connected(self, transport: asyncio.SubprocessTransport) -> None:
        """Take the process, which may have ended already."""
        self._transport = transport
        self._has_exited = self._has_port = False

    def exited(self, start: int) -> None:
        """Take note that the process of this start has ended; its last words may still come."""
        self._has_exited = True
        self._read_again()
        self._exited_start = start
        if self._read_start == start:
            self.finished(start)
        self._means.loop.call_later(LAST_WORDS_S, lambda: self._words_read(start))

    def closed(self, start: int) -> None:
        """Take note that the process of this start has exited, and that the loop's own pipes are closed."""
        if not self._has_own_pipe:
            self.finished(start)

    def all_read(self, start: int) -> None:
        """Take note that nobody writes into the output of this start any more."""
        self._read_start = start
        if self._exited_start == start:
            self.finished(start)

    def _words_read(self, start: int) -> None:
        # Not at once, as a loop that was held up runs its timers before it reads.
        self._means.loop.call_later(SOON_S, lambda: self.finished(start))

    def finished(self, start: int) -> None:
        """Take note that the process of this start has ended, and its output too; a second call does nothing."""
        if self._transport is None or start != self._starts:
            return
        transport, self._transport = self._transport, None
        code = transport.get_returncode()
        transport.close()
        if self._log_pipe is not None:
            self._log_pipe.close()
            self._log_pipe = None
        self._guard.close()
        self._means.ended(self._pid)
        ending = Ending(exit_code=code, log=self.log())
        if self._may_try_again(ending):
            port = self._means.port()
            self._settings = LaunchSettings(
                port=port, key=self.key, context=self.context, args=self._settings.args
            )
            self._respawn = asyncio.get_running_loop().create_task(self._start_again(ending))
        else:
            self._end(ending)

    def _may_try_again(self, ending: Ending) -> bool:
        is_taken = any(BIND_FAILED.search(line) for line in ending.log[-20:])
        return is_taken and not self._is_ready and not self._is_stopping and self._starts < STARTS

    async def _start_again(self, before: Ending) -> None:
        try:
            await self.start()
        except Exception as error:
            self._gave_up = error.reason if isinstance(error, EngineFailed) else None
            self._end(before)
            if not isinstance(error, EngineFailed):
                raise
        finally:
            self._respawn = None

    def _end(self, ending: Ending) -> None:
        if not self.ended.done():
            self.ended.set_result(ending)
        self._awake()


class _Output(asyncio.SubprocessProtocol):
    """Tells an engine what its process does."""

    def __init__(self, engine: EngineProcess, start: int) -> None:
        self._engine = engine
        self._start = start

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._engine.connected(cast("asyncio.SubprocessTransport", transport))

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - there is one output
        self._engine.written(data)

    def process_exited(self) -> None:
        self._engine.exited(self._start)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._engine.closed(self._start)


class _Log(asyncio.Protocol):
    """Tells an engine what its process writes into a pipe of our own."""

    def __init__(self, engine: EngineProcess, start: int) -> None:
        self._engine = engine
        self._start = start

    def data_received(self, data: bytes) -> None:
        self._engine.written(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._engine.all_read(self._start)


class _Answer:
    """The answer to the request that tells that the model is loaded, where one does."""

    def __init__(self) -> None:
        self._task: asyncio.Task[int] | None = None

    @property
    def is_due(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def status(self) -> int:
        return self._task.result() if self._task is not None and not self._task.cancelled() else 0

    def ask(self, ask: Callable[[], Awaitable[int]], done: Callable[[], None]) -> None:
        """Ask once."""
        if self._task is None:
            self._task = asyncio.ensure_future(ask())
            self._task.add_done_callback(lambda _: done())

    def forget(self) -> None:
        """Wait for it no more."""
        if self._task is not None:
            self._task.cancel()


class _Signs:
    """When a load showed a sign of progress last."""

    def __init__(self, now: float) -> None:
        self.last = now
        self._lines = 0
        self._told: float | None = None
        self._memory = 0
        self._measured = now

    def see(self, now: float, lines: int, told: float | None, memory: Callable[[], int]) -> None:
        """Compare with what was seen before."""
        if lines != self._lines or told != self._told:
            self.last, self._lines, self._told = now, lines, told
        if now - self._measured >= MEMORY_EVERY_S:
            self._measured = now
            measured = memory()
            if measured > self._memory * (1 + MEMORY_GROWTH):
                self.last, self._memory = now, measured


def new_key() -> str:
    """Return the key of one start."""
    return secrets.token_urlsafe(32)
