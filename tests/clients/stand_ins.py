"""Every kind of backend, real or simulated, with the fields that a person enters to add it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, get_args

from msgspec import Struct

from clients.rig import added
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService
from meshlight.simulator.clouds.base import KEY, Provider, SimulatedCloud
from meshlight.simulator.continuum import SimulatedContinuum
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from node import Node

KNOWN_WITHIN_S = 45.0
DIALECTS: Mapping[str, Dialect] = {
    "ollama": "ollama",
    "vllm": "vllm",
    "lmstudio": "lmstudio",
    "openai-compatible": "openai",
}
"""Kinds of simulated engines, and the dialect of each."""


class Played(Struct, frozen=True):
    """A running server: its address, the other fields to add it, and a model that can chat."""

    url: str
    model: str
    fields: Mapping[str, Any] = {}
    server: SimulatedEngine | SimulatedCluster | None = None


@asynccontextmanager
async def playing(kind: str) -> AsyncIterator[Played]:
    """Run the simulated server of a kind, with a key if such servers can have one."""
    if kind == "cluster":
        keys = {"access_key": ACCESS_KEY, "api_key": SECRET_KEY}
        async with SimulatedCluster([ClusterService("chat", ("qwen3-32b",))]) as cluster:
            yield Played(cluster.url, "qwen3-32b", keys, cluster)
        return
    server: SimulatedEngine
    if kind in get_args(Provider):
        server = SimulatedCloud(
            next(provider for provider in get_args(Provider) if provider == kind), speed=2_000
        )
    elif kind == "continuum":
        server = SimulatedContinuum(key=KEY, speed=2_000)
    else:
        server = SimulatedEngine(DIALECTS[kind], models=("gemma3:4b",), key=KEY, speed=2_000)
    async with server:
        yield Played(server.url, server.models[0], {"api_key": KEY}, server)


async def joined(node: Node, kind: str, played: Played) -> dict[str, Any]:
    """Add a server; return it as the snapshot shows it once its models are known."""
    shown = await added(node, kind, played.url, **played.fields)
    async with asyncio.timeout(KNOWN_WITHIN_S):
        while not shown["models"]:
            await node.refresh()
            shown = await node.backend(kind)
    return shown
