"""A backend with its channel at a server of recorded answers, and a clock that the test moves."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from backends.playback import Playback, backend
from meshlight.backends.base import BackendKind, Channel, ChannelDeps, Probe
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream


class RecordedBackend:
    """`now` is the time of the channel's clock; `server` has the requests that it got."""

    def __init__(self, kind: BackendKind, server: Playback, upstream: Upstream) -> None:
        self.now = 1000.0
        self.server = server
        self.backend = backend(kind, server.url)
        self.deps = ChannelDeps(self.backend, upstream, Upstream, lambda: self.now, lambda: self.now)
        channel = kind.open_channel(self.deps)
        assert channel is not None
        self.channel: Channel = channel

    async def probe(self, after_s: float = 5.0, secret: str | None = None) -> Probe:
        """Let time pass, and probe once."""
        self.now += after_s
        return await self.channel.probe(self.backend, secret)

    async def probe_requests(self, after_s: float = 5.0) -> list[str]:
        """Let time pass, probe once, and return the paths of its requests."""
        before = len(self.server.asked)
        await self.probe(after_s)
        return self.server.asked[before:]


@asynccontextmanager
async def recorded_backend(kind: BackendKind, answers: Mapping[str, bytes]) -> AsyncIterator[RecordedBackend]:
    """Serve `answers` (path → answer) and give the backend that is probed there."""
    async with Playback(answers) as server:
        upstream = Upstream(parse_address(server.url))
        engine = RecordedBackend(kind, server, upstream)
        try:
            yield engine
        finally:
            engine.channel.close()
            upstream.close()
