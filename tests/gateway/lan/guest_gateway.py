"""A LAN listener on a free port, with a relay behind it, and a peer that is paired with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from gateway.rig import Rig
from meshlight.domain.config import Config
from meshlight.domain.peers import Peer
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.lan.app import Guests, LanApp
from meshlight.gateway.lan.catalog_events import CatalogFeed
from meshlight.gateway.lan.lane import GuestLane, GuestLanes
from meshlight.gateway.lan.server import LanServer
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.peers.tls import ServerTls, client_context
from peers.node_identities import node

HERE, ANNA, BEN = node(), node(), node()


class GuestGateway:
    """What the listener consists of; `peers` may be changed."""

    def __init__(self, config: Config) -> None:
        self.rig = Rig()
        self.config = config
        self.peers = {who.node_id: Peer(id=who.node_id, name="Anna", url="") for who in (ANNA, BEN)}
        self.guests = Guests(lambda: self.peers)
        registry = self.rig.registry
        inference = Inference(
            self.rig.relay, ModelCatalog(registry, 0), Ollama(registry, 0, "1.0", self.rig.links)
        )
        self.lanes = GuestLanes(self.guests, inference, self.rig.relay, lambda: self.config)
        nothing = cast("Any", None)
        self.feed = CatalogFeed(registry, lambda _: None)
        app = LanApp(self.guests, nothing, self.feed, inference, nothing, nothing)
        self.lan = LanServer(app, self.feed.close, lane_of=self.lanes.of)

    @property
    def port(self) -> int:
        return self.lan.port

    @property
    def lane(self) -> GuestLane:
        """Anna's lane."""
        return self.lanes.of(ANNA.node_id)

    async def connect(self, who: Any = ANNA) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = client_context(who, HERE.certificate_pem)
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)


@asynccontextmanager
async def guest_gateway(config: Config) -> AsyncIterator[GuestGateway]:
    """Serve peers."""
    gateway = GuestGateway(config)
    tls = ServerTls(HERE, [ANNA.certificate_pem, BEN.certificate_pem])
    await gateway.lan.open(tls.context, tls.who, 0)
    try:
        yield gateway
    finally:
        await gateway.lan.close()
        gateway.rig.links.close()
