"""Agents from npm, run as their users run them, on loopback alone; packaging/package.json names their versions."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "packaging/node_modules"
RUN_S = 90.0
_NOWHERE = "http://127.0.0.1:9"
"""A proxy that does not exist, so that nothing leaves this machine."""


async def run_agent(script: str, words: Sequence[str], home: Path, **environment: str) -> bytes:
    """Run an agent's script with a home of its own; return its output."""
    program = shutil.which("node")
    if sys.platform == "win32":
        pytest.skip("run on systems with process groups")
    if program is None or not (MODULES / script).is_file():
        pytest.skip(f"{script} or node is not here: packaging/dev.py test installs them")
    work = home / "work"
    work.mkdir(parents=True)
    proxies = {"HTTPS_PROXY": _NOWHERE, "HTTP_PROXY": _NOWHERE, "NO_PROXY": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        *(program, str(MODULES / script), *words),
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **proxies, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # what the script has started ends with it
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(), RUN_S)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode == 0, (out + said).decode()
    return out
