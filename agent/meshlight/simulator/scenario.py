"""The servers of `meshlight demo`: local engines, a company's cluster and router, and three clouds."""

import asyncio
import re
from types import TracebackType
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Kind, Ring
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService
from meshlight.simulator.clouds.base import KEY, Provider, SimulatedCloud
from meshlight.simulator.continuum import SimulatedContinuum
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FAULT_KINDS
from meshlight.simulator.profile import Dialect
from meshlight.simulator.protocols.text import Pace, Speech

BASE_PORT = 16_481
"""The first engine's port; far from those where real engines live."""
CONTROL_OFFSET = 20
"""The distance from an engine's port to that of its fault switch."""
KEEP = 200
"""Requests in the log of each server: a demo may run for days."""

LONG_CONTEXT = 131_072
VLLM_SLOTS = 4
LOAD_S = 4.0
"""How long the engines that load models take for one."""


class SimulatedBackend(Struct, frozen=True, kw_only=True):
    """One simulated backend, with what is needed to add it to a mesh."""

    id: str
    name: str
    kind: Kind
    url: str
    ring: Ring
    models: tuple[str, ...]
    access_key: str = ""
    secret: str = ""
    """Its key, valid at this demo only."""
    slots: int | None = None
    """Requests that it answers at the same time, as its user has set it; None for no setting."""
    switch: str = ""
    """The URL of its fault switch; empty if it has none."""


class Scenario:
    """Five engines, a cluster, a router and three clouds on loopback; a free port replaces one that is taken.

    `base_port=0` uses free ports for all. `async with Scenario() as scenario:` runs it.
    """

    def __init__(self, base_port: int = BASE_PORT, pace: Pace = asyncio.sleep) -> None:
        def port(place: int) -> int:
            return base_port and base_port + place

        def engine(
            place: int,
            dialect: Dialect,
            name: str,
            tempo: tuple[float, float],
            *models: str,
            context: int | None = None,
        ) -> SimulatedEngine:
            speed, first_token_s = tempo
            return SimulatedEngine(
                dialect,
                name,
                models,
                port(place),
                control_port=port(CONTROL_OFFSET + place),
                speed=speed,
                first_token_s=first_token_s,
                context=context,
                pace=pace,
                keep=KEEP,
            )

        def cloud(place: int, provider: Provider, name: str, speed: float, *models: str) -> SimulatedCloud:
            return SimulatedCloud(
                provider,
                name,
                models,
                port=port(place),
                control_port=port(CONTROL_OFFSET + place),
                speed=speed,
                first_token_s=0.4,
                pace=pace,
                keep=KEEP,
            )

        def service(place: int, name: str, speed: float, model: str) -> ClusterService:
            speech = Speech(speed=speed, first_token_s=0.25, pace=pace)
            return ClusterService(name, (model,), port=port(place), speech=speech, keep=KEEP)

        self.llamacpp = engine(0, "llamacpp", "Demo llama.cpp", (90, 0.08), "llama-3.2-3b", "qwen3-8b")
        self.ollama = engine(
            1, "ollama", "Demo Ollama", (35, 0.3), "llama-3.2-3b", "gemma3:4b", "nomic-embed-text"
        )
        # qwen3-8b is cold at the first engine, warm here, and only here it has room for long prompts.
        self.vllm = engine(
            2, "vllm", "Demo vLLM", (120, 0.15), "qwen3-8b", "mistral-small-24b", context=LONG_CONTEXT
        )
        self.mlx = engine(3, "mlx", "Demo MLX", (50, 0.2), "mlx-community/Qwen3-4B-4bit", "llama-3.2-3b")
        self.broken = engine(4, "lmstudio", "Demo LM Studio (flaky)", (60, 0.2), "gemma3:4b", "phi-4-mini")

        for loads in (self.llamacpp, self.ollama, self.broken):
            loads.facts.load_s = LOAD_S

        self.continuum = SimulatedContinuum(
            "Demo Continuum",
            ("qwen3-32b", "llama-3.3-70b"),
            port=port(5),
            control_port=port(CONTROL_OFFSET + 5),
            speed=80,
            first_token_s=0.25,
            pace=pace,
            keep=KEEP,
        )
        self.openai = cloud(6, "openai", "Demo OpenAI", 100, "gpt-5-mini", "text-embedding-3-small")
        self.anthropic = cloud(7, "anthropic", "Demo Anthropic", 75, "claude-sonnet-4-6", "claude-haiku-4-5")
        self.gemini = cloud(8, "gemini", "Demo Gemini", 140, "gemini-3-flash", "gemini-embedding-001")
        self.cluster = SimulatedCluster(
            [
                service(10, "demo-llama-chat", 60, "llama-3.3-70b"),
                service(11, "demo-qwen-chat", 85, "qwen3-32b"),
            ],
            "Demo Backend.AI",
            port(9),
            keep=KEEP,
        )

    @property
    def clouds(self) -> tuple[SimulatedCloud, ...]:
        """All three."""
        return self.openai, self.anthropic, self.gemini

    @property
    def backends(self) -> tuple[SimulatedBackend, ...]:
        """Every backend, from near to far; available only while the scenario runs."""
        near = tuple(
            replace(found, slots={self.mlx: 1, self.vllm: VLLM_SLOTS}.get(engine))
            for engine in self.engines
            for found in (_describe(engine, "machine"),)
        )
        models = (model for service in self.cluster.services for model in service.models)
        cluster = SimulatedBackend(
            id=_id(self.cluster.name),
            name=self.cluster.name,
            kind="cluster",
            url=self.cluster.url,
            ring="company",
            models=tuple(models),
            access_key=ACCESS_KEY,
            secret=SECRET_KEY,
        )
        far = tuple(_describe(cloud, "cloud", KEY) for cloud in self.clouds)
        return *near, cluster, _describe(self.continuum, "company"), *far

    @property
    def engines(self) -> tuple[SimulatedEngine, ...]:
        """The five local engines; the last one fails requests."""
        return self.llamacpp, self.ollama, self.vllm, self.mlx, self.broken

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all, and make the last engine fail inference; raises OSError if there is no free port."""
        try:
            for server in self._servers:
                await server.start(anywhere=True)
        except OSError:
            await self.stop()
            raise
        # Only inference fails: at first everything is green, and a request then shows how the mesh copes.
        await self.broken.fault("status", status=500, scope="inference")

    async def stop(self) -> None:
        """Stop all."""
        for server in self._servers:
            await server.stop()

    def cool(self) -> None:
        """Let the engines have only those models in memory that they began with."""
        for engine in self.engines:
            engine.facts.loaded = set(engine.models[:1])

    def describe(self) -> str:
        """Return lines that list each backend's address and key, and how to break and repair it."""
        failing = {engine.name: engine.switch.fault for engine in self.engines}
        lines = ["Demo backends (no model is running, all answers are scripted):", ""]
        for simulated in self.backends:
            fault = failing.get(simulated.name)
            state = f"   fails {fault.scope}: {fault.kind} {fault.status}" if fault is not None else ""
            lines.append(f"  {simulated.name:<24} {simulated.url:<24} {', '.join(simulated.models)}{state}")
        lines += ["", "Keys:", ""]
        lines += [
            f"  {simulated.name:<24} {' '.join(filter(None, (simulated.access_key, simulated.secret)))}"
            for simulated in self.backends
            if simulated.secret
        ]
        lines += ["", "Fault switches:", ""]
        lines += [
            f"  {simulated.name:<24} {simulated.switch}" for simulated in self.backends if simulated.switch
        ]
        lines += [
            "",
            'Break one:  curl -X POST -d \'{"kind": "refuse"}\' ' + f"{self.llamacpp.control_url}/fault",
            f"Repair it:  curl -X DELETE {self.broken.control_url}/fault",
            f"Kinds:      {', '.join(FAULT_KINDS)}",
        ]
        return "\n".join(lines)

    @property
    def _servers(self) -> tuple[SimulatedEngine | SimulatedCluster, ...]:
        return *self.engines, self.cluster, self.continuum, *self.clouds


def _describe(engine: SimulatedEngine, ring: Ring, secret: str = "") -> SimulatedBackend:
    return SimulatedBackend(
        id=_id(engine.name),
        name=engine.name,
        kind=engine.kind,
        url=engine.url,
        ring=ring,
        models=engine.models,
        secret=secret,
        switch=f"{engine.control_url}/fault",
    )


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
