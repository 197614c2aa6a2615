"""A backend of some kind with its channel, at a server that plays recordings, on a clock that a test moves."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from backends.playback import Scripted, backend, scripted
from meshlight.backends.base import BackendKind, Channel, ChannelDeps, Probe
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream


class Telling:
    """`now` is the channel's clock, `server` what it is asked."""

    def __init__(self, kind: BackendKind, server: Scripted, upstream: Upstream) -> None:
        self.now = 1000.0
        self.server = server
        self.backend = backend(kind, server.url)
        self.means = ChannelDeps(self.backend, upstream, Upstream, lambda: self.now, lambda: self.now)
        channel = kind.open_channel(self.means)
        assert channel is not None
        self.channel: Channel = channel

    async def probe(self, after_s: float = 5.0, secret: str | None = None) -> Probe:
        """Let time pass, and probe once."""
        self.now += after_s
        return await self.channel.probe(self.backend, secret)

    async def asks(self, after_s: float = 5.0) -> list[str]:
        """Let time pass, probe once, and return what was asked."""
        before = len(self.server.asked)
        await self.probe(after_s)
        return self.server.asked[before:]


@asynccontextmanager
async def telling(kind: BackendKind, answers: Mapping[str, bytes]) -> AsyncIterator[Telling]:
    """Serve `answers` (path → answer) and give the backend that is probed there."""
    async with scripted(answers) as server:
        upstream = Upstream(parse_address(server.url))
        engine = Telling(kind, server, upstream)
        try:
            yield engine
        finally:
            engine.channel.close()
            upstream.close()
