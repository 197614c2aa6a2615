"""One computer that plays several machines, for where no networks can be made: all of them are at 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from netns.namespaces import Machine


class Alone(Machine):
    """A machine of this computer: a home of its own, and `meshlight serve` on a free port."""

    def __init__(self, name: str, home: Path) -> None:
        super().__init__(name, "", 0, home)
        self.address = "127.0.0.1"
        home.mkdir()

    def _entering(self) -> Sequence[str]:
        return ()

    async def serve(self, *words: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start `meshlight serve` and wait until it listens; then `api` asks it."""
        return await super().serve("--port", "0", *words, env=env)

    def api(self) -> httpx.AsyncClient:
        """Return a client of its service, with its local key."""
        url = json.loads((self.home / "runtime.json").read_text(encoding="utf-8"))["url"]
        key = (self.home / "local.key").read_text(encoding="ascii").strip()
        return httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=10
        )
