"""A `meshlight serve` in a process of its own, as a person starts it, and the words typed beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshlight.api_client.client import ApiClient
from meshlight.domain.api_types import BackendView, SnapshotView
from stopwatch import Stopwatch

STARTS_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Said:
    """What a word printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Served:
    """A service that runs in `home`; `since_start` counts from the start of its process."""

    process: subprocess.Popen[bytes]
    home: Path
    since_start: Stopwatch
    mesh: ApiClient

    @property
    def url(self) -> str:
        """Where it listens, without /v1."""
        return self.mesh.runtime.url

    @property
    def key(self) -> str:
        """The local key."""
        return (self.home / "local.key").read_text("ascii").strip()

    def word(self, *words: str) -> Said:
        """Type a word in another terminal: a process of its own, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "meshlight", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=30,
            env=_environment(self.home),
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def backend(self, id_: str) -> BackendView | None:
        """Return one backend as the snapshot has it, if it is listed."""
        return _one(self.mesh.snapshot(), id_)

    def wait(self, id_: str, state: str, reason: str | None = None, within_s: float = 10.0) -> BackendView:
        """Return a backend as soon as it is in that state, and for that reason; fail when that takes too long."""
        view = self.until(lambda mesh: _in_state(mesh, id_, state, reason), within_s)
        found = _one(view, id_)
        assert found is not None
        return found

    def until(self, is_so: Callable[[SnapshotView], bool], within_s: float) -> SnapshotView:
        """Return the first snapshot of which `is_so` holds; fail with the last one after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while not is_so(view := self.mesh.snapshot()):
            if time.monotonic() > deadline:
                seen = [(b.id, b.health.state, b.health.reason, b.models) for b in view.backends]
                pytest.fail(f"not within {within_s:.0f} s; the mesh is {seen}")
            self._pause()
        return view

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code once the process has ended."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def _pause(self) -> None:
        """Wait until the next look; fail at once if the service ends meanwhile."""
        try:
            code = self.process.wait(timeout=LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            return
        pytest.fail(f"the service ended with {code}; it said:\n{_said(self.home)}")


@contextmanager
def serving(home: Path, *options: str) -> Iterator[Served]:
    """Run `meshlight serve` on a free port with its files in `home`; it ends with the block."""
    home.mkdir(parents=True, exist_ok=True)
    since_start = Stopwatch()
    with (home / "stderr.txt").open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "meshlight", "serve", "--port", "0", *options],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=_environment(home),
        )
    since_start.follow(process.pid)
    try:
        _wait_for_runtime_file(process, home)
        with ApiClient.connect(home / "runtime.json") as mesh:
            yield Served(process, home, since_start, mesh)
    finally:
        process.terminate()  # and not kill: what coverage counted in it is written at its end
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_runtime_file(process: subprocess.Popen[bytes], home: Path) -> None:
    """Wait for the runtime file of the service, which is written atomically."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if (home / "runtime.json").exists():
            return
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"the service did not start within {STARTS_WITHIN_S:.0f} s; it said:\n{_said(home)}")


def _environment(home: Path) -> Mapping[str, str]:
    """Return the environment without what would change the service or the look of its words."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MESHLIGHT_")}
    ours.pop("FORCE_COLOR", None)
    return ours | {"MESHLIGHT_HOME": str(home), "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}


def _said(home: Path) -> str:
    return (home / "stderr.txt").read_text(encoding="utf-8", errors="replace")[-2000:]


def _one(view: SnapshotView, id_: str) -> BackendView | None:
    return next((backend for backend in view.backends if backend.id == id_), None)


def _in_state(view: SnapshotView, id_: str, state: str, reason: str | None) -> bool:
    found = _one(view, id_)
    if found is None or found.health.state != state:
        return False
    return reason is None or found.health.reason == reason
