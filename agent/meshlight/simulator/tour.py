"""The demo inside a user's own mesh: a few simulated backends that a running service shows beside the real ones.

Their models are all called `demo-…`, which no real model is: a request for a real one never gets a scripted answer.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from meshlight.domain.backend import Ring
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from meshlight.simulator.protocols.text import Pace
from meshlight.simulator.scenario import SimulatedBackend

KEEP = 20
"""Requests in the log of each server, which nobody reads here."""
_PARTS: Sequence[tuple[Dialect, str, Ring, tuple[float, float], tuple[str, ...]]] = (
    ("ollama", "Demo Ollama", "machine", (35, 0.3), ("demo-chat-3b", "demo-code-7b")),
    ("llamacpp", "Demo llama.cpp", "machine", (90, 0.08), ("demo-chat-3b",)),
    ("vllm", "Demo vLLM of the office", "company", (120, 0.15), ("demo-chat-70b", "demo-code-7b")),
    ("openai", "Demo cloud", "cloud", (140, 0.4), ("demo-frontier", "demo-chat-70b")),
)
"""Dialect, name, ring, speed and seconds to the first token, models."""


class Tour:
    """Four simulated backends on free loopback ports: `async with Tour() as tour:`."""

    def __init__(self, pace: Pace = asyncio.sleep) -> None:
        self._servers = [
            SimulatedEngine(
                dialect,
                name,
                models,
                control_port=None,
                speed=speed,
                first_token_s=first,
                pace=pace,
                keep=KEEP,
            )
            for dialect, name, _, (speed, first), models in _PARTS
        ]
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            for server in self._servers:
                await starting.enter_async_context(server)
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @property
    def backends(self) -> tuple[SimulatedBackend, ...]:
        """Every backend, from near to far; available only while it runs."""
        return tuple(
            SimulatedBackend(
                id=f"demo-{dialect}", name=name, kind=server.kind, url=server.url, ring=ring, models=models
            )
            for server, (dialect, name, ring, _, models) in zip(self._servers, _PARTS, strict=True)
        )
