"""A folder with a configuration, and the programs that are started on it."""

import os
import queue
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from meshlight.cli.ports import free_port
from meshlight.desktop.supervisor import ServiceState, ServiceStatus
from meshlight.desktop.system.process import program
from meshlight.domain.config import Runtime

SOON_S = 45.0
"""Guards against a test that hangs; a busy machine may take long to start a process."""


class Home:
    """A folder as MESHLIGHT_HOME, with a free port, no discovery, and `lines` added to the configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.runtime_file = folder / "runtime.json"
        text = "\n".join([f"port = {self.port}", "[discovery]", "enabled = false", *lines])
        (folder / "config.toml").write_text(f"{text}\n")

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "MESHLIGHT_HOME": str(self.folder)}

    @property
    def runtime(self) -> Runtime:
        return msgspec.json.decode(self.runtime_file.read_bytes(), type=Runtime)

    def start(self, *arguments: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            program(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**self.environ, **(more or {})},
        )

    def answers(self) -> bool:
        """Whether /v1 answers, with the key."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/models")
        request.add_header("authorization", f"Bearer {(self.folder / 'local.key').read_text().strip()}")
        try:
            with urllib.request.urlopen(request, timeout=2.0) as answer:  # noqa: S310
                return int(answer.status) == 200
        except OSError:
            return False


class Standings:
    """What a supervisor has reported, in order; `until` waits for a state."""

    def __init__(self) -> None:
        self._reports: queue.SimpleQueue[ServiceStatus] = queue.SimpleQueue()
        self.seen: list[ServiceStatus] = []

    def __call__(self, status: ServiceStatus) -> None:
        self._reports.put(status)

    def until(self, *states: ServiceState, limit_s: float = SOON_S) -> ServiceStatus:
        end = time.monotonic() + limit_s
        while True:
            status = self._reports.get(timeout=max(end - time.monotonic(), 0.01))
            self.seen.append(status)
            if status.state in states:
                return status


def wait_until(holds: Callable[[], bool], limit_s: float = SOON_S) -> float:
    """Wait until something outside of this process holds; return the seconds that took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > limit_s:
            raise AssertionError(f"not so within {limit_s} s")
        time.sleep(0.02)
    return time.monotonic() - begun


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie doesn't)."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
