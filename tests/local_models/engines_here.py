"""Starters of real engines, and models for them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import LocalModel, RunnerName
from meshlight.local_models.engines.leftovers import Leftovers
from meshlight.local_models.engines.process import EngineProcess, System
from meshlight.local_models.engines.starter import Starter
from meshlight.local_models.runners import xllamacpp
from meshlight.local_models.runners.mlx import Mlx
from real.engines import llama_server

RUNNERS: tuple[RunnerName, ...] = ("llama-server", "xllamacpp")


def program_of(runner: str) -> str:
    """Return the path of a runner's program; the test is skipped where there is none."""
    if runner == "llama-server":
        return str(llama_server())
    if xllamacpp.locate() is None:
        pytest.skip("xllamacpp is not installed; run: python3 packaging/dev.py")
    return sys.executable


def model_at(path: Path, **fields: Any) -> LocalModel:
    """Return a model of one file."""
    given: dict[str, Any] = {
        "id": f"owner/{path.stem}:F16",
        "format": "gguf",
        "path": str(path),
        "files": (str(path),),
        "size_bytes": path.stat().st_size if path.exists() else 1,
        "store": "folder",
    }
    return LocalModel(**given | fields)


def starter_of(runner: str, *, system: System | None = None, leftovers: Leftovers | None = None) -> Starter:
    """Return a starter for one runner."""
    program = program_of(runner)
    settings = LocalSettings(runner=runner, llama_server=program if runner == "llama-server" else "")  # type: ignore[arg-type]
    leftovers = leftovers or Leftovers(lambda: b"", lambda _: None)
    return Starter(settings, leftovers, os.environ, asyncio.get_running_loop(), system=system)


async def started(starter: Starter, model: LocalModel, context: int = 2048, *args: str) -> EngineProcess:
    """Start an engine."""
    engine = await starter.start(model, context, args, 300.0)
    assert isinstance(engine, EngineProcess)
    return engine


def client_of(engine: EngineProcess, key: str | None = None) -> httpx.AsyncClient:
    """Return a client of an engine, with its key or another."""
    headers = {"authorization": f"Bearer {engine.key if key is None else key}"}
    return httpx.AsyncClient(base_url=engine.address.url, headers=headers, trust_env=False, timeout=60.0)


def mlx_starter(program: Path, hub: Path) -> Starter:
    """Return a starter for mlx_lm as another Python has it."""
    environ = {**os.environ, "PATH": str(program.parent), "HF_HOME": str(hub), "HF_HUB_CACHE": str(hub)}
    runner = Mlx(environ, version_of=lambda _: None)
    leftovers = Leftovers(lambda: b"", lambda _: None)
    return Starter(LocalSettings(), leftovers, environ, asyncio.get_running_loop(), runners=(runner,))
