"""Real engines for the tests of this folder: one of each for the whole run, with tiny models made for it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("real.client_contract")  # so that a failed assertion shows its values

from real.engines import Engine, llama_server, mlx_python, running_llama, running_mlx  # noqa: E402 - after the line above
from real.tiny_gguf import write_gguf  # noqa: E402 - the same


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real llama-server whose model calls itself tiny-a."""
    llama_server()  # skips before anything is made
    model_file = write_gguf(tmp_path_factory.mktemp("llama") / "tiny-a.gguf", "tiny-a")
    with running_llama(model_file, "tiny-a") as engine:
        yield engine


@pytest.fixture(scope="session")
def mlx_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model for mlx_lm."""
    python = mlx_python()
    folder = tmp_path_factory.mktemp("mlx") / "tiny-mlx"
    maker = Path(__file__).with_name("tiny_mlx.py")
    subprocess.run([python, maker, folder], check=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def mlx(mlx_model: Path) -> Iterator[Engine]:
    """A real mlx_lm.server."""
    with running_mlx(mlx_model) as engine:
        yield engine
