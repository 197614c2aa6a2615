import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from meshlight.domain.config import HOST
from meshlight.local_models.engines.process_facts import start_mark
from meshlight.local_models.engines.process_family import RealFamily, end_family
from process_fixture import is_alive

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    yield process
    end_family(process.pid, start_mark(process.pid))
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_process_is_ended_with_its_children_by_number_and_start(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    child = int(process.stdout.readline())
    mark = start_mark(process.pid)
    assert mark
    assert mark != start_mark(child)
    for other in ("", f"{mark}0", start_mark(child)):  # of a process that had the same number
        assert not end_family(process.pid, other)
    assert process.poll() is None
    family = RealFamily(process.pid)
    alone = family.resident_bytes()
    family.look()
    assert family.resident_bytes() > alone > 0
    assert end_family(process.pid, mark)
    process.wait()
    assert not is_alive(child)
    assert not end_family(process.pid, mark)


def test_what_is_not_there_has_no_mark_and_no_memory() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert start_mark(gone.pid) == ""
    family = RealFamily(gone.pid)
    family.look()
    assert (family.resident_bytes(), family.listens_on(1)) == (0, False)


def test_whose_port_it_is(process: subprocess.Popen[str]) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert RealFamily(os.getpid()).listens_on(port) in {True, None}
        assert RealFamily(process.pid).listens_on(port) in {False, None}
