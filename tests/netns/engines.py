"""Demo engines in a process of their own on a machine of the tests' network, which read from stdin what to serve.

As a program (`python -m netns.engines`) it starts the engines that its argument describes (JSON), says their ports
on a line of stdout, and answers each line of stdin with one line.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from meshlight.simulator.clouds.base import Provider, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from netns.namespaces import Machine

TESTS = Path(__file__).parents[1]


class Wanted(msgspec.Struct, omit_defaults=True):
    """One engine; with `cloud` it simulates that one, which requires a key."""

    name: str
    models: tuple[str, ...]
    kind: str = "llamacpp"
    cloud: Provider | None = None
    speed: float | None = None
    length: int | None = None
    first_token_s: float = 0.0
    port: int = 0
    """0 chooses a free one."""


class Order(msgspec.Struct, omit_defaults=True):
    """What one line of stdin asks of the engine at `place`."""

    place: int = 0
    models: tuple[str, ...] | None = None
    """Serve these from now on; None only returns the requests."""


class Call(msgspec.Struct):
    """One inference request as the engine received it."""

    path: str
    via: str
    """The nodes it came through."""
    body: str


class Engines:
    """Demo engines on a machine."""

    def __init__(self, process: asyncio.subprocess.Process, wanted: tuple[Wanted, ...]) -> None:
        self._process = process
        self.wanted = wanted

    @classmethod
    async def on(cls, machine: Machine, *wanted: Wanted) -> Engines:
        """Start them."""
        words = msgspec.json.encode(wanted).decode()
        process = await machine.run(
            [sys.executable, "-m", "netns.engines", words], {"PYTHONPATH": str(TESTS)}
        )
        assert process.stdout is not None
        ports = msgspec.json.decode(await process.stdout.readline(), type=list[int])
        for engine, port in zip(wanted, ports, strict=True):
            engine.port = port
        return cls(process, wanted)

    async def serve(self, *models: str, place: int = 0) -> None:
        """Have the engine at this place serve these models from now on."""
        await self._tell(Order(place=place, models=models))

    async def calls(self, place: int = 0) -> list[Call]:
        """Return the inference requests that the engine at this place has received."""
        return msgspec.json.decode(await self._tell(Order(place=place)), type=list[Call])

    async def _tell(self, order: Order) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        return await self._process.stdout.readline()


def _made(wanted: Wanted) -> SimulatedEngine:
    same: dict[str, Any] = {
        "name": wanted.name,
        "models": wanted.models,
        "port": wanted.port,
        "control_port": None,
        "speed": wanted.speed,
        "length": wanted.length,
        "first_token_s": wanted.first_token_s,
    }
    if wanted.cloud is not None:
        return SimulatedCloud(wanted.cloud, **same)
    return SimulatedEngine(msgspec.convert(wanted.kind, Any), **same)


async def _main(wanted: list[Wanted]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(_made(one)) for one in wanted]
        _say([engine.port for engine in engines])
        while line := await reader.readline():
            order = msgspec.json.decode(line, type=Order)
            engine = engines[order.place]
            if order.models is not None:
                engine.models = order.models
            calls = engine.calls("/")
            _say([Call(c.path, c.header("x-meshlight-via") or "", c.body.decode()) for c in calls])


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=list[Wanted])))
