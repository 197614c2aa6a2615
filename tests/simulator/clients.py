"""What asks the demo engines in these tests: the openai package and bare sockets."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from meshlight.simulator.engine import SimulatedEngine

Json = dict[str, Any]


class OpenAIOf(Protocol):
    """Makes a client of the openai package for an engine.

    It is typed as Any: the package's own types are unions of all that could ever come.
    """

    def __call__(self, engine: SimulatedEngine, key: str = "none") -> Any: ...


class Line:
    """A bare connection to an engine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """Everything until FIN."""
        async with asyncio.timeout(5):
            return await self.reader.read()


class LineTo(Protocol):
    """Opens a bare connection to an engine."""

    def __call__(self, engine: SimulatedEngine) -> AbstractAsyncContextManager[Line]: ...
