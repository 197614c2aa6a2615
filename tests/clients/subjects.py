"""Whom the clients of one protocol speak to: a real engine that has it, and one to which it must be translated."""

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
    """Put a real llama-server behind the node, or a server of the same answers that speaks OpenAI's API only."""
    if way == "native":
        await added(node, "llamacpp", llama.url)
        yield None
        return
    async with Plain(llama) as plain:
        await added(node, "openai-compatible", plain.url)
        yield plain
