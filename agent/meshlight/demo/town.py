"""The set of engines that `meshlight demo` runs: five kinds, shared models, one that fails its requests."""

import asyncio
from types import TracebackType
from typing import Self

from meshlight.demo.engine import Engine
from meshlight.demo.fault import FAULT_KINDS
from meshlight.demo.manner import Dialect
from meshlight.demo.pace import Pace

BASE_PORT = 16_481
"""The first engine's port; far from those where real engines live."""
CONTROL_OFFSET = 20
"""How far above an engine's port its fault switch is."""
KEEP = 200
"""Requests each engine remembers: a demo may run for days."""


class Town:
    """Five engines on loopback; a port that is taken is replaced by a free one.

    `base_port=0` takes free ports for all. `async with Town() as town:` runs it.
    """

    def __init__(self, base_port: int = BASE_PORT, pace: Pace = asyncio.sleep) -> None:
        def engine(
            place: int, dialect: Dialect, name: str, tempo: tuple[float, float], *models: str
        ) -> Engine:
            speed, first_token_s = tempo
            return Engine(
                dialect,
                name,
                models,
                base_port and base_port + place,
                control_port=base_port and base_port + CONTROL_OFFSET + place,
                speed=speed,
                first_token_s=first_token_s,
                pace=pace,
                keep=KEEP,
            )

        self.llamacpp = engine(0, "llamacpp", "Demo llama.cpp", (90, 0.08), "llama-3.2-3b", "qwen3-8b")
        self.ollama = engine(
            1, "ollama", "Demo Ollama", (35, 0.3), "llama-3.2-3b", "gemma3:4b", "nomic-embed-text"
        )
        self.vllm = engine(2, "vllm", "Demo vLLM", (120, 0.15), "qwen3-8b", "mistral-small-24b")
        self.mlx = engine(3, "mlx", "Demo MLX", (50, 0.2), "mlx-community/Qwen3-4B-4bit", "llama-3.2-3b")
        self.broken = engine(4, "lmstudio", "Demo LM Studio (flaky)", (60, 0.2), "qwen3-8b", "gemma3:4b")

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All five, the one that fails requests last."""
        return self.llamacpp, self.ollama, self.vllm, self.mlx, self.broken

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all engines and make the last one fail its requests; raises OSError if the machine gives no port."""
        try:
            for engine in self.engines:
                await engine.start(anywhere=True)
        except OSError:
            await self.stop()
            raise
        # Only what it is asked to do fails: at first all is green, then a request shows how the mesh copes.
        await self.broken.fault("status", status=500, scope="inference")

    async def stop(self) -> None:
        """Stop all engines."""
        for engine in self.engines:
            await engine.stop()

    def describe(self) -> str:
        """Say in lines where each engine is and how to break and mend it."""
        lines = ["Demo engines (no model is running, all they say is scripted):", ""]
        for engine in self.engines:
            fault = engine.switch.fault
            state = f"   fails {fault.scope}: {fault.kind} {fault.status}" if fault is not None else ""
            lines.append(f"  {engine.name:<24} {engine.url:<24} {', '.join(engine.models)}{state}")
        lines += ["", "Fault switches:", ""]
        lines += [f"  {engine.name:<24} {engine.control_url}/fault" for engine in self.engines]
        lines += [
            "",
            'Break one:  curl -X POST -d \'{"kind": "refuse"}\' ' + f"{self.llamacpp.control_url}/fault",
            f"Mend one:   curl -X DELETE {self.broken.control_url}/fault",
            f"Kinds:      {', '.join(FAULT_KINDS)}",
        ]
        return "\n".join(lines)
