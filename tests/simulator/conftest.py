"""Clients that ask the demo engines: httpx, the openai package, and bare sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from meshlight.simulator.engine import SimulatedEngine
from node import PLAIN
from simulator.clients import Line, LineTo, OpenAIOf


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=PLAIN, timeout=5.0, trust_env=False) as client:
        yield client


@pytest.fixture
async def openai_of() -> AsyncIterator[OpenAIOf]:
    clients: list[AsyncOpenAI] = []

    def of(engine: SimulatedEngine, key: str = "none") -> Any:
        plain = DefaultAsyncHttpxClient(timeout=5.0, trust_env=False)
        client = AsyncOpenAI(base_url=f"{engine.url}/v1", api_key=key, max_retries=0, http_client=plain)
        clients.append(client)
        return client

    yield of
    for client in clients:
        await client.close()


@pytest.fixture
def line_to() -> LineTo:
    @asynccontextmanager
    async def line(engine: SimulatedEngine) -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        try:
            yield Line(reader, writer)
        finally:
            writer.transport.abort()

    return line
