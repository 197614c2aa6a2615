"""A node with clouds behind it: our own stand-ins, and somebody else's (aimock), where node and npm brought it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clouds.scenario import AIMOCK, KEY, Mock
from node import WAIT_S, Node

SCRIPT = Path(__file__).with_name("aimock.mjs")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(tmp_path) as running:
        yield running


@pytest.fixture
async def aimock() -> AsyncIterator[Mock]:
    """Somebody else's stand-in for the clouds; it ends with its standard input, so also when this process dies."""
    program = shutil.which("node")
    if program is None or not AIMOCK.is_dir():
        pytest.skip("aimock or node is not here: packaging/dev.py test installs them")
    process = await asyncio.create_subprocess_exec(
        program, str(SCRIPT), str(AIMOCK), KEY, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
        yield Mock(line.decode().strip())
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), WAIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
