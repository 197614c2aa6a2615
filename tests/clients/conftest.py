"""Fixtures of the real clients' tests: real engines, one of each for the whole run, and a node for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("clients.rig")

from node import Node  # noqa: E402 - after the line above
from real.conftest import mlx as mlx  # noqa: E402, PLC0414 - a fixture is known by its name
from real.conftest import mlx_model as mlx_model  # noqa: E402, PLC0414 - the same
from real.engines import Engine, running_llama  # noqa: E402 - after the line above
from real.tiny_gguf import write_gguf  # noqa: E402 - the same


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real llama-server whose model calls itself tiny-a; one thread, as it shares two cores with its clients."""
    model_file = write_gguf(tmp_path_factory.mktemp("llama") / "tiny-a.gguf", "tiny-a")
    with running_llama(model_file, "tiny-a", threads=1) as engine:
        yield engine


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(tmp_path) as running:
        yield running
