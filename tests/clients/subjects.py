"""Whom the clients of one protocol speak to: a real engine that has the protocol, and one that must be translated to."""

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
    """Put a real llama-server behind the node; `translated`: as a server that speaks OpenAI's API and nothing else."""
    if way == "native":
        await added(node, "llamacpp", llama.url)
        yield None
        return
    async with Plain(llama) as plain:
        await added(node, "openai-compatible", plain.url)
        yield plain
