"""Agents from npm, run as their users run them, on loopback alone; packaging/package.json names their versions."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "packaging/node_modules"
RUN_S = 90.0
NOWHERE = "http://127.0.0.1:9"
"""A proxy that does not exist, so that nothing leaves this machine."""


async def run_agent(script: str, words: Sequence[str], home: Path, **environment: str) -> bytes:
    """Run an agent's script with a home of its own; return its output."""
    program = shutil.which("node")
    if sys.platform == "win32":
        pytest.skip("run on systems with process groups")
    if program is None or not (MODULES / script).is_file():
        pytest.skip(f"{script} or node is not here: packaging/dev.py test installs them")
    code, out, said = await run_at_home((program, str(MODULES / script), *words), home, environment)
    assert code == 0, (out + said).decode()
    return out


async def run_at_home(
    command: Sequence[str], home: Path, environment: Mapping[str, str]
) -> tuple[int, bytes, bytes]:
    """Run a program with a home of its own, on loopback alone; return its exit code, output and errors."""
    assert sys.platform != "win32"
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    proxies = {"HTTPS_PROXY": NOWHERE, "HTTP_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **proxies, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # what the program has started ends with it
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(), RUN_S)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0, out, said
