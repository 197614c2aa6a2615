"""Backends that are dead or hang slow down nothing else: no list, no map, no start, no other request."""

import asyncio
from pathlib import Path

from faults.raw import RawBackend
from meshlight.simulator.engine import SimulatedEngine
from node import Node
from servers.byte_server import Peer

CONFIG = 'routing.policy = "priority"'


class Silent(RawBackend):
    """Takes connections and requests, and never says a word; `free` lets it speak."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.free = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def _serve(self, peer: Peer) -> None:
        self.is_asked.set()
        await self.free.wait()
        await super()._serve(peer)


class Unwaiting(Node):
    """A node whose start does not wait for the first check of its backends."""

    async def refresh(self) -> None:
        pass


async def test_while_backends_hang_everything_else_is_answered(tmp_path: Path) -> None:
    """By the order of events alone: the hung probes are still open when all the answers are there."""
    async with (
        Silent("a") as hung,
        Silent("b") as hung_too,
        SimulatedEngine("vllm", "c") as good,
        Unwaiting(tmp_path, [hung, hung_too, good], CONFIG) as node,
    ):
        await asyncio.gather(hung.is_asked.wait(), hung_too.is_asked.wait())
        shown = await node.until("c", "healthy")
        assert shown["models"] == ["llama-3.2-3b"]
        assert (await node.http.get("/healthz")).status_code == 200
        models = (await node.http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in models] == ["llama-3.2-3b"]
        states = {
            b["id"]: b["health"]["state"] for b in (await node.http.get("/mesh/snapshot")).json()["backends"]
        }
        assert states == {"a": "unknown", "b": "unknown", "c": "healthy"}
        assert (await node.chat()).headers["x-meshlight-backend"] == "c"
        for backend in (hung, hung_too):
            assert (await node.backend(backend.name))["health"][
                "state"
            ] == "unknown"  # its first probe still runs
            backend.free.set()
        assert (await node.until("a", "healthy"))["models"] == ["m"]


async def test_a_backend_that_died_keeps_its_models_in_the_list(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a", ["only-here"]) as dead,
        SimulatedEngine("vllm", "b") as good,
        Node(tmp_path, [dead, good]) as node,
    ):
        await dead.fault("refuse")
        assert (await node.chat("only-here")).status_code == 503
        assert (await node.backend("a"))["health"]["state"] == "unhealthy"
        ids = [model["id"] for model in (await node.http.get("/v1/models")).json()["data"]]
        assert ids == ["only-here", "llama-3.2-3b"]
        assert (await node.chat()).status_code == 200
