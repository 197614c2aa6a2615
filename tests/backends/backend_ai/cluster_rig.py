"""A cluster's channel at a simulated cluster, with clocks that stand still until they are set."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshlight.backends.backend_ai.session import ClusterChannel
from meshlight.backends.base import ChannelDeps, Probe
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.health import Answered, Failed, Limited, Refused
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.http_client.connector import context_for
from meshlight.http_client.reply import Reply
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, SECRET_KEY, SimulatedCluster

START = 1_790_000_000.0


class ShortTimeouts:
    """A client whose timeouts for some paths can be set."""

    def __init__(self, upstream: Upstream) -> None:
        self.address = upstream.address
        self.timeouts_s: dict[str, float] = {}
        self._upstream = upstream

    async def fetch(self, method: str, path: str, **rest: Any) -> Reply:
        if path in self.timeouts_s:
            rest["timeout_s"] = self.timeouts_s[path]
        return await self._upstream.fetch(method, path, **rest)


class Rig:
    """One channel, and the demo cluster that it leads to."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        url: str = "",
        *,
        access_key: str = ACCESS_KEY,
        ca_file: str = "",
        first_check_s: float = 30.0,
        is_own: bool = False,
        **fields: object,
    ) -> None:
        self.cluster = cluster
        self.secret: str | None = SECRET_KEY
        self.now = 0.0
        self.ahead_s = 0.0
        """How far the cluster's clock is ahead of this machine's."""
        self.slept_s = 0.0
        """How long this machine has slept: its monotonic clock stood still meanwhile."""
        cluster.clock = lambda: START + self.now + self.slept_s + self.ahead_s
        self.backend = Backend(
            id="c",
            name="Campus",
            kind="cluster",
            ring="company",
            url=url or cluster.url,
            access_key=access_key,
            ca_file=ca_file,
            **fields,  # type: ignore[arg-type]
        )
        tls = (lambda: context_for(ca_file)) if ca_file else None
        address = parse_address(self.backend.url)
        own = frozenset({(address.host, address.port)} if is_own else ())
        self.probes = Upstream(address, own=own, idle_expiry_s=30.0, tls=tls)
        self.client = ShortTimeouts(self.probes)
        self._upstreams: list[Upstream] = [self.probes]
        deps = ChannelDeps(
            self.backend,
            self.client,
            self._upstream_for,
            lambda: self.now,
            lambda: START + self.now + self.slept_s,
        )
        self.channel = ClusterChannel(deps, first_check_s)

    async def probe(self) -> Probe:
        return await self.channel.probe(self.backend, self.secret)

    async def healthy(self) -> Probe:
        probe = await self.probe()
        assert isinstance(probe.fact, Answered), probe.fact
        return probe

    async def why(self) -> Reason:
        """The reason why a probe is not answered as it should be."""
        probe = await self.probe()
        assert isinstance(probe.fact, Failed | Refused | Limited), probe.fact
        return probe.fact.reason

    async def token(self, model: str) -> str:
        """The Authorization header of the way to a model; empty without one."""
        way = await self.channel.route(model, self.secret)
        return dict(way.auth).get(b"authorization", b"").decode()

    async def chat(self, model: str) -> Reply:
        """Ask a model as the gateway does: once more on a new way if that may help."""
        reply = await self._chat(model)
        if reply.status == 401 and self.channel.renew(model, reply.status, reply.body):
            reply = await self._chat(model)
        return reply

    async def settle(self, *services: str) -> None:
        """Wait until nothing runs in the background of the channel, or only of these services."""
        checks = [
            state.task
            for state in self.channel._models._states.values()
            if state.task is not None and (not services or state.service.name in services)
        ]
        tasks = [*checks, *(() if services else self.channel._tokens._requests.values())]
        if tasks:
            async with asyncio.timeout(30.0):
                await asyncio.wait(tasks)

    def close(self) -> None:
        self.channel.close()
        for upstream in self._upstreams:
            upstream.close()

    async def _chat(self, model: str) -> Reply:
        way = await self.channel.route(model, self.secret)
        body = {"model": way.model, "messages": [{"role": "user", "content": "hello"}]}
        headers = [(b"content-type", b"application/json"), *way.auth]
        return await way.upstream.fetch(
            "POST", "/v1/chat/completions", headers=headers, body=json.dumps(body).encode(), timeout_s=5.0
        )

    def _upstream_for(self, address: object) -> Upstream:
        upstream = Upstream(address)  # type: ignore[arg-type]
        self._upstreams.append(upstream)
        return upstream


@asynccontextmanager
async def rig(cluster: SimulatedCluster | None = None, url: str = "", **fields: object) -> AsyncIterator[Rig]:
    """Start a demo cluster and open a channel to it."""
    async with cluster or SimulatedCluster() as running:
        made = Rig(running, url.replace("CLUSTER", running.url), **fields)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.close()
