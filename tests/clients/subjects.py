"""The servers for the clients of one protocol: a real engine that has it, and one that needs translation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from clients.plain import Plain
from clients.rig import added
from node import Node
from real.engines import Engine

Way = Literal["native", "translated"]


@asynccontextmanager
async def llama_behind(node: Node, llama: Engine, way: Way) -> AsyncIterator[Plain | None]:
    """Add a real llama-server to the node, or one with the same answers that has only OpenAI's API."""
    if way == "native":
        await added(node, "llamacpp", llama.url)
        yield None
        return
    async with Plain(llama) as plain:
        await added(node, "openai-compatible", plain.url)
        yield plain
