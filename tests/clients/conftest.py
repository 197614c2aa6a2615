"""What the tests of the real clients share: real engines, one of each for the whole run, and a node for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("clients.rig")

from clients.plain import Plain  # noqa: E402 - after the line above
from clients.rig import added  # noqa: E402 - the same
from node import Node  # noqa: E402 - the same
from real.conftest import llama as llama  # noqa: E402, PLC0414 - a fixture is known by its name
from real.conftest import mlx as mlx  # noqa: E402, PLC0414 - the same
from real.conftest import mlx_model as mlx_model  # noqa: E402, PLC0414 - the same
from real.engines import Engine  # noqa: E402 - the same


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(tmp_path) as running:
        yield running
