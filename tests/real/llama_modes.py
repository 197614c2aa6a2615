"""llama-server in other ways than alone with one model: among others, as a router of many models, slow to load.

Each works in one thread. Several on few cores would spend their time waiting for each other's threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from real.engines import HOST, Engine, free_port, llama_server

READY_WITHIN_S = 45.0
_USUAL = ("-c", "8192", "-np", "4", "-t", "1", "--jinja", "--no-webui", "--context-shift")


@contextmanager
def mesh_llama(
    model_file: Path, model: str, *, port: int | None = None, key: str | None = None
) -> Iterator[Engine]:
    """Run llama-server with one model of the name `model`, ready to answer, as one of several."""
    words = ["-m", str(model_file), "--alias", model, *(["--api-key", key] if key else [])]
    with _started(words, model, model_file.parent, port=port) as engine:
        _wait_until(lambda: _is_ready(engine), engine)
        yield engine


@contextmanager
def router_llama(models_folder: Path) -> Iterator[Engine]:
    """Run llama-server in router mode: each GGUF file in the folder is a model, loaded when it is requested."""
    with _started(["--models-dir", str(models_folder)], "", models_folder.parent) as engine:
        _wait_until(lambda: _is_ready(engine), engine)
        yield engine


@dataclass(frozen=True)
class SlowLlama:
    """A llama-server that listens and says 503 `Loading model`, for as long as the test likes."""

    engine: Engine
    model_file: Path
    """The path at which it looks: a pipe, whose opening it hangs on, until the real file takes its place."""
    pipe: Path
    """Another name of that pipe."""
    real: Path

    def let_it_load(self) -> None:
        """Let it go on with the real file; returns when it is ready to answer."""
        self.real.replace(self.model_file)
        _wait_until(self._goes_on, self.engine)

    def _goes_on(self) -> bool:
        # A pipe that somebody waits to read can be opened for writing, and closing it ends the reader's file.
        with suppress(OSError):
            os.close(os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK))
        return _is_ready(self.engine)


@contextmanager
def slow_llama(model_file: Path, model: str, *, port: int | None = None) -> Iterator[SlowLlama]:
    """Run llama-server so that it listens but goes on loading until `let_it_load`.

    It looks at its model file twice: first whether it fits into memory, and a failure there does no harm; then to
    load it. The first look hangs on a pipe.
    """
    path, pipe, real = (
        model_file.with_name(f"{word}-{model_file.name}") for word in ("slow", "pipe", "real")
    )
    for old in (path, pipe):
        old.unlink(missing_ok=True)
    os.mkfifo(path)
    os.link(path, pipe)
    shutil.copyfile(model_file, real)
    words = ["-m", str(path), "--alias", model, "--fit", "on"]
    with _started(words, model, model_file.parent, port=port) as engine:
        _wait_until(lambda: _status(engine) is not None, engine)
        yield SlowLlama(engine, path, pipe, real)


@contextmanager
def _started(words: Sequence[str], model: str, logs: Path, *, port: int | None = None) -> Iterator[Engine]:
    chosen = port or free_port()
    log = logs / f"llama-{chosen}.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [str(llama_server()), *words, *_USUAL, "--host", HOST, "--port", str(chosen)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    engine = Engine(process, chosen, model, log)
    try:
        yield engine
    finally:
        engine.kill()


def _wait_until(is_so: Callable[[], bool], engine: Engine) -> None:
    """Return as soon as it is so; fail with the engine's own words if that takes too long, or if it ends before."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not is_so():
        try:
            engine.process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        pytest.fail(
            f"llama-server was not ready within {READY_WITHIN_S:.0f} s; it said:\n{engine.output()[-2000:]}"
        )


def _is_ready(engine: Engine) -> bool:
    return _status(engine) == httpx.codes.OK


def _status(engine: Engine) -> int | None:
    """Return what /health answers; None while nobody listens."""
    try:
        return httpx.get(f"{engine.url}/health", trust_env=False, timeout=2.0).status_code
    except httpx.TransportError:
        return None
