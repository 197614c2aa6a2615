"""Real engines, started on free ports with tiny models and stopped by their process id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import dev_engines

HOST = "127.0.0.1"
GET_THEM = "run: python3 packaging/dev.py engines"


@dataclass(frozen=True)
class Engine:
    """A running engine: its address, its only model, its output."""

    process: subprocess.Popen[bytes]
    port: int
    model: str
    log: Path

    @property
    def url(self) -> str:
        """Where it listens, without /v1."""
        return f"http://{HOST}:{self.port}"

    def output(self) -> str:
        """Return its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it without warning, as a crash would; its port then refuses. Does nothing if it has ended."""
        self.process.kill()
        self.process.wait()


def llama_server() -> Path:
    """Return llama.cpp's server on this machine; the test is skipped where there is none."""
    found = dev_engines.find_llama_server()
    if found is None:
        pytest.skip(f"no llama-server on this machine; {GET_THEM}")
    return found


def mlx_python() -> Path:
    """Return the Python that has mlx_lm; the test is skipped where there is none."""
    found = dev_engines.find_mlx_python()
    if found is None:
        pytest.skip(f"no mlx_lm on this machine; {GET_THEM}")
    return found


def starter_model() -> Path:
    """Return the real weights of a small model (SmolLM2 135M); the test is skipped where they are not."""
    found = dev_engines.find_starter_model()
    if found is None:
        pytest.skip(f"no real weights on this machine; {GET_THEM}")
    return found


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_llama(
    model_file: Path,
    model: str,
    *,
    port: int | None = None,
    key: str | None = None,
    slots: int = 4,
    threads: int = 2,
    context: int = 2048,
) -> Iterator[Engine]:
    """Run llama-server with one model of the name `model`, ready to answer; it ends with the block.

    `slots` is how many requests it works on at once, each with `context` tokens. With --context-shift an endless
    answer is truly endless.
    """
    words = [
        "-m",
        str(model_file),
        "--alias",
        model,
        "-c",
        str(context * slots),
        "-np",
        str(slots),
        "-t",
        str(threads),
    ]
    words += ["--jinja", "--embeddings", "--pooling", "mean", "--metrics", "--no-webui", "--context-shift"]
    words += ["--api-key", key] if key else []
    command = [str(llama_server()), *words]
    with _running(command, model, model_file.with_suffix(".log"), port=port) as engine:
        yield engine


@contextmanager
def running_mlx(model_folder: Path, *, port: int | None = None) -> Iterator[Engine]:
    """Run mlx_lm.server with one model, ready to answer; it ends with the block.

    It calls its model by the folder's path. Its hub cache is an empty folder: without any, `/v1/models` fails.
    """
    hub = model_folder.with_name(f"{model_folder.name}-hub")
    hub.mkdir(exist_ok=True)
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(hub), "HF_HUB_CACHE": str(hub)}
    command = [str(mlx_python()), "-m", "mlx_lm", "server", "--model", str(model_folder)]
    log = model_folder.with_name(f"{model_folder.name}.log")
    with _running(command, str(model_folder.resolve()), log, port=port, variables=alone) as engine:
        yield engine


@contextmanager
def _running(
    command: Sequence[str],
    model: str,
    log: Path,
    *,
    port: int | None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Engine]:
    chosen = port or free_port()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--host", HOST, "--port", str(chosen)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(variables or {})},
        )
    engine = Engine(process, chosen, model, log)
    try:
        _wait_until_healthy(engine)
        yield engine
    finally:
        engine.kill()


def _wait_until_healthy(engine: Engine, timeout_s: float = 45.0) -> None:
    """Return when GET /health says 200. Fails with the engine's own words if it dies or takes too long."""
    deadline = time.monotonic() + timeout_s
    with httpx.Client(trust_env=False, timeout=2.0) as client:
        while time.monotonic() < deadline:
            try:
                if client.get(f"{engine.url}/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            try:
                engine.process.wait(timeout=0.05)  # paces the loop, and ends it at once if the engine died
            except subprocess.TimeoutExpired:
                continue
            break
    pytest.fail(
        f"the engine at {engine.url} was not ready within {timeout_s:.0f} s; it said:\n{engine.output()[-2000:]}"
    )
