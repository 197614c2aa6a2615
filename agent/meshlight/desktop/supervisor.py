"""Keeps the service running: attaches to one that runs, or starts one as a child, and again when it dies.

The service as a child: started with a pipe that it watches, its last words kept, ended in good order.

When a service that died is started again, and when that is given up.

How it stands with the service, as its supervisor sees it.
"""

import queue
import random
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal, Self

import httpx
from msgspec import Struct

from meshlight.api_client.client import ApiClient, read_runtime
from meshlight.desktop.system.process import HOLDS_STDIN, apart, service_environment
from meshlight.domain.config import Runtime
from meshlight.domain.errors import ServiceError
from meshlight.domain.private_variables import OWN_VARIABLES

KEPT_LINES = 20
LONGEST_LINE = 400
ORDERLY_S = 12.0
"""The service lets running requests end for 10 s."""
FORCE_S = 3.0


class ServiceProcess:
    """One run of the service. `on_end` is called with this object, from a thread of its own, when it has ended.

    The child holds the read end of our pipe: when we die, in whatever way, it reads the end of it and goes.
    Raises OSError when the program can't be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_end: Callable[["ServiceProcess"], None],
        environ: Mapping[str, str] = OWN_VARIABLES,
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=service_environment(HOLDS_STDIN, environ),
            **apart(),
        )
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._on_end = on_end
        self._thread = threading.Thread(target=self._watch, name=f"child {self.pid}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code; negative when a signal ended it, None while it runs."""
        return self._process.poll()

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        return self._lines[-1] if self._lines else ""

    def end(self) -> None:
        """End it: by its closed input, by a signal if it doesn't listen, by force if it must be; waits for that."""
        self._close_stdin()
        for wait_s, harder in ((ORDERLY_S, self._process.terminate), (FORCE_S, self._process.kill)):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
                break
            harder()
        self._process.wait()
        self._thread.join(FORCE_S)

    def kill(self) -> None:
        """End it at once: it hangs."""
        self._process.kill()

    def _watch(self) -> None:
        stderr: IO[str] | None = self._process.stderr
        if stderr is not None:
            with suppress(OSError, ValueError):
                for line in stderr:
                    if said := line.strip():
                        self._lines.append(said[:LONGEST_LINE])
            stderr.close()
        self._process.wait()
        self._close_stdin()
        self._on_end(self)

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


class Backoff(Struct, frozen=True, kw_only=True):
    """The rule: 1, 2, 4 … 30 s apart, from the start again after a minute of life; at most 5 deaths in 2 minutes."""

    first_s: float = 1.0
    longest_s: float = 30.0
    settled_s: float = 60.0
    """A service that lived so long was well: what killed it has nothing to do with earlier deaths."""
    deaths: int = 5
    within_s: float = 120.0


class CrashHistory(Struct, frozen=True):
    """The deaths that still count: `at` on a monotonic clock, and how many came in a row without a settled life."""

    at: tuple[float, ...] = ()
    in_a_row: int = 0


def record_crash(old: CrashHistory, now: float, lived_s: float, rule: Backoff) -> CrashHistory:
    """Return the deaths after one more, of a service that lived `lived_s` seconds."""
    recent = tuple(at for at in old.at if now - at <= rule.within_s)
    return CrashHistory((*recent, now), 1 if lived_s >= rule.settled_s else old.in_a_row + 1)


def delay_s(deaths: CrashHistory, chance: float, rule: Backoff) -> float | None:
    """Return the seconds until the next start; None when it is given up.

    `chance` (0 to 1) spreads the starts: the delay is between a half and the whole of its step.
    """
    if len(deaths.at) >= rule.deaths:
        return None
    step: float = min(rule.first_s * 2 ** min(max(deaths.in_a_row - 1, 0), 16), rule.longest_s)
    return step * (0.5 + 0.5 * chance)


ServiceState = Literal["starting", "running", "silent", "restarting", "port-taken", "stopped", "given-up"]
"""`silent` is there and does not answer."""


class ServiceStatus(Struct, frozen=True, kw_only=True):
    """One state of the service, with what to say of it."""

    state: ServiceState
    text: str
    fix: str = ""
    url: str = ""
    """Where it answers, while it runs."""
    instance: str = ""
    """Which start of the service that is."""
    is_ours: bool = True
    """Whether it is our child, and ends with us."""
    port: int | None = None
    """The port that somebody else has, when that is what is wrong."""


ALREADY_RUNNING: Final = 3
"""The exit code of a service that found another one holding the lock."""
START_S: Final = 20.0
LOOK_S: Final = 0.05
"""Between two looks for the runtime file of a service that starts."""
REST_S: Final = 2.0
"""Between two looks for a service of somebody else's, while ours is at rest."""
TAKEN_S: Final = 20.0
"""Between two tries while somebody else has the port."""
CHECK_S: Final = 5.0
"""Between two questions to a service whether it answers: one that hangs keeps its connections, so that nothing but
asking shows it."""
CHECK_SILENT_S: Final = 1.0
"""The same while it is silent."""
SILENT_S: Final = 8.0
"""Silence that is told."""
HUNG_S: Final = 30.0
"""A child that lives and answers nothing for so long hangs, and is started again. One that was told to end by
somebody else takes 10 s at most for the requests that run."""
HUNG_AFTER_SLEEP_S: Final = 60.0
"""The same after a sleep of the machine, which has much to do when it wakes."""
SLEPT_S: Final = 30.0
"""A check that was due so many seconds ago by the wall's clock was held up by a sleep."""
_TAKEN: Final = re.compile(r"^Port (\d+) is taken|^Meshlight is already running at \S+:(\d+)\b")
"""What the service says as its last words when its port is not to be had."""

Request = Literal["restart", "stop", "look"]


class Silence:
    """How long a service has not answered, by a clock that may run on while the machine sleeps.

    `clock` and `wall` are in seconds; the second one is the time of day.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._since = self._looked = clock()
        self._looked_wall = wall()
        self._limit_s = HUNG_S

    def heard(self) -> None:
        """Note an answer."""
        self._since = self._looked = self._clock()
        self._looked_wall = self._wall()
        self._limit_s = HUNG_S

    def check(self) -> None:
        """Note that no answer came; where the machine has slept since the last look, the silence begins anew."""
        now, wall = self._clock(), self._wall()
        if max(now - self._looked, wall - self._looked_wall) > SLEPT_S:
            self._since = now
            self._limit_s = HUNG_AFTER_SLEEP_S
        self._looked, self._looked_wall = now, wall

    @property
    def is_told(self) -> bool:
        """Whether it is long enough to be told."""
        return self._looked - self._since >= SILENT_S

    @property
    def is_a_hang(self) -> bool:
        """Whether it is so long that the service won't answer again."""
        return self._looked - self._since >= self._limit_s


class ServiceExited(Struct, frozen=True):
    """A child has ended."""

    child: ServiceProcess


class Supervisor:
    """One thread that owns the child and tells each change by `on_change`, called from that thread.

    `words` is the command line of the service; `more_words` are added for one run, as after `use_port`.
    """

    def __init__(
        self,
        words: Sequence[str],
        runtime_file: Path,
        on_change: Callable[[ServiceStatus], None],
        *,
        environ: Mapping[str, str] = OWN_VARIABLES,
        rule: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._words = tuple(words)
        self._runtime_file = runtime_file
        self._on_change = on_change
        self._environ = environ
        self._rule = rule or Backoff()
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._inbox: queue.SimpleQueue[Request | ServiceExited] = queue.SimpleQueue()
        self._more_words: tuple[str, ...] = ()
        self._deaths = CrashHistory()
        self._stopping = False
        self._why = ""
        """Why we have ended the child."""
        self._is_silent = False
        """Whether the last question was heard by somebody who said nothing."""
        self._gone = ""
        """The instance that is known to have ended, though its runtime file may be there still."""
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def look(self) -> None:
        """See whether the service is still there: somebody's connection to it broke."""
        self._inbox.put("look")

    def restart(self) -> None:
        """Start the service now, because the user says so: one at rest, or once more one that runs as our child."""
        self._inbox.put("restart")

    def use_port(self, port: int) -> None:
        """Start the service at another port, for as long as this supervisor lives."""
        self._more_words = ("--port", str(port))
        self._inbox.put("restart")

    def stop(self) -> None:
        """End a child of ours in good order, and return once it has ended; a service of others is left alone."""
        self._inbox.put("stop")
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            runtime = self._find()
            if runtime is not None:
                self._attend(runtime)
            else:
                self._have_one()

    def _find(self) -> Runtime | None:
        """Return a service that runs and has proved to be the one of the runtime file."""
        self._is_silent = False
        try:
            if read_runtime(self._runtime_file).instance == self._gone:
                return None
            with ApiClient.connect(self._runtime_file) as service:
                return service.runtime
        except ServiceError as error:
            self._is_silent = isinstance(error.__cause__, httpx.TimeoutException)
            return None

    def _attend(self, runtime: Runtime) -> None:
        """Watch a service that somebody else started, until it is gone; it is never ended by us."""
        self._tell_running(runtime, is_ours=False)
        silence = Silence(self._clock, self._wall)
        was_told = False
        while True:
            wish = self._wait(CHECK_SILENT_S if was_told else CHECK_S)
            if self._stopping:
                return
            if wish not in {"look", None}:
                continue
            now = self._find()
            if now is not None:
                silence.heard()
                if was_told or wish == "look":
                    self._tell_running(now, is_ours=False)
                was_told = False
            elif not self._is_silent:
                break
            else:
                silence.check()
                if silence.is_told and not was_told:
                    was_told = True
                    self._tell_silent(runtime, is_ours=False)
        self._gone = runtime.instance
        if self._stale() == runtime.instance:  # it had no time to remove its file
            self._mourn(0.0, "The service that was started elsewhere has died.")
            return
        # Who started it has stopped it, and may want it so (or a unit of systemd that we must not race with).
        self._rest(
            ServiceStatus(
                state="stopped",
                text="The service was stopped where it was started.",
                fix="Start it there again, or press Restart to have it started here.",
                is_ours=False,
            )
        )

    def _have_one(self) -> None:
        """Start a child and watch it until it ends."""
        again = self._deaths.in_a_row > 0
        self._on_change(
            ServiceStatus(state="restarting", text="The service ended and is being started again.")
            if again
            else ServiceStatus(state="starting", text="The service is starting.")
        )
        born = self._clock()
        self._gone = self._stale()
        try:
            child = ServiceProcess(
                [*self._words, *self._more_words], lambda c: self._inbox.put(ServiceExited(c)), self._environ
            )
        except OSError as error:
            self._mourn(0.0, f"The service can't be started: {error}.")
            return
        try:
            wished = self._await_ready(child) and self._watch(child)
        finally:
            if child.is_alive:
                child.end()
        if self._stopping or wished:
            return
        self._after_end(child, self._clock() - born)

    def _await_ready(self, child: ServiceProcess) -> bool:
        """Wait until the child answers; False when it ended or took too long."""
        until = self._clock() + START_S
        while self._clock() < until:
            runtime = self._find()
            if runtime is not None:
                self._tell_running(runtime, is_ours=True)
                return True
            news = self._wait(LOOK_S)
            if self._stopping or (isinstance(news, ServiceExited) and news.child is child):
                return False
        return False

    def _watch(self, child: ServiceProcess) -> bool:
        """Watch a child that answers until it ends; True when the user asked for a new start.

        One that lives and has not answered for too long is ended for good.
        """
        silence = Silence(self._clock, self._wall)
        is_answering, was_told = True, False
        while True:
            news = self._wait(CHECK_S if is_answering else CHECK_SILENT_S)
            if self._stopping:
                return False
            if news == "restart":
                if was_told:
                    child.kill()  # it would not hear that it shall end
                return True
            if isinstance(news, ServiceExited):
                if news.child is child:
                    return False
                continue
            runtime = self._find()
            is_answering = runtime is not None
            if runtime is not None:
                silence.heard()
                if was_told or news == "look":
                    self._tell_running(runtime, is_ours=True)
                was_told = False
                continue
            silence.check()
            if silence.is_told and not was_told and child.is_alive:
                was_told = True
                self._tell_silent(None, is_ours=True)
            if silence.is_a_hang:
                child.kill()
                child.end()
                self._why = f"It did not answer for {HUNG_S:g} s: its log shows where it hung."
                return False

    def _after_end(self, child: ServiceProcess, lived_s: float) -> None:
        """Decide what follows from the end of a child that nobody wished for."""
        if child.code == ALREADY_RUNNING:
            self._await_other(lived_s, child.last_line)
            return
        taken = _TAKEN.match(child.last_line)
        if taken is None:
            why, self._why = self._why, ""
            self._mourn(lived_s, why or child.last_line or _how(child.code))
            return
        port = int(taken[1] or taken[2])
        title, _, fix = child.last_line.partition(". ")
        self._rest(
            ServiceStatus(state="port-taken", text=f"{title.rstrip('.')}.", fix=fix, port=port),
            again_in_s=TAKEN_S,
        )

    def _await_other(self, lived_s: float, why: str) -> None:
        """Wait for the service of somebody else, whose start was faster and who may not answer yet."""
        self._gone = ""
        until = self._clock() + START_S / 4
        while self._clock() < until and not self._stopping:
            if self._find() is not None:
                return
            self._wait(LOOK_S * 4)
        self._mourn(lived_s, why)

    def _stale(self) -> str:
        """Return the instance in a runtime file that nobody answers for, so that it isn't asked again and again."""
        try:
            return read_runtime(self._runtime_file).instance
        except ServiceError:
            return ""

    def _mourn(self, lived_s: float, why: str) -> None:
        """Count a death; wait for the next start, or give up until the user says otherwise."""
        self._deaths = record_crash(self._deaths, self._clock(), lived_s, self._rule)
        wait_s = delay_s(self._deaths, self._chance(), self._rule)
        if wait_s is not None:
            self._on_change(
                ServiceStatus(
                    state="restarting", text=f"The service ended and is started again. {why}".strip()
                )
            )
            self._pause(wait_s)
            return
        self._rest(
            ServiceStatus(
                state="given-up",
                text=f"Service stopped: it ended {len(self._deaths.at)} times in a short while. {why}".strip(),
                fix="Look at its log, then press Restart.",
            )
        )
        self._deaths = CrashHistory()

    def _rest(self, standing: ServiceStatus, again_in_s: float | None = None) -> None:
        """Stay as it is until the user says otherwise, somebody starts a service, or the time is over."""
        self._on_change(standing)
        until = None if again_in_s is None else self._clock() + again_in_s
        while until is None or self._clock() < until:
            if self._wait(REST_S) == "restart" or self._stopping or self._find() is not None:
                return

    def _pause(self, wait_s: float) -> None:
        until = self._clock() + wait_s
        while (left_s := until - self._clock()) > 0 and not self._stopping:
            if self._wait(left_s) == "restart":
                return

    def _wait(self, limit_s: float | None) -> Request | ServiceExited | None:
        """Return the next wish or end; None when none came in time."""
        try:
            news = self._inbox.get(timeout=limit_s)
        except queue.Empty:
            return None
        if news == "stop":
            self._stopping = True
        if news == "restart":
            self._deaths = CrashHistory()
        return news

    def _tell_silent(self, runtime: Runtime | None, *, is_ours: bool) -> None:
        url = runtime.url if runtime is not None else ""
        where = f" at {url}" if url else ""
        fix = "It is ended and started again if that lasts." if is_ours else "End it where it was started."
        self._on_change(
            ServiceStatus(
                state="silent", text=f"The service{where} does not answer.", fix=fix, url=url, is_ours=is_ours
            )
        )

    def _tell_running(self, runtime: Runtime, *, is_ours: bool) -> None:
        self._on_change(
            ServiceStatus(
                state="running",
                text=f"The service runs at {runtime.url}.",
                url=runtime.url,
                instance=runtime.instance,
                is_ours=is_ours,
            )
        )


def _how(code: int | None) -> str:
    """Say how a process ended that said nothing."""
    if code is None:
        return ""
    return f"It was ended by signal {-code}." if code < 0 else f"It ended with exit code {code}."
