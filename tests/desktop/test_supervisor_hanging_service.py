"""A service whose event loop hangs: nobody is served, and nothing that asks the loop to stop is heard."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from meshlight.desktop.supervisor import (
    HUNG_AFTER_SLEEP_S,
    HUNG_S,
    REPORT_SILENCE_S,
    SLEEP_GAP_S,
    Backoff,
    ServiceStatus,
    SilenceTimer,
    Supervisor,
)
from meshlight.desktop.system.process import HOLDS_STDIN
from meshlight.service.watchdog import Watchdog, answers, end_with
from process_fixture import SOON_S, Home, Standings, is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the service is made to hang by a signal")

HANGS = """
import os, pathlib, signal, sys
from meshlight.cli.entry import main

def hang_here(*_):
    pathlib.Path(os.environ["MESHLIGHT_HOME"], "hangs").touch()
    while True:
        pass

signal.signal(signal.SIGUSR1, hang_here)
sys.argv[0] = "meshlight"
main()
"""
"""The service, whose loop never comes back from the signal; a file shows that it is there."""
AT_ONCE = Backoff(first_s=0.0, longest_s=0.0)
SERVE = (sys.executable, "-P", "-c", HANGS, "serve", "--quiet", "--log-level", "warning")


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def statuses() -> Standings:
    return Standings()


@pytest.fixture
def report(time: Time, statuses: Standings) -> Callable[[ServiceStatus], None]:
    """Take a status; while "running" is taken, as much time passes as makes a silence reportable."""

    def take(status: ServiceStatus) -> None:
        if status.state == "running":
            time.now += REPORT_SILENCE_S + 1
        statuses(status)

    return take


@pytest.fixture
def supervisor(home: Home, time: Time, report: Callable[[ServiceStatus], None]) -> Iterator[Supervisor]:
    new_supervisor = Supervisor(
        SERVE, home.runtime_file, report, environ=home.environ, backoff=AT_ONCE, clock=time, wall_clock=time
    )
    yield new_supervisor.start()
    new_supervisor.stop()


@contextmanager
def serving(
    home: Home, *, stdin: int, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service by hand, wait until it runs, and kill it in the end."""
    with subprocess.Popen(SERVE, stdin=stdin, env={**home.environ, **environ}) as service:
        try:
            wait_until(home.runtime_file.exists)
            yield service
        finally:
            service.kill()


def hang(home: Home, pid: int) -> None:
    """Have the loop of a service hang, and return once it does."""
    os.kill(pid, signal.SIGUSR1)
    wait_until((home.folder / "hangs").exists)


def test_a_service_that_hangs_is_shown_as_silent_and_then_ended_for_good_and_started_again(
    home: Home, time: Time, statuses: Standings, supervisor: Supervisor
) -> None:
    statuses.until("running")
    stuck = home.runtime.pid
    hang(home, stuck)
    supervisor.check()
    silent = statuses.until("silent")
    assert "does not answer" in silent.text
    assert silent.fix
    time.now += HUNG_S - REPORT_SILENCE_S
    supervisor.check()
    assert f"did not answer for {HUNG_S:g} s" in statuses.until("restarting").text
    assert not is_alive(stuck)
    statuses.until("running")
    assert home.answers()
    assert home.runtime.pid != stuck


def test_a_service_that_was_only_busy_is_shown_as_running_again(
    home: Home, statuses: Standings, supervisor: Supervisor
) -> None:
    first = statuses.until("running")
    os.kill(home.runtime.pid, signal.SIGSTOP)
    supervisor.check()
    statuses.until("silent")
    os.kill(home.runtime.pid, signal.SIGCONT)
    assert statuses.until("running").instance == first.instance


def test_restart_is_heard_while_the_service_hangs(
    home: Home, statuses: Standings, supervisor: Supervisor
) -> None:
    statuses.until("running")
    stuck = home.runtime.pid
    hang(home, stuck)
    supervisor.check()
    statuses.until("silent")
    supervisor.restart()
    statuses.until("running")
    assert not is_alive(stuck)


def test_a_service_of_somebody_else_that_hangs_is_told_of_and_left_alone(
    home: Home, time: Time, statuses: Standings, report: Callable[[ServiceStatus], None]
) -> None:
    with serving(home, stdin=subprocess.DEVNULL) as service:
        supervisor = Supervisor(
            SERVE, home.runtime_file, report, environ=home.environ, clock=time, wall_clock=time
        ).start()
        statuses.until("running")
        hang(home, service.pid)
        supervisor.check()
        silent = statuses.until("silent")
        assert (silent.is_ours, silent.fix) == (False, "End it where it was started.")
        supervisor.stop()
        assert service.poll() is None


def test_a_service_whose_loop_hangs_ends_when_its_parent_does_and_its_log_shows_where(home: Home) -> None:
    with serving(home, stdin=subprocess.PIPE, environ=HOLDS_STDIN) as service:
        hang(home, service.pid)
        assert service.stdin is not None
        service.stdin.close()
        assert service.wait(SOON_S) == 1
    log = (home.folder / "meshlight.log").read_text()
    assert "The event loop hangs" in log
    assert "in hang_here" in log


def hung() -> tuple[asyncio.AbstractEventLoop, threading.Event]:
    """Return a loop that hangs in a thread of its own until the event is set."""
    loop, hangs, goes_on = asyncio.new_event_loop(), threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait()
        loop.stop()

    def run() -> None:
        loop.call_soon(hang)
        loop.run_forever()
        loop.close()

    threading.Thread(target=run).start()
    hangs.wait()
    return loop, goes_on


def test_a_loop_that_hangs_or_is_closed_does_not_answer() -> None:
    loop, goes_on = hung()
    assert not answers(loop, 0.01)
    goes_on.set()
    wait_until(loop.is_closed)
    assert not answers(loop, 10.0)


async def test_a_loop_that_runs_answers() -> None:
    assert await asyncio.to_thread(answers, asyncio.get_running_loop(), 10.0)


def test_the_process_is_ended_only_when_the_loop_does_not_answer(tmp_path: Path) -> None:
    loop, goes_on = hung()
    left: list[int] = []
    end_with(loop, lambda: None, tmp_path / "log", left.append, grace_s=0.01)
    assert left == [1]
    assert "goes_on.wait" not in (tmp_path / "log").read_text()  # lines of the program, not what they work on
    assert "in hang" in (tmp_path / "log").read_text()
    goes_on.set()


def test_where_the_loop_hangs_is_written_to_the_log_while_it_hangs(tmp_path: Path) -> None:
    loop, goes_on = hung()
    watchdog = Watchdog(loop, tmp_path / "log", beat_s=0.01)
    watchdog.start()
    log = tmp_path / "log"
    wait_until(lambda: log.exists() and "in hang" in log.read_text())
    goes_on.set()
    watchdog.stop()
    assert log.read_text().count("The event loop hangs.") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="it is done on Linux alone")
def test_a_hang_that_lets_no_other_thread_run_is_written_to_the_log_too(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    log = tmp_path / "log"
    watchdog = Watchdog(loop, log, beat_s=0.01, stuck_s=0.1)
    watchdog.start()
    wait_until(log.exists)
    name = "test_a_hang_that_lets_no_other_thread_run"
    is_written = ["sh", "-c", f'until grep -q {name} "$0"; do sleep 0.02; done', str(log)]
    with subprocess.Popen(is_written) as reader:
        try:
            ctypes.PyDLL(None).waitpid(reader.pid, None, 0)  # a PyDLL's functions hold the interpreter
        finally:
            reader.kill()
    watchdog.stop()
    loop.close()
    assert name in log.read_text()


def test_silence_is_told_soon_and_counts_as_a_hang_after_half_a_minute() -> None:
    time = Time()
    silence = SilenceTimer(time, time)
    seen = []
    for _ in range(7):
        time.now += 5
        silence.record_silence()
        seen.append((silence.is_reportable, silence.is_hang))
    assert seen == [(False, False)] + 4 * [(True, False)] + 2 * [(True, True)]
    silence.record_answer()
    assert (silence.is_reportable, silence.is_hang) == (False, False)


@pytest.mark.parametrize(
    "runs_on", [True, False], ids=["a clock that runs on", "a clock that stops in sleep"]
)
def test_a_sleep_of_the_machine_is_no_silence_and_the_service_gets_longer_after_it(runs_on: bool) -> None:
    clock, wall_clock = Time(), Time()
    silence = SilenceTimer(clock, wall_clock)
    clock.now += 5 + SLEEP_GAP_S * runs_on
    wall_clock.now += 5 + SLEEP_GAP_S
    silence.record_silence()
    assert not silence.is_reportable
    for waited in range(5, int(HUNG_AFTER_SLEEP_S) + 5, 5):
        clock.now += 5
        wall_clock.now += 5
        silence.record_silence()
        assert silence.is_hang == (waited >= HUNG_AFTER_SLEEP_S)
