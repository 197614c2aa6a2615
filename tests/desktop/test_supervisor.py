import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from meshlight.desktop.supervisor import Backoff, Supervisor
from meshlight.desktop.system.process import program
from process_fixture import Home, Standings, is_alive, wait_until
from stopwatch import Stopwatch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by POSIX signals here")

SERVE = ("serve", "--quiet", "--log-level", "warning")
AT_ONCE = Backoff(first_s=0.02, longest_s=0.05)
Supervise = Callable[..., tuple[Supervisor, Standings]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def supervise(home: Home) -> Iterator[Supervise]:
    running: list[Supervisor] = []

    def start(
        command: Sequence[str] = program(*SERVE), backoff: Backoff | None = None
    ) -> tuple[Supervisor, Standings]:
        statuses = Standings()
        supervisor = Supervisor(
            command, home.runtime_file, statuses, environ=home.environ, backoff=backoff
        ).start()
        running.append(supervisor)
        return supervisor, statuses

    yield start
    for supervisor in running:
        supervisor.stop()


def test_a_service_is_started_and_ended_with_its_supervisor(home: Home, supervise: Supervise) -> None:
    supervisor, statuses = supervise()
    status = statuses.until("running")
    assert [s.state for s in statuses.seen] == ["starting", "running"]
    assert (status.url, status.is_ours) == (f"http://127.0.0.1:{home.port}", True)
    pid = home.runtime.pid
    assert home.answers()
    supervisor.stop()
    assert not is_alive(pid)
    assert not home.runtime_file.exists()


def test_a_killed_service_answers_again_within_three_seconds(home: Home, supervise: Supervise) -> None:
    _, statuses = supervise()
    statuses.until("running")
    pid = home.runtime.pid
    stopwatch = Stopwatch()
    os.kill(pid, signal.SIGKILL)
    assert "ended and is being restarted" in statuses.until("restarting").text
    statuses.until("running")
    assert home.answers()
    stopwatch.follow(home.runtime.pid)
    assert stopwatch.elapsed_s < 3.0
    assert home.runtime.pid != pid


def test_a_service_that_hangs_is_not_taken_for_a_dead_one_when_it_answers_again(
    home: Home, supervise: Supervise
) -> None:
    supervisor, statuses = supervise()
    first = statuses.until("running")
    os.kill(home.runtime.pid, signal.SIGSTOP)
    supervisor.check()
    os.kill(home.runtime.pid, signal.SIGCONT)
    assert statuses.until("running").instance == first.instance


def test_a_running_service_is_attached_to_and_left_alone(home: Home, supervise: Supervise) -> None:
    with home.start(*SERVE) as service:
        wait_until(home.runtime_file.exists)
        supervisor, statuses = supervise()
        assert statuses.until("running").is_ours is False
        assert [s.state for s in statuses.seen] == ["running"]
        supervisor.restart()
        supervisor.check()
        statuses.until("running")
        supervisor.stop()
        assert service.poll() is None
        assert home.answers()
        service.terminate()
        assert service.wait(20) == 0


def test_a_service_that_was_stopped_where_it_was_started_is_not_replaced_until_asked(
    home: Home, supervise: Supervise
) -> None:
    with home.start(*SERVE) as service:
        wait_until(home.runtime_file.exists)
        supervisor, statuses = supervise()
        statuses.until("running")
        service.terminate()
        service.wait(20)
        supervisor.check()
        stopped = statuses.until("stopped")
        assert "stopped where it was started" in stopped.text
        supervisor.restart()
        assert statuses.until("running").is_ours is True


def test_an_attached_service_that_is_killed_is_replaced(home: Home, supervise: Supervise) -> None:
    with home.start(*SERVE) as service:
        wait_until(home.runtime_file.exists)
        supervisor, statuses = supervise()
        statuses.until("running")
        service.kill()
        service.wait(20)
        supervisor.check()
        statuses.until("restarting")
        assert statuses.until("running").is_ours is True


def test_a_service_that_ends_five_times_is_given_up_visibly_until_restart_is_pressed(
    tmp_path: Path, supervise: Supervise
) -> None:
    count = tmp_path / "count"
    failing = f"import sys; open({str(count)!r}, 'a').write('x'); sys.exit('Disk full.')"
    supervisor, statuses = supervise([sys.executable, "-S", "-c", failing], AT_ONCE)
    given_up = statuses.until("given-up")
    assert "ended 5 times" in given_up.text
    assert "Disk full." in given_up.text
    assert "Restart" in given_up.fix
    assert count.read_text() == "x" * 5
    supervisor.restart()
    statuses.until("given-up")
    assert count.read_text() == "x" * 10


def test_a_program_that_cannot_be_started_is_given_up_with_the_reason(supervise: Supervise) -> None:
    _, statuses = supervise(["/nowhere/meshlight"], AT_ONCE)
    assert "No such file" in statuses.until("given-up").text


def test_a_stranger_on_the_port_is_named_and_its_page_is_never_taken_for_ours(
    home: Home, supervise: Supervise
) -> None:
    with socket.create_server(("127.0.0.1", home.port)):
        supervisor, statuses = supervise()
        status = statuses.until("port-taken")
        assert status.port == home.port
        assert status.text == f"Port {home.port} is taken by another program (at 127.0.0.1:{home.port})."
        assert status.fix.startswith("Stop that program")
        assert status.url == ""
        home.port = Home(home.folder / "other").port
        supervisor.use_port(home.port)
        assert statuses.until("running").url == f"http://127.0.0.1:{home.port}"
        assert home.answers()


def test_the_service_dies_with_a_supervisor_that_is_killed(home: Home) -> None:
    script = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from meshlight.desktop.supervisor import Supervisor\n"
        "from meshlight.desktop.system.process import program\n"
        f"Supervisor(program(*{SERVE!r}), Path(sys.argv[1]), print).start()\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home.runtime_file)], env=home.environ, stdout=subprocess.DEVNULL
    ) as parent:
        wait_until(home.runtime_file.exists)
        pid = home.runtime.pid
        parent.kill()
        parent.wait()
        assert wait_until(lambda: not is_alive(pid), 3.0) < 3.0
    assert not home.runtime_file.exists()


def test_of_two_supervisors_that_start_at_once_one_has_the_service_and_the_other_attaches(
    supervise: Supervise,
) -> None:
    both = [supervise() for _ in range(2)]
    wait_s = 20.0
    instances = set()
    for _, statuses in both:
        instances.add(statuses.until("running", limit_s=wait_s).instance)
    assert len(instances) == 1
