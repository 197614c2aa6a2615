"""A Meshlight on a machine of the tests' network: a `meshlight serve` process, used through its API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from meshlight.simulator.clouds.base import KEY
from netns.engines import Wanted
from netns.namespaces import Machine

PATIENCE_S = 45.0
STOP_S = 20.0
HELLO = [{"role": "user", "content": "hi"}]


class State:
    """The state of a Meshlight at one moment: `peers` as at `/mesh/peers`, `mesh` its snapshot."""

    def __init__(self, peers: dict[str, Any], mesh: dict[str, Any]) -> None:
        self.peers = peers
        self.mesh = mesh

    @property
    def models(self) -> set[str]:
        """The models that some backend serves that is not down."""
        up = [b for b in self.mesh["backends"] if b["health"]["state"] == "healthy"]
        return {model for backend in up for model in backend["models"]}

    @property
    def pairing(self) -> dict[str, Any]:
        """The state of the pairing; empty if there is none."""
        return self.peers["pairing"] or {}

    def saw(self, node_id: str) -> dict[str, Any] | None:
        """The discovered node with this id."""
        return next((seen for seen in self.peers["seen"] if seen["id"] == node_id), None)

    def peer(self, node_id: str) -> dict[str, Any] | None:
        """The peer with this id."""
        return next((peer for peer in self.peers["peers"] if peer["id"] == node_id), None)

    def backend(self, name: str) -> dict[str, Any] | None:
        """The backend with this name or id."""
        return next((b for b in self.mesh["backends"] if name in {b["name"], b["id"]}), None)


class Home:
    """The Meshlight of one machine; it calls itself by the machine's name."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.id = ""
        self.process: asyncio.subprocess.Process
        self.http: httpx.AsyncClient
        self.began = 0.0
        """When the process was started, in monotonic seconds."""

    @property
    def name(self) -> str:
        return self.machine.name

    async def start(self, engines: Sequence[Wanted] = (), lan: str = "visible = true") -> None:
        """Start it; a configuration that is there already is kept."""
        file = self.machine.home / "config.toml"
        if not file.exists():
            listed = "\n".join(_entry(engine) for engine in engines)
            head = f'name = "{self.name}"\n[routing]\npolicy = "least-busy"\n[lan]\n{lan}\n'
            file.write_text(head + listed, encoding="utf-8")
        env = {f"MESHLIGHT_SECRET_{e.name.upper()}": KEY for e in engines if e.cloud is not None}
        self.began = time.monotonic()
        self.process = await self.machine.serve("--insecure-storage", "--no-discovery", env=env)
        self.http = self.machine.api()
        if "visible = true" in lan:
            await self.until(lambda state: state.peers["node_id"])  # made when it is to be seen
        self.id = (await self.state()).peers["node_id"]

    async def kill(self) -> None:
        """Kill it, as when the power fails."""
        await self.http.aclose()
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Stop it as a user does."""
        await self.http.aclose()
        self.process.terminate()
        async with asyncio.timeout(STOP_S):
            assert await self.process.wait() == 0, self.machine.said()

    async def state(self) -> State:
        peers, mesh = [(await self.http.get(path)).json() for path in ("/mesh/peers", "/mesh/snapshot")]
        return State(peers, mesh)

    async def until(self, is_so: Callable[[State], object], within_s: float = PATIENCE_S) -> float:
        """Wait, by its events, until this holds; returns the seconds it took."""
        began, state = time.monotonic(), None
        try:
            async with (
                asyncio.timeout(within_s),
                self.http.stream("GET", "/mesh/events", timeout=within_s) as events,
            ):
                async for line in events.aiter_lines():
                    if line.startswith("data:") and is_so(state := await self.state()):
                        return time.monotonic() - began
        except TimeoutError:
            pass
        told = None if state is None else json.dumps([state.peers, state.mesh["backends"]], indent=1)
        pytest.fail(f"{self.name} was not so within {within_s} s: {told}")

    async def change(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        """Send a request to `/mesh`; returns the response."""
        answer = await self.http.request(method, f"/mesh{path}", json=fields)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def pair(self, other: Home, **whom: Any) -> float:
        """Pair as two people do, with somebody who is seen, or whose address is given as `host` and `port`.

        Returns when both had confirmed (monotonic seconds).
        """
        if not whom:
            await self.until(lambda state: state.saw(other.id))
        await self.change("POST", "/peers/pairing", **(whom or {"id": other.id}))
        await other.until(lambda state: state.pairing.get("state") == "comparing")
        here, there = (await self.state()).pairing, (await other.state()).pairing
        self.id, other.id = there["id"], here["id"]
        assert here["digits"] == there["digits"]
        assert len(here["digits"]) == 6
        assert (here["name"], there["name"]) == (other.name, self.name)
        await self.change("POST", "/peers/pairing/confirm")
        await other.change("POST", "/peers/pairing/confirm")
        agreed = time.monotonic()
        for one, its in ((self, other), (other, self)):
            await one.until(lambda state, its=its: state.peer(its.id))  # type: ignore[misc]
        return agreed

    async def chat(self, model: str, **fields: Any) -> httpx.Response:
        """Send a chat request to this machine's own service."""
        body = {"model": model, "messages": HELLO, **fields}
        return await self.http.post("/v1/chat/completions", json=body)


def _entry(engine: Wanted) -> str:
    kind, url = engine.cloud or engine.kind, f"http://127.0.0.1:{engine.port}"
    lines = [f'id = "{engine.name}"', f'name = "{engine.name}"', f'kind = "{kind}"', f'url = "{url}"']
    if engine.cloud is not None:
        lines += ['ring = "cloud"', "has_secret = true"]
    return "\n[[backends]]\n" + "\n".join(lines) + "\n"
