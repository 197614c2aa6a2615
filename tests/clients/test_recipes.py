"""The texts to paste are pasted: into a shell and into Python, as they stand in `/mesh/apps`."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from meshlight.simulator.engine import SimulatedEngine
from node import Node

PASTED = {"curl": ("sh", "-c"), "openai-python": (sys.executable, "-c")}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on PATH")
@pytest.mark.parametrize("app", PASTED)
async def test_a_text_works_as_it_stands(app: str, tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a", length=5) as engine, Node(tmp_path, [engine]) as node:
        said = (await node.http.get("/mesh/apps")).json()
        text = next(one["text"] for one in said["apps"] if one["id"] == app)
        process = await asyncio.create_subprocess_exec(
            *PASTED[app], text, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, wrong = await process.communicate()
        assert process.returncode == 0, wrong
        assert b"This is a demo" in out
        called = [
            one for one in (await node.http.get("/mesh/apps")).json()["apps"] if one["called_s"] is not None
        ]
        assert app in {one["id"] for one in called}
