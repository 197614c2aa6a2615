"""Stands for the service: starts an engine and tells its process id when it is in the state that is asked for.

`engine_parent.py RUNNER PROGRAM MODEL idle|loading|streaming [minder]`; then it does nothing until it is killed.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx
import psutil

from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import LocalModel
from meshlight.local_models.engines.guard import Guard, guard_for
from meshlight.local_models.engines.leftovers import Leftovers
from meshlight.local_models.engines.process import EngineProcess, System
from meshlight.local_models.engines.starter import Starter


def _minder(_has_children: bool) -> Guard:
    return guard_for(has_children=True)


async def main(runner: str, program: str, file: str, state: str, *further: str) -> None:
    settings = LocalSettings(runner=runner, llama_server=program)  # type: ignore[arg-type]
    system = System(guard=_minder) if further else System()
    leftovers = Leftovers(lambda: b"", lambda _: None)
    starter = Starter(settings, leftovers, os.environ, asyncio.get_running_loop(), system=system)
    size = Path(file).stat().st_size  # noqa: ASYNC240
    model = LocalModel(id="big", format="gguf", path=file, files=(file,), size_bytes=size, store="folder")
    engine = await starter.start(model, 2048, (), 600.0)
    assert isinstance(engine, EngineProcess)
    if state == "loading":
        while not any("load_model: loading model" in line for line in engine.log()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
    else:
        await engine.wait_ready()
    if state == "streaming":
        async with httpx.AsyncClient(trust_env=False, timeout=None) as client:  # noqa: S113
            asked = {"messages": [{"role": "user", "content": "LOOP"}], "stream": True, "n_predict": -1}
            url, key = f"{engine.address.url}/v1/chat/completions", {"authorization": f"Bearer {engine.key}"}
            async with client.stream("POST", url, json=asked, headers=key) as answer:
                chunks = answer.aiter_raw()
                await anext(chunks)
                await _tell(engine)
    else:
        await _tell(engine)


async def _tell(engine: EngineProcess) -> None:
    process = psutil.Process(engine.pid)
    print(json.dumps([process.pid, *(child.pid for child in process.children(recursive=True))]), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
