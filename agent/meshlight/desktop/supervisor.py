"""Keeps the service running for the tray, in one thread that reports each change as a `ServiceStatus`.

The life of the service process: if the runtime file names a service that proves its identity, the supervisor
attaches to it and never ends it. Otherwise it starts one as a child, whose standard input is a pipe that ends when
the tray does, and waits until it answers. From then on it checks every few seconds that the service answers.
A child that exits is started again after 1, 2, 4 … 30 s; after five crashes in two minutes it stays stopped until
the user presses Restart. A child that stays silent is reported after 8 s, and killed and started again after 30 s.
When its port is taken, the supervisor waits for the user's choice and tries again now and then. `stop` closes the
child's standard input, lets running requests finish, and uses signals only if that is not enough.
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
from meshlight.desktop.system.process import HOLDS_STDIN, detached_options, service_environment
from meshlight.domain.config import Runtime
from meshlight.domain.errors import ServiceError
from meshlight.domain.private_variables import OWN_VARIABLES

ServiceState = Literal["starting", "running", "silent", "restarting", "port-taken", "stopped", "given-up"]
"""`silent`: the process is there and does not answer. `port-taken`, `stopped` and `given-up` wait for the user."""


class ServiceStatus(Struct, frozen=True, kw_only=True):
    """The state of the service, with a text and a fix for people."""

    state: ServiceState
    text: str
    fix: str = ""
    url: str = ""
    """Its address, while it runs."""
    instance: str = ""
    """The id of this run of the service."""
    is_ours: bool = True
    """Whether it is our child, which ends with us."""
    port: int | None = None
    """With `port-taken`: the port that another program uses."""


ALREADY_RUNNING: Final = 3
"""The exit code of a service that found the lock held by another one."""
START_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.05
"""Between two reads of the runtime file while the service starts."""
STOPPED_POLL_S: Final = 2.0
"""Between two checks for a service that was started elsewhere, while ours is stopped."""
PORT_TAKEN_RETRY_S: Final = 20.0
"""Between two starts while another program uses the port."""
CHECK_S: Final = 5.0
"""Between two checks that the service answers: one that hangs keeps its connections open, so only a request shows
it."""
CHECK_SILENT_S: Final = 1.0
"""The same while it is silent."""
REPORT_SILENCE_S: Final = 8.0
"""Silence of this length is reported."""
HUNG_S: Final = 30.0
"""A child that is alive and silent for this long hangs, and is started again. One that somebody else has asked to
end takes at most 10 s for its running requests."""
HUNG_AFTER_SLEEP_S: Final = 60.0
"""The same after the machine slept, as it is busy when it wakes."""
SLEEP_GAP_S: Final = 30.0
"""A check that comes this late means that the machine slept in between."""
_PORT_TAKEN: Final = re.compile(r"^Port (\d+) is taken|^Meshlight is already running at \S+:(\d+)\b")
"""The last line of a service that ended because its port was taken."""

Command = Literal["restart", "stop", "check"]

MAX_LINES = 20
MAX_LINE = 400
GRACE_S = 12.0
"""The service gives running requests 10 s to finish."""
FORCE_S = 3.0


class ServiceProcess:
    """One run of the service. When it ends, `on_end` is called with this object from its own thread.

    The child reads our pipe as its standard input: when we end, in whatever way, it sees the pipe close and exits.
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
            **detached_options(),
        )
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._on_end = on_end
        self._thread = threading.Thread(target=self._watch, name=f"child {self.pid}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code; negative if a signal ended it, None while it runs."""
        return self._process.poll()

    @property
    def last_line(self) -> str:
        """The last line that it wrote to standard error."""
        return self._lines[-1] if self._lines else ""

    def end(self) -> None:
        """End the process and wait: close its input, then send SIGTERM, then SIGKILL, each if needed."""
        self._close_stdin()
        for wait_s, next_step in ((GRACE_S, self._process.terminate), (FORCE_S, self._process.kill)):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
                break
            next_step()
        self._process.wait()
        self._thread.join(FORCE_S)

    def kill(self) -> None:
        """End the process at once, as it hangs."""
        self._process.kill()

    def _watch(self) -> None:
        stderr: IO[str] | None = self._process.stderr
        if stderr is not None:
            with suppress(OSError, ValueError):
                for line in stderr:
                    if text := line.strip():
                        self._lines.append(text[:MAX_LINE])
            stderr.close()
        self._process.wait()
        self._close_stdin()
        self._on_end(self)

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


class Backoff(Struct, frozen=True, kw_only=True):
    """When to restart: after 1, 2, 4 … 30 s, from 1 s again after a minute of uptime; at most 5 crashes in 2 min."""

    first_s: float = 1.0
    longest_s: float = 30.0
    stable_s: float = 60.0
    """A service that ran for this long was stable: its crash has nothing to do with earlier ones."""
    max_crashes: int = 5
    window_s: float = 120.0


class CrashHistory(Struct, frozen=True):
    """The crashes that still count: `times` on a monotonic clock, and how many came without a stable run between."""

    times: tuple[float, ...] = ()
    in_a_row: int = 0


def record_crash(old: CrashHistory, now: float, uptime_s: float, backoff: Backoff) -> CrashHistory:
    """Return the history with one more crash, of a service that ran for `uptime_s` seconds."""
    recent = tuple(at for at in old.times if now - at <= backoff.window_s)
    return CrashHistory((*recent, now), 1 if uptime_s >= backoff.stable_s else old.in_a_row + 1)


def delay_s(crashes: CrashHistory, fraction: float, backoff: Backoff) -> float | None:
    """Return the seconds until the next start, or None to give up.

    `fraction` (0 to 1) adds jitter: the delay is between half of its step and all of it.
    """
    if len(crashes.times) >= backoff.max_crashes:
        return None
    step: float = min(backoff.first_s * 2 ** min(max(crashes.in_a_row - 1, 0), 16), backoff.longest_s)
    return step * (0.5 + 0.5 * fraction)


class SilenceTimer:
    """Measures how long a service has not answered, and leaves out the time in which the machine slept.

    `clock` (monotonic, may continue during sleep) and `wall_clock` (time of day) return seconds.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._since = self._checked_at = clock()
        self._checked_at_wall = wall_clock()
        self._limit_s = HUNG_S

    def record_answer(self) -> None:
        """Reset the silence, as the service answered."""
        self._since = self._checked_at = self._clock()
        self._checked_at_wall = self._wall_clock()
        self._limit_s = HUNG_S

    def record_silence(self) -> None:
        """Record that no answer came; if the machine slept since the last check, the silence starts anew."""
        now, wall_now = self._clock(), self._wall_clock()
        if max(now - self._checked_at, wall_now - self._checked_at_wall) > SLEEP_GAP_S:
            self._since = now
            self._limit_s = HUNG_AFTER_SLEEP_S
        self._checked_at, self._checked_at_wall = now, wall_now

    @property
    def is_reportable(self) -> bool:
        """Whether the user should be told of the silence."""
        return self._checked_at - self._since >= REPORT_SILENCE_S

    @property
    def is_hang(self) -> bool:
        """Whether the service has been silent for so long that it won't answer again."""
        return self._checked_at - self._since >= self._limit_s


class ServiceExited(Struct, frozen=True):
    """A child process has ended."""

    child: ServiceProcess


class Supervisor:
    """A thread that owns the service process and calls `on_change` for each change of its status.

    `command` is the command line of the service, to which `use_port` adds a port. `fraction` returns a random
    number from 0 to 1 for the jitter of restarts.
    """

    def __init__(
        self,
        command: Sequence[str],
        runtime_file: Path,
        on_change: Callable[[ServiceStatus], None],
        *,
        environ: Mapping[str, str] = OWN_VARIABLES,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._command = tuple(command)
        self._runtime_file = runtime_file
        self._on_change = on_change
        self._environ = environ
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._wall_clock = wall_clock
        self._fraction = fraction
        self._inbox: queue.SimpleQueue[Command | ServiceExited] = queue.SimpleQueue()
        self._extra_arguments: tuple[str, ...] = ()
        self._crashes = CrashHistory()
        self._stopping = False
        self._kill_reason = ""
        """Why we killed the child, if we did."""
        self._is_silent = False
        """Whether the last check reached a process that did not answer."""
        self._ended_instance = ""
        """The instance that has certainly ended, though its runtime file may still exist."""
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def check(self) -> None:
        """Check the service now, because a connection to it broke."""
        self._inbox.put("check")

    def restart(self) -> None:
        """Start the service at the user's request: a stopped one, or a running child again."""
        self._inbox.put("restart")

    def use_port(self, port: int) -> None:
        """Start the service on another port, for as long as this supervisor exists."""
        self._extra_arguments = ("--port", str(port))
        self._inbox.put("restart")

    def stop(self) -> None:
        """End our child gracefully and return when it has ended; a service that we did not start keeps running."""
        self._inbox.put("stop")
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            runtime = self._find()
            if runtime is not None:
                self._watch_external(runtime)
            else:
                self._run_child()

    def _find(self) -> Runtime | None:
        """Return the runtime of a service that answers and proves to be the one of the runtime file, or None."""
        self._is_silent = False
        try:
            if read_runtime(self._runtime_file).instance == self._ended_instance:
                return None
            with ApiClient.connect(self._runtime_file) as client:
                return client.runtime
        except ServiceError as error:
            self._is_silent = isinstance(error.__cause__, httpx.TimeoutException)
            return None

    def _watch_external(self, runtime: Runtime) -> None:
        """Watch a service that was started elsewhere until it is gone; we never end it."""
        silence = SilenceTimer(self._clock, self._wall_clock)
        self._report_running(runtime, is_ours=False)
        was_reported = False
        while True:
            message = self._wait(CHECK_SILENT_S if was_reported else CHECK_S)
            if self._stopping:
                return
            if message not in {"check", None}:
                continue
            found = self._find()
            if found is not None:
                silence.record_answer()
                if was_reported or message == "check":
                    self._report_running(found, is_ours=False)
                was_reported = False
            elif not self._is_silent:
                break
            else:
                silence.record_silence()
                if silence.is_reportable and not was_reported:
                    was_reported = True
                    self._report_silent(runtime, is_ours=False)
        self._ended_instance = runtime.instance
        if self._recorded_instance() == runtime.instance:  # it could not remove its file
            self._handle_crash(0.0, "The service that was started elsewhere has crashed.")
            return
        # It was stopped on purpose where it was started, perhaps by systemd, with which we must not race.
        self._stay_stopped(
            ServiceStatus(
                state="stopped",
                text="The service was stopped where it was started.",
                fix="Start it there again, or press Restart to have it started here.",
                is_ours=False,
            )
        )

    def _run_child(self) -> None:
        """Start the service as a child and watch it until it ends."""
        is_again = self._crashes.in_a_row > 0
        self._on_change(
            ServiceStatus(state="restarting", text="The service ended and is being restarted.")
            if is_again
            else ServiceStatus(state="starting", text="The service is starting.")
        )
        started_at = self._clock()
        self._ended_instance = self._recorded_instance()
        try:
            child = ServiceProcess(
                [*self._command, *self._extra_arguments],
                lambda ended: self._inbox.put(ServiceExited(ended)),
                self._environ,
            )
        except OSError as error:
            self._handle_crash(0.0, f"The service can't be started: {error}.")
            return
        silence = SilenceTimer(self._clock, self._wall_clock)
        try:
            is_restart = self._await_ready(child, silence) and self._watch(child, silence)
        finally:
            if child.is_alive:
                child.end()
        if self._stopping or is_restart:
            return
        self._after_end(child, self._clock() - started_at)

    def _await_ready(self, child: ServiceProcess, silence: SilenceTimer) -> bool:
        """Wait until the child answers; False if it ended or took too long."""
        until = self._clock() + START_TIMEOUT_S
        while self._clock() < until:
            runtime = self._find()
            if runtime is not None:
                silence.record_answer()
                self._report_running(runtime, is_ours=True)
                return True
            message = self._wait(POLL_S)
            if self._stopping or (isinstance(message, ServiceExited) and message.child is child):
                return False
        return False

    def _watch(self, child: ServiceProcess, silence: SilenceTimer) -> bool:
        """Watch a child that answers until it ends; True if the user requested a restart. Kills one that hangs."""
        is_answering, was_reported = True, False
        while True:
            message = self._wait(CHECK_S if is_answering else CHECK_SILENT_S)
            if self._stopping:
                return False
            if message == "restart":
                if was_reported:
                    child.kill()  # it hangs, so it would not end by its closed input
                return True
            if isinstance(message, ServiceExited):
                if message.child is child:
                    return False
                continue
            runtime = self._find()
            is_answering = runtime is not None
            if runtime is not None:
                silence.record_answer()
                if was_reported or message == "check":
                    self._report_running(runtime, is_ours=True)
                was_reported = False
                continue
            silence.record_silence()
            if silence.is_reportable and not was_reported and child.is_alive:
                was_reported = True
                self._report_silent(None, is_ours=True)
            if silence.is_hang:
                child.kill()
                child.end()
                self._kill_reason = f"It did not answer for {HUNG_S:g} s: its log shows where it hung."
                return False

    def _after_end(self, child: ServiceProcess, uptime_s: float) -> None:
        """Decide what to do after a child has ended unexpectedly."""
        if child.code == ALREADY_RUNNING:
            self._await_other(uptime_s, child.last_line)
            return
        taken_port = _PORT_TAKEN.match(child.last_line)
        if taken_port is None:
            why, self._kill_reason = self._kill_reason, ""
            self._handle_crash(uptime_s, why or child.last_line or _exit_text(child.code))
            return
        port = int(taken_port[1] or taken_port[2])
        title, _, fix = child.last_line.partition(". ")
        self._stay_stopped(
            ServiceStatus(state="port-taken", text=f"{title.rstrip('.')}.", fix=fix, port=port),
            again_in_s=PORT_TAKEN_RETRY_S,
        )

    def _await_other(self, uptime_s: float, why: str) -> None:
        """Wait for a service that was started elsewhere at the same time and may not answer yet."""
        self._ended_instance = ""
        until = self._clock() + START_TIMEOUT_S / 4
        while self._clock() < until and not self._stopping:
            if self._find() is not None:
                return
            self._wait(POLL_S * 4)
        self._handle_crash(uptime_s, why)

    def _recorded_instance(self) -> str:
        """Return the instance in the runtime file, so that one that has ended isn't contacted again and again."""
        try:
            return read_runtime(self._runtime_file).instance
        except ServiceError:
            return ""

    def _handle_crash(self, uptime_s: float, why: str) -> None:
        """Record a crash; wait before the next start, or give up until the user restarts it."""
        self._crashes = record_crash(self._crashes, self._clock(), uptime_s, self._backoff)
        wait_s = delay_s(self._crashes, self._fraction(), self._backoff)
        if wait_s is not None:
            self._on_change(
                ServiceStatus(
                    state="restarting", text=f"The service ended and is being restarted. {why}".strip()
                )
            )
            self._pause(wait_s)
            return
        self._stay_stopped(
            ServiceStatus(
                state="given-up",
                text=f"Service stopped: it ended {len(self._crashes.times)} times within minutes. {why}".strip(),
                fix="Read its log, then press Restart.",
            )
        )
        self._crashes = CrashHistory()

    def _stay_stopped(self, status: ServiceStatus, again_in_s: float | None = None) -> None:
        """Do nothing until the user requests a restart, a service is started elsewhere, or the time is over."""
        self._on_change(status)
        until = None if again_in_s is None else self._clock() + again_in_s
        while until is None or self._clock() < until:
            if self._wait(STOPPED_POLL_S) == "restart" or self._stopping or self._find() is not None:
                return

    def _pause(self, wait_s: float) -> None:
        """Wait before the next start; a restart by the user ends the wait."""
        until = self._clock() + wait_s
        while (left_s := until - self._clock()) > 0 and not self._stopping:
            if self._wait(left_s) == "restart":
                return

    def _wait(self, limit_s: float | None) -> Command | ServiceExited | None:
        """Return the next command or exit; None if none came in time."""
        try:
            message = self._inbox.get(timeout=limit_s)
        except queue.Empty:
            return None
        if message == "stop":
            self._stopping = True
        if message == "restart":
            self._crashes = CrashHistory()
        return message

    def _report_silent(self, runtime: Runtime | None, *, is_ours: bool) -> None:
        url = runtime.url if runtime is not None else ""
        where = f" at {url}" if url else ""
        fix = "If that lasts, it is restarted." if is_ours else "End it where it was started."
        self._on_change(
            ServiceStatus(
                state="silent", text=f"The service{where} does not answer.", fix=fix, url=url, is_ours=is_ours
            )
        )

    def _report_running(self, runtime: Runtime, *, is_ours: bool) -> None:
        self._on_change(
            ServiceStatus(
                state="running",
                text=f"The service runs at {runtime.url}.",
                url=runtime.url,
                instance=runtime.instance,
                is_ours=is_ours,
            )
        )


def _exit_text(code: int | None) -> str:
    """Describe how a process ended that wrote nothing to standard error."""
    if code is None:
        return ""
    return f"It was ended by signal {-code}." if code < 0 else f"It ended with exit code {code}."
