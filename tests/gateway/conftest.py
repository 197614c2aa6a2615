from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from security.wire import LOOPS


@pytest.fixture(params=LOOPS.keys())
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("llamacpp", "study") as engine:
        yield engine


@pytest.fixture
async def node(tmp_path: Path, engine: SimulatedEngine) -> AsyncIterator[Node]:
    """A whole node with one backend, `study`, and a comment of the user's in its configuration."""
    async with Node(tmp_path, [engine], "# mine, keep it\n" + IN_ORDER) as node:
        yield node
