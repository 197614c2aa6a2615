"""Builds every part of the service and joins them: the one place that knows them all."""

import asyncio
import gc
import os
import secrets as tokens
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from meshlight import __version__
from meshlight.backends.detection import Detector
from meshlight.domain.api_types import Identity, RouterView
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.config import HOST, HOST_V6, Config
from meshlight.domain.events import PeersEvent
from meshlight.domain.proxy import Proxy, UnusableProxy, choose_proxy
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.control.app import GatewayParts, build_app
from meshlight.gateway.control.events import Events
from meshlight.gateway.control.metrics import Metrics
from meshlight.gateway.control.page import Page, web_folder
from meshlight.gateway.control.test_request import ModelTester
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.relay import Relay
from meshlight.gateway.lan.app import Guests, LanApp
from meshlight.gateway.lan.catalog_events import CatalogFeed
from meshlight.gateway.lan.server import LanServer, everywhere
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.server.limits import PING_S
from meshlight.gateway.server.server import serve
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.connector import context_for
from meshlight.mesh.backend_admin import BackendAdmin
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.discovery import Discovery
from meshlight.mesh.event_hub import EventHub
from meshlight.mesh.event_publisher import EventPublisher
from meshlight.mesh.history import History
from meshlight.mesh.prober import BackendSync, Later, Prober
from meshlight.mesh.refresh import Refresher
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic
from meshlight.peers.manager import PeerManager
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.trust import Trust
from meshlight.service.settings_store import SettingsStore
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.config.watcher import ConfigWatch
from meshlight.storage.local_key import LocalKey
from meshlight.storage.node_id import read_node_id
from meshlight.storage.open_files import OpenFiles

COLLECT_AFTER = 20_000
"""New objects between two looks of the collector; a request leaves no rings behind, so there is little to find."""
PROBES_REST_S = 30.0
"""How long a connection for probes may rest: longer than the tick, so that most find it warm."""


class Service:
    """The whole service on bound sockets; made and run inside the event loop.

    `sock` is that of 127.0.0.1, `also` are others of the same port. What lasts is kept in `state_dir`. Engines are
    looked for on `ports` (the usual ones if None); the event streams ping every `ping_s` seconds.
    """

    def __init__(  # noqa: PLR0913 - it joins many parts, most given by name
        self,
        keeper: SettingsStore,
        file: ConfigFile,
        key: LocalKey,
        sock: socket.socket,
        trust: Trust,
        *,
        state_dir: Path,
        also: Sequence[socket.socket] = (),
        ports: Mapping[int, Sequence[Kind]] | None = None,
        ping_s: float = PING_S,
    ) -> None:
        clock = time.monotonic
        later = asyncio.get_running_loop().call_later
        self._sockets = [sock, *also]
        self._started = clock()
        self._clock = clock
        self._port: int = sock.getsockname()[1]
        self.url = f"http://{HOST}:{self._port}"
        self.instance = tokens.token_hex(16)
        self._node_id = read_node_id(state_dir)
        self._own = frozenset({(HOST, self._port), (HOST_V6, self._port)})

        self._keeper = keeper
        self._sessions = Sessions(clock)
        self._open_files = OpenFiles(state_dir / "open", later)
        # Later than every number of an earlier start, so that no reader of that one is taken for one of this.
        self._hub = EventHub(first=int(time.time() * 1000))
        self._traffic = Traffic()
        self._registry = Registry(clock)
        self._links = BackendConnections(self._keeper, self._upstream, self._probes)
        self._prober = Prober(
            self._registry, self._links, clock, later, lambda i: self._traffic.load.get(i, 0) > 0
        )
        self._roster = BackendAdmin(self._registry, self._links, self._prober, self._keeper)
        self._discovery = Discovery(
            self._registry,
            Detector(self._upstream, ports, clock=clock),
            clock,
            later,
            lambda: self._keeper.config.discovery.ignored,
        )
        self._feed = EventPublisher(
            self._registry, self._traffic, self._hub, clock, later, self._router_view, self._keeper.notices
        )
        history = History(self._registry, clock)
        self._refresher = Refresher(self._registry, self._prober, self._feed, self._discovery.look)
        self._sync = BackendSync(self._registry, self._links, self._prober, self._traffic)
        self._events = Events(self._hub, ping_s)
        self._trust = trust
        started = int(time.time())
        self._catalog = ModelCatalog(self._registry, started)
        relay = Relay(
            self._registry,
            self._links,
            self._prober,
            self._traffic,
            clock,
            self._node_id,
            is_paused=lambda: self._keeper.config.paused,
        )
        inference = Inference(relay, self._catalog, Ollama(self._registry, started, __version__, self._links))
        self._neighbours = self._meet(inference, clock, later, ping_s)
        self._watch = ConfigWatch(file, later, self._keeper.reload)
        self._keeper.follow = self._follow
        self._keeper.tell = self._hub.restart
        self._keeper.notice("key", " ".join(key.notices))
        self._follow(keeper.config)
        self._app = build_app(
            GatewayParts(
                inference=inference,
                events=self._events,
                page=Page(web_folder(), self._sessions, self._open_files.used),
                metrics=Metrics(self._feed.view),
                sessions=self._sessions,
                identity=Identity(version=__version__),
                url=self.url,
                port=self._port,
                is_key=key.matches,
                prove=partial(key.prove, self.instance),
                require_key=lambda: self._keeper.config.require_key,
                allowed_hosts=lambda: self._keeper.config.allowed_hosts,
                allowed_origins=lambda: self._keeper.config.allowed_origins,
                write_link=self._open_files.write,
                dependencies={
                    "publisher": self._feed,
                    "history": history,
                    "registry": self._registry,
                    "traffic": self._traffic,
                    "prober": self._prober,
                    "refresher": self._refresher,
                    "backend_admin": self._roster,
                    "model_tester": ModelTester(relay, self._registry, clock),
                    "settings": self._keeper,
                    "peers": self._neighbours,
                },
            )
        )

    def link(self) -> str:
        """Return a one-time link to the page."""
        return f"{self.url}/?code={self._sessions.code()}"

    def retry_secrets(self) -> None:
        """Probe the backends whose secret could not be read, because the keyring is unlocked now."""
        self._sync.try_secrets()

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set; `ready` is called once connections are taken."""

        def start() -> None:
            self._open_files.start()
            ready()
            self._watch.start()
            self._neighbours.start()
            _settle_memory()

        leaving: list[asyncio.Task[None]] = []

        async def end() -> None:
            # What peers have running here ends while the users' own does, and takes no time of its own.
            leaving.append(asyncio.create_task(self._neighbours.close()))
            await self._events.close()

        try:
            await serve(self._app, self._sockets, stop=stop, ready=start, ending=end, lifespan="off")
        finally:
            self._watch.stop()
            self._discovery.stop()
            await (leaving[0] if leaving else self._neighbours.close())
            await self._refresher.close()
            await self._prober.close()
            self._links.close()
            self._keeper.close()
            self._open_files.close()

    def _probes(self, address: Address, backend: Backend | None = None) -> Upstream:
        return Upstream(
            address,
            own=self._own,
            idle_expiry_s=PROBES_REST_S,
            tls=self._tls(backend),
            proxy=_proxy(address, backend),
        )

    def _upstream(self, address: Address, backend: Backend | None = None) -> Upstream:
        return Upstream(address, own=self._own, tls=self._tls(backend), proxy=_proxy(address, backend))

    def _tls(self, backend: Backend | None) -> Callable[[], ssl.SSLContext] | None:
        """Return what a certificate is checked against; what is wrong with that is told when it is needed."""
        if backend is not None and backend.kind == "peer":
            return partial(self._trust.client, backend.node_id)
        return partial(context_for, backend.ca_file) if backend is not None and backend.ca_file else None

    def _meet(
        self, inference: Inference, clock: Callable[[], float], later: Later, ping_s: float
    ) -> PeerManager:
        """Make what deals with other Meshlights, and what they may ask here."""
        guests = Guests(lambda: {peer.id: peer for peer in self._keeper.config.peers})
        listener = LanServer()
        neighbours = PeerManager(
            registry=self._registry,
            store=self._keeper,
            trust=self._trust,
            sightings=DiscoveredPeers(
                clock, later, is_known=lambda peer_id: peer_id in guests.peers, wall=time.time
            ),
            listener=listener,
            running=guests.running,
            probe_soon=self._prober.probe_soon,
            clock=clock,
            wall=time.time,
            later=later,
            bind=everywhere,
        )
        feed = CatalogFeed(self._registry, neighbours.catalog_hash, ping_s)
        listener.serves(LanApp(guests, neighbours.catalog, feed, inference, neighbours.unpaired), feed.close)

        def changed() -> None:
            feed.notify()
            self._hub.publish(lambda seq: PeersEvent(seq=seq, peers=neighbours.view()))

        neighbours.on_change = changed
        return neighbours

    def _follow(self, config: Config) -> None:
        """Bring everything to what the configuration says now."""
        self._roster.follow(config)
        self._catalog.invalidate()
        self._neighbours.follow()
        if self._keeper.looks_for_engines:
            self._discovery.start()
        else:
            self._discovery.stop()

    def _router_view(self) -> RouterView:
        return RouterView(
            node_id=self._node_id,
            name=self._keeper.name,
            version=__version__,
            status="paused" if self._keeper.config.paused else "running",
            uptime_s=round(self._clock() - self._started, 1),
            requests=self._traffic.router.requests(),
        )


def _proxy(address: Address, backend: Backend | None) -> Proxy | UnusableProxy | None:
    """Return the proxy through which an address of a backend is reached; None for a direct connection."""
    if backend is None or address.socket:
        return None
    return choose_proxy(backend.proxy_setting, address.scheme, address.host, os.environ)


def _settle_memory() -> None:
    """Tell the collector that what was made at the start stays, or it would walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
